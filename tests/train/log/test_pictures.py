"""Pictures of predictions in the log."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from zipmap_jax.structs import Prediction
from zipmap_jax.train.log.pictures import CELL, painter, rendered_sheet, sheet
from zipmap_jax.train.state import TrainState

SIZE = (42, 56)
HEIGHT = round(CELL * SIZE[0] / SIZE[1])


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    """A wavy wall below a sky, seen by a camera that moves to the right."""
    rng = np.random.default_rng(0)
    views = 6
    row, column = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    depth = np.stack([3 + np.sin(0.2 * row + 0.1 * column + i) for i in range(views)])
    valid = np.broadcast_to(row > 4, depth.shape)
    k = np.array([[50, 0, SIZE[1] / 2], [0, 50, SIZE[0] / 2], [0, 0, 1]])
    w2c = np.tile(np.eye(4), (views, 1, 1))
    w2c[:, 0, 3] = -0.2 * np.arange(views)
    patches = rng.uniform(size=(views, *SIZE[:1], SIZE[1], 3))
    scene = {
        "images": patches.astype(np.float32),
        "depth": np.where(valid, depth, 0).astype(np.float32),
        "valid": valid,
        "intrinsics": np.tile(k, (views, 1, 1)).astype(np.float32),
        "w2c": w2c.astype(np.float32),
    }
    return {name: array[None] for name, array in scene.items()}


def perfect(batch: dict[str, np.ndarray], scale: float = 3.0) -> Prediction:
    """The truth in another unit, with arbitrary values at invalid pixels."""
    w2c = batch["w2c"].copy()
    w2c[..., :3, 3] *= scale
    depth = np.where(batch["valid"], scale * batch["depth"], 1.0)
    return Prediction(depth, depth, w2c, batch["intrinsics"])


def cells(picture: np.ndarray, column: int) -> np.ndarray:
    """The four pictures below a heading, concatenated vertically."""
    left = 6 + column * (CELL + 6)
    return np.concatenate(
        [picture[22 + row * (HEIGHT + 6) :][:HEIGHT, left : left + CELL] for row in range(4)]
    )


def clouds(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    below = picture[22 + 4 * (HEIGHT + 6) + 22 :]
    return below[:, 6 : 6 + 2 * CELL + 6], below[:, 12 + 2 * CELL + 6 :][:, : 2 * CELL + 6]


def test_a_perfect_prediction_looks_like_the_truth(batch: dict[str, np.ndarray]) -> None:
    picture = sheet(batch, perfect(batch))
    known = cells(picture, 3)
    assert known.max() < 60, "no error anywhere"
    difference = np.abs(cells(picture, 1).astype(int) - cells(picture, 2))
    assert np.median(difference) == 0
    predicted, true = clouds(picture)
    assert predicted.std() > 10
    assert np.mean(np.abs(predicted.astype(int) - true)) < 0.01 * true.std()


def test_errors_are_bright(batch: dict[str, np.ndarray]) -> None:
    truth = perfect(batch)
    uneven = np.where(np.arange(SIZE[1]) < SIZE[1] // 2, 1.0, 2.0).astype(np.float32)
    picture = sheet(batch, dataclasses.replace(truth, depth=truth.depth * uneven))
    error = cells(picture, 3).astype(int).sum(-1)
    assert abs(np.median(error[:, : CELL // 2 - 8]) - np.median(error[:, CELL // 2 + 8 :])) > 100


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_broken_prediction_is_a_picture_all_the_same(
    value: float, batch: dict[str, np.ndarray]
) -> None:
    truth = perfect(batch)
    broken = jax.tree.map(lambda x: np.full_like(x, value), truth)
    picture = sheet(batch, broken)
    assert picture.shape == sheet(batch, truth).shape
    np.testing.assert_array_equal(cells(picture, 2), cells(sheet(batch, truth), 2))


def test_a_scene_without_depth_is_a_picture_all_the_same(batch: dict[str, np.ndarray]) -> None:
    empty = batch | {name: np.zeros_like(batch[name]) for name in ("depth", "valid")}
    assert sheet(empty, perfect(batch)).std() > 0


def test_the_moving_average_is_painted(batch: dict[str, np.ndarray]) -> None:
    truth = perfect(batch)

    def predict(params: float, images: np.ndarray) -> Prediction:
        assert images is batch["images"]
        return dataclasses.replace(truth, depth=truth.depth ** np.float32(params))

    zero = jax.numpy.int32(0)
    state = TrainState(zero, 2.0, None, 1.0, zero, zero)
    np.testing.assert_array_equal(painter(predict, lambda: batch)(state), sheet(batch, truth))


def test_rendered_views_stand_beside_the_true_ones(batch: dict[str, np.ndarray]) -> None:
    odd = {name: array[:, 1::2] for name, array in batch.items()}
    exact = Prediction(3 * odd["depth"], odd["depth"], rgb=odd["images"])
    picture = rendered_sheet(odd, exact, max_views=3)
    columns = [picture[22:, 6 + i * (CELL + 6) :][:, :CELL] for i in range(4)]
    np.testing.assert_array_equal(columns[0], columns[1])
    unknown = np.abs(columns[2].astype(int) - columns[3]).max(-1) > 0
    assert unknown.mean() < 0.3, "only where there is no true depth"
    assert columns[1].std() > 20
    broken = dataclasses.replace(exact, rgb=odd["images"] * np.nan, depth=odd["depth"] * np.nan)
    assert rendered_sheet(odd, broken, max_views=3).shape == picture.shape

    def render(params: float, views: object) -> tuple[dict[str, np.ndarray], Prediction]:
        assert views is batch
        return odd, exact

    zero = jax.numpy.int32(0)
    state = TrainState(zero, 2.0, None, 1.0, zero, zero)
    page = painter(lambda *_: perfect(batch), lambda: batch, render)(state)
    height = len(sheet(batch, perfect(batch)))
    np.testing.assert_array_equal(page[height:], rendered_sheet(odd, exact))
