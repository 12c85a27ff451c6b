"""The embedded `tiny-query` on scenes that no training run contains."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import zipmap_jax
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.eval.held_out import Batch, held_out_scenes
from zipmap_jax.eval.rendered import RenderedComparison, render


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    with pytest.warns(UserWarning, match="procedural scenes only"):
        return zipmap_jax.load("tiny-query")


@pytest.fixture(scope="module")
def batch() -> Batch:
    return next(held_out_scenes(4))


def test_unseen_views_are_rendered_better_than_by_the_trivial_answer(
    loaded: LoadedModel, batch: Batch
) -> None:
    numbers = RenderedComparison().with_batch(loaded.model, loaded.params, batch).numbers()
    model, trivial = numbers["model"], numbers["trivial"]
    assert model["PSNR"] > trivial["PSNR"] + 0.5
    assert model["AbsRel (r)"] < trivial["AbsRel (r)"]


def test_what_is_rendered_comes_from_the_state(loaded: LoadedModel, batch: Batch) -> None:
    """The same rays asked of the next scene's state give pictures of another scene."""

    def error(images: np.ndarray) -> float:
        zipped, rendered = ({n: x[:, i::2] for n, x in batch.items()} for i in (0, 1))
        cameras = (zipped["w2c"], rendered["w2c"], rendered["intrinsics"])
        prediction = render(loaded.model, loaded.params, images[:, ::2], *cameras)
        return float(np.mean(np.square(jax.device_get(prediction.rgb) - rendered["images"])))

    assert error(batch["images"]) < 0.8 * error(np.roll(batch["images"], 1, axis=0))
