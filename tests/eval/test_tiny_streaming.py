"""The embedded `tiny-streaming` on held-out scenes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zipmap_jax
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.eval.benchmarks.procedural import Batch, evaluate, predict
from zipmap_jax.structs import Views


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    with pytest.warns(UserWarning, match="procedural scenes only"):
        return zipmap_jax.load("tiny-streaming")


def test_depth_and_cameras_are_better_than_the_trivial_prediction(
    loaded: LoadedModel, held_out: Batch
) -> None:
    numbers = evaluate(loaded.model, loaded.params, [held_out])
    model, trivial = numbers["model"], numbers["trivial"]
    assert model["AbsRel"] < 0.9 * trivial["AbsRel"]
    # Four small scenes; the card has metrics of 48 scenes at the last training size.
    assert model["RRA@30"] > trivial["RRA@30"] + 5
    assert model["RTA@30"] > 0


def test_frame_by_frame_equals_one_call(loaded: LoadedModel, held_out: Batch) -> None:
    model, images = loaded.model, jnp.asarray(held_out["images"])
    step = jax.jit(model.update)
    state, depth = model.init_state(loaded.params, len(images)), []
    for i in range(images.shape[1]):
        state, prediction = step(loaded.params, state, Views(images[:, i : i + 1]))
        depth.append(prediction.depth)
    together: Any = predict(model, loaded.params, images).depth
    # The norms that a step restores are recomputed from each state.
    np.testing.assert_allclose(np.concatenate(depth, 1), together, rtol=2e-2)
