"""The embedded `tiny-streaming` on scenes that no training run contains."""

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


def test_depth_and_cameras_are_better_than_the_trivial_answer(
    loaded: LoadedModel, held_out: Batch
) -> None:
    numbers = evaluate(loaded.model, loaded.params, [held_out])
    model, trivial = numbers["model"], numbers["trivial"]
    assert model["AbsRel"] < 0.9 * trivial["AbsRel"]
    # Four small scenes; the card has 48 of the size it was trained for last.
    assert model["RRA@30"] > trivial["RRA@30"] + 5
    assert model["RTA@30"] > 0


def test_frame_by_frame_says_what_one_call_says(loaded: LoadedModel, held_out: Batch) -> None:
    model, images = loaded.model, jnp.asarray(held_out["images"])
    step = jax.jit(model.update)
    state, depth = model.init_state(loaded.params, len(images)), []
    for i in range(images.shape[1]):
        state, prediction = step(loaded.params, state, Views(images[:, i : i + 1]))
        depth.append(prediction.depth)
    together: Any = predict(model, loaded.params, images).depth
    # The norms that a step restores are taken anew from each state.
    np.testing.assert_allclose(np.concatenate(depth, 1), together, rtol=2e-2)
