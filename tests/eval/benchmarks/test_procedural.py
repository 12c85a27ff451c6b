"""Held-out scenes: metrics of the truth are perfect, those of the trivial prediction as defined."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.eval.benchmarks.procedural import Batch, evaluate, held_out_scenes
from zipmap_jax.eval.report import MEANING, Numbers
from zipmap_jax.structs import Prediction, Views


@dataclasses.dataclass(frozen=True)
class Oracle:
    """Returns the truth in another unit and another world frame."""

    scale: float = 3.0
    query_channels: int = 0

    def init_state(self, params: Any, batch: int) -> None:
        return None

    def update(self, params: Any, state: None, views: Views) -> tuple[None, Prediction]:
        turn = jnp.asarray([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
        w2c = params["w2c"] @ turn
        w2c = w2c.at[..., :3, 3].multiply(self.scale)
        depth = self.scale * params["depth"] + 1e-6
        return None, Prediction(depth, jnp.ones_like(depth), w2c, params["intrinsics"])


def oracle_numbers(batch: Batch) -> Numbers:
    return evaluate(Oracle(), jax.tree.map(jnp.asarray, batch), [batch])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scenes() -> list[Batch]:
    return list(held_out_scenes(3, views=3, height=28, width=42, batch=2))


def test_scenes_are_counted_and_repeatable(scenes: list[Batch]) -> None:
    assert [len(batch["images"]) for batch in scenes] == [2, 1]
    again = next(held_out_scenes(1, views=3, height=28, width=42, batch=2))
    np.testing.assert_array_equal(again["images"], scenes[0]["images"][:1])


def test_the_truth_in_any_unit_and_frame_has_no_errors(scenes: list[Batch]) -> None:
    numbers = oracle_numbers(scenes[0])
    assert list(numbers["model"]) == list(MEANING)
    assert numbers["model"]["AbsRel"] < 1e-4
    assert numbers["model"]["delta<1.25"] == 1
    for name in MEANING:
        if "@" in name:
            assert numbers["model"][name] == pytest.approx(100), name


def test_the_trivial_prediction_is_the_median_depth_and_no_motion(scenes: list[Batch]) -> None:
    batch = scenes[1]
    numbers = oracle_numbers(batch)["trivial"]
    true = np.sort(batch["depth"][0][batch["valid"][0]].astype(float))
    median = true[(len(true) - 1) // 2]
    assert numbers["AbsRel"] == pytest.approx(np.mean(np.abs(median - true) / true), rel=1e-5)
    assert numbers["AbsRel"] > 0.05
    assert numbers["RTA@30"] == numbers["AUC@30"] == 0
