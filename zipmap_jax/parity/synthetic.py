"""Synthetic weights and inputs, which depend only on names and shapes.

Both sides of a comparison compute them, so that no checkpoint is exchanged. Every tensor of a
PyTorch state dict consists of float64 standard normals of `numpy.random.PCG64([seed, crc32(name)])`
in C order, scaled by a rule that depends on the name and cast to float32. The first matching rule
applies; docs/parity.md lists the rules.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

Shape = tuple[int, ...]

_POSE_BIAS = ("pose_branch.fc2.bias", "camera_mlp_head.mlp.fc2.bias")
_POSE_WEIGHT = ("pose_branch.fc2.weight", "camera_mlp_head.mlp.fc2.weight")
_TOKENS = (
    "cls_token",
    "register_tokens",
    "camera_token",
    "register_token",
    "ray_cond_token",
    "mask_token",
    "empty_pose_tokens",
    "pos_embed",
)
_FAST_WEIGHTS = ("ttt_block.w0", "ttt_block.w1", "ttt_block.w2")
_TRANSPOSED_CONVS = ("resize_layers.0.weight", "resize_layers.1.weight")
# Entries of a pose bias that are raised by 0.25 for well conditioned cameras, by encoding length.
_LIFTED = {9: (6, 7, 8), 14: (3, 7, 11, 12, 13)}


def _pose_bias(n: np.ndarray) -> np.ndarray:
    bias = 0.02 * n
    bias[list(_LIFTED[n.shape[0]])] += 0.25
    return bias


def _by_fan_in(n: np.ndarray) -> np.ndarray:
    return n / np.sqrt(float(np.prod(n.shape[1:])))


_RULES: tuple[tuple[Callable[[str, int], bool], Callable[[np.ndarray], np.ndarray]], ...] = (
    (lambda name, ndim: name.endswith(_POSE_BIAS), _pose_bias),
    (lambda name, ndim: name.endswith("gamma"), lambda n: 0.2 + 0.05 * n),
    (lambda name, ndim: name.endswith(_TOKENS), lambda n: 0.5 * n),
    (lambda name, ndim: name.endswith(_FAST_WEIGHTS), lambda n: n * np.sqrt(2.0 / n.shape[-2])),
    (
        lambda name, ndim: name.endswith("bias") or (ndim < 2 and not name.endswith("weight")),
        lambda n: 0.02 * n,
    ),
    (lambda name, ndim: ndim < 2, lambda n: 1.0 + 0.1 * n),
    (lambda name, ndim: name.endswith(_TRANSPOSED_CONVS), lambda n: n / np.sqrt(n.shape[0])),
    (
        lambda name, ndim: name.endswith("scratch.output_conv2.2.weight"),
        lambda n: 0.7 * _by_fan_in(n),
    ),
    (lambda name, ndim: name.endswith(_POSE_WEIGHT), lambda n: 0.1 * _by_fan_in(n)),
    (lambda name, ndim: True, _by_fan_in),
)


def _normals(stream: str, shape: Shape, seed: int) -> Float[np.ndarray, "..."]:
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(stream.encode())]))
    return generator.standard_normal(size=shape, dtype=np.float64)


def weight(name: str, shape: Shape, seed: int = 0) -> Float[np.ndarray, "..."]:
    """Synthetic value of one entry of a state dict.

    Args:
      name: name of the entry.
      shape: shape in PyTorch's axis order.
      seed: seed of the weights.

    Returns:
      An fp32 array.
    """
    n = _normals(name, shape, seed)
    rule = next(rule for matches, rule in _RULES if matches(name, n.ndim))
    return rule(n).astype(np.float32)


def inputs(tag: str, shape: Shape, seed: int = 0, scale: float = 1.0) -> Float[np.ndarray, "..."]:
    """Synthetic input with entries of N(0, scale^2).

    Args:
      tag: name of the input.
      shape: shape of the input.
      seed: seed of the input.
      scale: standard deviation.

    Returns:
      An fp32 array.
    """
    return (scale * _normals("input:" + tag, shape, seed)).astype(np.float32)


class StateDict(Mapping[str, np.ndarray]):
    """A lazy state dict of synthetic weights, which are computed at every access.

    Attributes:
      shapes: shapes of all entries by name.
    """

    def __init__(self, shapes: Mapping[str, Shape], seed: int = 0, prefix: str = "") -> None:
        self.shapes, self._seed, self._prefix = dict(shapes), seed, prefix

    def __getitem__(self, name: str) -> np.ndarray:
        return weight(self._prefix + name, tuple(self.shapes[name]), self._seed)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def digest(x: np.ndarray, tag: str, seed: int = 0) -> dict[str, Float[np.ndarray, "..."]]:
    """Compact fingerprint of a large tensor: norms, a random projection and a slice.

    Args:
      x: the tensor, with two or more axes.
      tag: name of the projection.
      seed: seed of the projection.

    Returns:
      `fro`: Frobenius norm over the last two axes. `col`: norm over axis -2, every 8th column.
      `proj`: product with a fixed normal vector, divided by sqrt(columns). `slice`: every 29th row
      and 31st column.
    """
    x = np.asarray(x, np.float64)
    u = inputs("digest:" + tag, (x.shape[-1],), seed).astype(np.float64) / np.sqrt(x.shape[-1])
    fingerprint = {
        "fro": np.sqrt((x**2).sum(axis=(-2, -1))),
        "col": np.sqrt((x**2).sum(axis=-2))[..., ::8],
        "proj": x @ u,
        "slice": x[..., ::29, ::31],
    }
    return {key: value.astype(np.float32) for key, value in fingerprint.items()}
