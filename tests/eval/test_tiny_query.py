"""The embedded `tiny-query` on held-out scenes."""

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


def test_rendered_views_are_better_than_the_trivial_prediction(
    loaded: LoadedModel, held_out: Batch
) -> None:
    numbers = RenderedComparison().with_batch(loaded.model, loaded.params, held_out).numbers()
    model, trivial = numbers["model"], numbers["trivial"]
    assert model["PSNR"] > trivial["PSNR"] + 0.3
    assert model["AbsRel (r)"] < 0.95 * trivial["AbsRel (r)"]


def test_rendered_views_depend_on_the_state(loaded: LoadedModel, held_out: Batch) -> None:
    """The same rays through another scene's state give a worse picture, for every scene."""
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
