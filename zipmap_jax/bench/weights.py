"""Fast random weights for measurements that do not depend on the predictions."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from zipmap_jax.models.api import Model, in_stored_formats

_NUMBERS = 2**20 - 3  # odd, so that rows of a matrix start at different offsets


def random_params(model: Model) -> Any:
    """Parameters on the default device, of trained magnitude, in the formats of inference.

    They repeat a block of normal numbers, as `model.init` compiles longer than the model itself.
    """
    normal = np.random.default_rng(0).standard_normal(_NUMBERS, np.float32)
    shapes = in_stored_formats(jax.eval_shape(model.init, jax.random.key(0)), model)

    def repeated(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        offset, scale = _offset_and_scale(path[-1].key, leaf.shape)
        block = np.float32(offset) + np.float32(scale) * normal
        return jax.device_put(np.resize(block, leaf.shape).astype(leaf.dtype))

    return jax.tree_util.tree_map_with_path(repeated, shapes)


def _offset_and_scale(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation of a parameter."""
    if name == "scale":
        return 1.0, 0.1
    if name == "gamma":
        return 0.1, 0.01
    if name in ("w0", "w1", "w2"):
        return 0.0, shape[-2] ** -0.5
    if name == "kernel":
        inputs = math.prod(shape[:-1]) if len(shape) == 4 else shape[-2]
        return 0.0, inputs**-0.5
    return 0.0, 0.02
