"""The kernels lowered for CUDA at real sizes without a GPU: layouts, shapes, shared memory."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from pallas_kernels import newton_schulz
from pallas_kernels.newton_schulz import op
from pallas_kernels.newton_schulz.kernel import KernelPlan, newton_schulz_kernel
from pallas_kernels.newton_schulz.product import Product
from pallas_kernels.newton_schulz.tables import SYMMETRIC, UPDATE
from pallas_kernels.newton_schulz.tiling import Tiling

KERNEL = "mosaic_gpu"
D, M = 1024, 2048


def shape(*extents: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(extents, dtype)


def lowered(f: Any, *shapes: Any, platform: str = "cuda") -> str:
    return jax.jit(f).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()


narrow = functools.partial(shape, dtype=jnp.bfloat16)


SLOW_IF_IN_FLIGHT = [
    pytest.param(t, marks=[pytest.mark.slow] * t.in_flight, id=str(t)) for t in UPDATE
]


@pytest.mark.parametrize("tiling", SLOW_IF_IN_FLIGHT)
@pytest.mark.parametrize("batch", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_update(tiling: Tiling, batch: int) -> None:
    product = Product(beta=3.4445, outputs=(jnp.float32, jnp.bfloat16), tiling=tiling)
    text = lowered(product, narrow(batch, D, D), narrow(batch, D, M), shape(batch, D, M))
    assert text.count(f"@{KERNEL}") == 1


@pytest.mark.parametrize("tiling", SYMMETRIC, ids=str)
def test_symmetric(tiling: Tiling) -> None:
    gram = Product(transpose_right=True, symmetric=True, tiling=tiling)
    assert KERNEL in lowered(gram, narrow(3, D, M), narrow(3, D, M))
    polynomial = Product(alpha=2.0, beta=-4.0, symmetric=True, tiling=tiling)
    assert KERNEL in lowered(polynomial, *[narrow(3, D, D)] * 3)


@pytest.mark.parametrize(
    "extents",
    [
        (3, 1024, 2048),
        (3, 192, 384),
        pytest.param((64, 64), marks=pytest.mark.slow),
        pytest.param((12, 1024, 2048), marks=pytest.mark.slow),
        pytest.param((2, 3, 2048, 1024), marks=pytest.mark.slow),
        pytest.param((3, 384, 768), marks=pytest.mark.slow),
        pytest.param((3, 128, 256), marks=pytest.mark.slow),
        pytest.param((3, 2048, 2048), marks=pytest.mark.slow),
        pytest.param((3, 320, 2048), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_five_steps(extents: tuple[int, ...]) -> None:
    text = lowered(newton_schulz_kernel, shape(*extents))
    # Equal launches are lowered once: what is left are the three of a step, or a few more.
    assert 3 <= text.count(f"@{KERNEL}") <= 6


def test_carry_in_bf16() -> None:
    f = functools.partial(newton_schulz_kernel, precision="bf16", plan=KernelPlan())
    assert KERNEL in lowered(f, shape(3, D, M))


def test_platform_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    f = functools.partial(newton_schulz, precision="bf16_operands")
    x = shape(3, 128, 256)
    assert KERNEL not in lowered(f, x), "no Hopper GPU here"
    monkeypatch.setattr(op, "kernels_run_here", lambda: True)
    assert KERNEL in lowered(lambda x: f(x), x)
    assert KERNEL not in lowered(lambda x: f(x), x, platform="cpu")
    assert KERNEL not in lowered(newton_schulz, x), "fp32 is XLA's"
    assert KERNEL not in lowered(lambda x: f(x), shape(3, 96, 256)), "XLA takes odd shapes"


@pytest.mark.parametrize("check_vma", [False, True])
def test_inside_shard_map(monkeypatch: pytest.MonkeyPatch, check_vma: bool) -> None:
    """Both branches of the choice vary over the mesh alike, and nothing is gathered."""
    monkeypatch.setattr(op, "kernels_run_here", lambda: True)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    part = jax.sharding.PartitionSpec("data")

    def loss(x: jax.Array) -> jax.Array:
        y = newton_schulz(x, steps=1, precision="bf16_operands")
        return jax.lax.psum(jnp.sum(y * y), "data")

    f = jax.shard_map(
        loss, mesh=mesh, in_specs=part, out_specs=jax.sharding.PartitionSpec(), check_vma=check_vma
    )
    text = lowered(jax.value_and_grad(f), shape(8, 128, 256))
    assert KERNEL in text
    assert "all-gather" not in text
    assert "all_gather" not in text
