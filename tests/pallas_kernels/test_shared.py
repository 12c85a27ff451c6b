"""Newton-Schulz shared by eight (pretended) devices: values, gradients, and when it pays."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from pallas_kernels import newton_schulz, newton_schulz_update
from pallas_kernels.newton_schulz import update
from pallas_kernels.newton_schulz.shared import on_shares, sharing_pays

DEVICES = 8


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def on_devices(f: Any) -> Any:
    """`f` run by every device on the same arguments, and what the first one gets."""
    mesh = jax.make_mesh((DEVICES,), ("views",), devices=jax.devices()[:DEVICES])
    whole = PartitionSpec()
    return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False))


@pytest.mark.parametrize("batch", [(3,), (8,), (3, 2, 2)])
def test_devices_get_what_one_computes(batch: tuple[int, ...], rng: np.random.Generator) -> None:
    """3 and 12 matrices leave some of the devices without work, 8 do not."""
    matrices = jnp.asarray(rng.standard_normal((*batch, 8, 16)), jnp.float32)
    weight = jnp.asarray(rng.standard_normal((*batch, 8, 16)), jnp.float32)

    def loss(x: jax.Array, f: Any) -> tuple[jax.Array, jax.Array]:
        y = f(x)
        return jnp.sum(weight * y), y

    def shared(x: jax.Array) -> jax.Array:
        return on_shares(newton_schulz, x, "views")

    def averaged(x: jax.Array) -> Any:
        gradient, y = jax.grad(loss, has_aux=True)(x, shared)
        return jax.lax.pmean(gradient, "views"), y

    alone_on_one = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    expected, alone = alone_on_one(matrices, newton_schulz)
    gradient, together = on_devices(averaged)(matrices)
    np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pays", [True, False])
def test_an_update_is_shared_where_it_pays(
    pays: bool, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    d, m = 8, 16
    weights, gradients = (
        tuple(jnp.asarray(rng.standard_normal(s), jnp.float32) for s in shapes)
        for shapes in (((d, m), (m, d), (d, m)), ((d, m),) * 3)
    )
    norms = jnp.ones((1, m)), jnp.ones((1, d)), jnp.ones((1, m))
    monkeypatch.setattr(update, "sharing_pays", lambda shape, devices, steps: pays)
    run = on_devices(functools.partial(newton_schulz_update, axis="views"))
    arguments = (weights, gradients, norms)
    text = run.lower(*arguments).as_text()
    assert ("all_gather" in text) == pays
    for a, b in zip(run(*arguments), newton_schulz_update(*arguments), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("matrices", "width", "devices", "pays"),
    [
        (3, 1024, 2, True),
        (3, 1024, 8, True),
        # Sixty-one devices would idle and receive copies of nothing.
        (3, 1024, 64, False),
        (3 * 64, 1024, 64, True),
        # 20 microseconds of latency are longer than the products of small matrices.
        (3, 128, 8, False),
        (1, 1024, 8, False),
    ],
)
def test_sharing_pays_for_large_matrices(
    matrices: int, width: int, devices: int, pays: bool
) -> None:
    assert sharing_pays((matrices, width, 2 * width), devices) == pays
