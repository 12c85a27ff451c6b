"""The embedded `tiny-query` on scenes that no training run contains."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import zipmap_jax
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.eval.benchmarks.procedural import Batch
from zipmap_jax.eval.rendered import RenderedComparison, render


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    with pytest.warns(UserWarning, match="procedural scenes only"):
        return zipmap_jax.load("tiny-query")


def test_unseen_views_are_rendered_better_than_by_the_trivial_answer(
    loaded: LoadedModel, held_out: Batch
) -> None:
    numbers = RenderedComparison().with_batch(loaded.model, loaded.params, held_out).numbers()
    model, trivial = numbers["model"], numbers["trivial"]
    assert model["PSNR"] > trivial["PSNR"] + 0.3
    assert model["AbsRel (r)"] < 0.95 * trivial["AbsRel (r)"]


def test_what_is_rendered_comes_from_the_state(loaded: LoadedModel, held_out: Batch) -> None:
    """The same rays asked of any other scene's state give a worse picture, scene by scene."""
    zipped, rendered = ({name: x[:, i::2] for name, x in held_out.items()} for i in (0, 1))
    cameras = (zipped["w2c"], rendered["w2c"], rendered["intrinsics"])

    def errors(step: int) -> np.ndarray:
        images = np.roll(zipped["images"], step, axis=0)
        prediction = render(loaded.model, loaded.params, images, *cameras)
        error = np.square(jax.device_get(prediction.rgb) - rendered["images"])
        return np.mean(error, axis=(1, 2, 3, 4))

    own = errors(0)
    for step in (1, 2, 3):
        assert np.all(own < errors(step))
