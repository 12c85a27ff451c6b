"""Errors of rendered views: none for the truth, hand-computed ones for the trivial prediction."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.conftest import micro, random_params
from zipmap_jax.eval.benchmarks.procedural import Batch, evaluate, held_out_scenes
from zipmap_jax.eval.metrics.rendering import RENDERED
from zipmap_jax.eval.rendered import RenderedComparison
from zipmap_jax.eval.report import MEANING, table
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.structs import Prediction, Views


@dataclasses.dataclass(frozen=True)
class Renderer:
    """Stores the number of zipped views; renders the contents of `params`, at half the depth."""

    offset: float = 0.0

    def init_state(self, params: Any, batch: int) -> jax.Array:
        return jnp.zeros(batch)

    def update(self, params: Any, state: jax.Array, views: Views) -> tuple[jax.Array, None]:
        return state + views.images.shape[1], None

    def read(self, params: Any, state: jax.Array, rays: jax.Array) -> Prediction:
        assert rays.shape[:2] == (len(state), params["depth"].shape[1])
        depth = params["depth"] / 2 + 1e-6
        return Prediction(depth, jnp.ones_like(depth), rgb=params["images"] + self.offset)


@pytest.fixture(scope="module")
def batch() -> Batch:
    return next(held_out_scenes(2, views=4, height=28, width=42, batch=2))


def rendered_views(batch: Batch) -> Any:
    return {name: jnp.asarray(x[:, 1::2]) for name, x in batch.items()}


def test_the_truth_and_the_mean_colour(batch: Batch) -> None:
    comparison = RenderedComparison().with_batch(Renderer(0.1), rendered_views(batch), batch)  # type: ignore[arg-type]
    numbers = comparison.numbers()
    assert numbers["model"]["PSNR"] == pytest.approx(20, abs=1e-3)
    assert numbers["model"]["AbsRel (r)"] < 1e-4
    assert numbers["model"]["delta (r)"] == 1
    by_hand = []
    for images in batch["images"]:
        mean = images[::2].mean((0, 1, 2))
        by_hand += [-10 * np.log10(np.mean((view - mean) ** 2)) for view in images[1::2]]
    assert numbers["trivial"]["PSNR"] == pytest.approx(np.mean(by_hand), abs=1e-4)


def test_a_state_query_model_has_metrics_of_both_kinds(batch: Batch) -> None:
    model = ZipMap(micro("state_query"))
    numbers = evaluate(model, random_params(model.config), [batch])
    for row in numbers.values():
        assert list(row) == [*MEANING, *RENDERED]
        assert np.isfinite(list(row.values())).all()
    assert [line[:12].strip() for line in table(numbers).splitlines()[1:]] == [*MEANING, *RENDERED]
