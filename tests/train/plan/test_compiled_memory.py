"""Memory of the largest steps, from the compiler."""

from __future__ import annotations

import dataclasses

import pytest

from tests.train.plan.test_plan import TINY
from zipmap_jax.data.config import BatchShape
from zipmap_jax.train.plan.compiled_memory import target_device, training_memory
from zipmap_jax.train.plan.plan import plan


@pytest.mark.slow
def test_the_largest_steps_are_compiled() -> None:
    small, large = BatchShape(1, 28, 28), BatchShape(2, 42, 42, batch=2)
    config = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, buckets=(small, large)))
    (found,) = training_memory(config, target_device("here"))
    assert found.bucket == large
    assert str(found).startswith("2 views x 2 of 42x42: working memory 0.")
    planned = plan(config, 1).memory
    held = sum(planned[name] for name in ("parameters", "moments", "moving average"))
    assert held < found.state < 1.1 * held + planned["largest batch"]
    assert found.working > planned["gradients"]
