"""The embedded `tiny-query` on scenes that no training run contains."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import zipmap_jax
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.eval.held_out import Batch
from zipmap_jax.eval.rendered import RenderedComparison, render

# `next(held_out_scenes(4, 8, 56, 56))`, colours rounded to bytes: drawing them takes ten seconds.
SCENES = Path(__file__).parent / "recorded" / "held_out.npz"


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    with pytest.warns(UserWarning, match="procedural scenes only"):
        return zipmap_jax.load("tiny-query")


@pytest.fixture(scope="module")
def batch() -> Batch:
    with np.load(SCENES) as arrays:
        scenes = dict(arrays)
    images, depth = scenes["images"].astype(np.float32) / 255, scenes["depth"].astype(np.float32)
    return scenes | {"images": images, "depth": depth}


def test_unseen_views_are_rendered_better_than_by_the_trivial_answer(
    loaded: LoadedModel, batch: Batch
) -> None:
    numbers = RenderedComparison().with_batch(loaded.model, loaded.params, batch).numbers()
    model, trivial = numbers["model"], numbers["trivial"]
    assert model["PSNR"] > trivial["PSNR"] + 0.3
    assert model["AbsRel (r)"] < 0.95 * trivial["AbsRel (r)"]


def test_what_is_rendered_comes_from_the_state(loaded: LoadedModel, batch: Batch) -> None:
    """The same rays asked of any other scene's state give a worse picture, scene by scene."""
    zipped, rendered = ({name: x[:, i::2] for name, x in batch.items()} for i in (0, 1))
    cameras = (zipped["w2c"], rendered["w2c"], rendered["intrinsics"])

    def errors(step: int) -> np.ndarray:
        images = np.roll(zipped["images"], step, axis=0)
        prediction = render(loaded.model, loaded.params, images, *cameras)
        error = np.square(jax.device_get(prediction.rgb) - rendered["images"])
        return np.mean(error, axis=(1, 2, 3, 4))

    own = errors(0)
    for step in (1, 2, 3):
        assert np.all(own < errors(step))
