"""Arithmetic of a program, counted through its loops."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from zipmap_jax.compilation.flops import flops_of

A = jnp.ones((8, 16))
B = jnp.ones((16, 32))
ONE = 2 * 8 * 16 * 32


def flops(function, *args) -> float:
    return flops_of(jax.jit(function).trace(*args))


def test_matrix_products() -> None:
    assert flops(jnp.matmul, A, B) == ONE
    assert flops(lambda a, b: jnp.einsum("bij,jk->bik", a, b), jnp.ones((5, 8, 16)), B) == 5 * ONE
    # The gradient takes two more of them, and what is recomputed counts again.
    loss = lambda a, b: jnp.sin(a @ b).sum()  # noqa: E731
    assert flops(jax.grad(loss, (0, 1)), A, B) == 3 * ONE
    assert flops(jax.grad(jax.checkpoint(loss), (0, 1)), A, B) == 4 * ONE


def test_loops_count_as_often_as_they_run() -> None:
    def scanned(a, b):
        return jax.lax.scan(lambda total, _: (total + a @ b, None), a @ b, None, length=10)[0]

    assert flops(scanned, A, B) == 11 * ONE
    assert flops(lambda a, b: jax.lax.map(lambda x: x @ b, a[None, None].repeat(3, 0)), A, B) == (
        3 * ONE
    )


def test_of_two_branches_the_dearer_one_counts() -> None:
    def branched(a, b):
        return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: 2 * (a @ (b @ (b.T @ b))))

    assert flops(branched, A, B) == 2 * (32 * 16 * 32 + 16 * 32 * 32 + 8 * 16 * 32)


@pytest.mark.parametrize(("stride", "side"), [(1, 9), (3, 3)])
def test_convolutions(stride: int, side: int) -> None:
    convolve = partial(
        jax.lax.conv_general_dilated,
        window_strides=(stride, stride),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    image, kernel = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4, 6))
    assert flops(convolve, image, kernel) == 2 * (2 * side * side * 6) * 3 * 3 * 4


def test_transposed_convolutions_do_not_count_their_zeros() -> None:
    grow = partial(
        jax.lax.conv_transpose,
        strides=(2, 2),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    image, kernel = jnp.ones((1, 5, 5, 4)), jnp.ones((2, 2, 4, 6))
    assert flops(grow, image, kernel) == 2 * (5 * 5) * 2 * 2 * 4 * 6


def test_sharded_regions_count_on_every_device() -> None:
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    product = jax.shard_map(jnp.matmul, mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data"))
    assert flops(product, A, B) == ONE
    whole = jax.shard_map(jnp.matmul, mesh=mesh, in_specs=(P(), P()), out_specs=P())
    assert flops(whole, A, B) == 4 * ONE  # every device does it


def test_a_kernel_counts_per_cell_of_its_grid() -> None:
    from jax.experimental import pallas as pl

    def body(a_ref, b_ref, out_ref):
        out_ref[...] = jnp.dot(a_ref[...], b_ref[...])

    def product(a, b):
        return pl.pallas_call(
            body,
            grid=(4,),
            in_specs=[
                pl.BlockSpec((2, 16), lambda i: (i, 0)),
                pl.BlockSpec((16, 32), lambda i: (0, 0)),
            ],
            out_specs=pl.BlockSpec((2, 32), lambda i: (i, 0)),
            out_shape=jax.ShapeDtypeStruct((8, 32), jnp.float32),
            interpret=True,
        )(a, b)

    assert flops(product, A, B) == ONE
