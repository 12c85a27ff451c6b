"""Newton-Schulz of the kernels against NumPy with the same rounding, and against float64."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import compat, dispatch, newton_schulz
from pallas_kernels.newton_schulz import op
from pallas_kernels.newton_schulz.kernel import KernelPlan, newton_schulz_kernel, update_tiling
from pallas_kernels.newton_schulz.reference import newton_schulz_reference
from pallas_kernels.newton_schulz.tiling import Tiling
from tests.pallas_kernels.oracle import NEEDS_TRANSPOSED_REFS, bf16, error, exact, iterate, normal

# Another order of summation in fp32, and now and then a bf16 rounding that flips because of it.
SAME_ROUNDING = 1e-4
# Each step multiplies small singular values by 3.4, and with them the flips of the steps before:
# from 1e-5 after three steps to 2e-3 ... 4e-3 after five (four seeds).
STEPS_OF_SAME_ROUNDING = 3
SMALL = KernelPlan(symmetric=Tiling(stages=2), update=Tiling(stages=2), blocks=2)


def interpreted(g: np.ndarray, steps: int, precision: str = "bf16_operands") -> np.ndarray:
    y = newton_schulz_kernel(
        jnp.asarray(g),
        steps,
        precision,  # type: ignore[arg-type]
        plan=SMALL,
        interpret=compat.interpreter(),
    )
    return np.asarray(y)


@NEEDS_TRANSPOSED_REFS
@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((128, 128), 1),
        pytest.param((2, 256, 256), 1, marks=pytest.mark.slow),
        pytest.param((1, 2, 128, 384), 2, marks=pytest.mark.slow),
        pytest.param((1, 192, 320), 2, marks=pytest.mark.slow),
        pytest.param((1, 256, 64), 3, marks=pytest.mark.slow),
        pytest.param((1, 256, 64), 5, marks=pytest.mark.slow),
    ],
)
def test_kernel_rounds_where_the_reference_does(shape: tuple[int, ...], steps: int) -> None:
    g = normal(*shape)
    tall = shape[-2] > shape[-1]
    wide = np.swapaxes(g, -1, -2) if tall else g
    y = interpreted(g, steps)
    y = np.swapaxes(y, -1, -2) if tall else y
    amplified = steps > STEPS_OF_SAME_ROUNDING
    assert error(y, iterate(wide, steps)) < (5e-3 if amplified else SAME_ROUNDING)
    assert error(y, exact(wide, steps)) < 0.02
    xla = newton_schulz_reference(jnp.asarray(wide), steps, "bf16_operands")
    allowed = 1.05 if amplified else 1.01
    assert error(y, exact(wide, steps)) < allowed * error(xla, exact(wide, steps))


@NEEDS_TRANSPOSED_REFS
@pytest.mark.slow
def test_carry_in_bf16() -> None:
    g = normal(1, 128, 256)
    y = interpreted(g, 2, "bf16")
    # A flip of the carried X is a whole step of bf16, in a few elements.
    assert error(y, iterate(g, 2, carry=bf16)) < 1e-3
    np.testing.assert_array_equal(y, bf16(y))


@NEEDS_TRANSPOSED_REFS
@pytest.mark.slow
def test_gradient_is_that_of_the_reference() -> None:
    g, r = (jnp.asarray(normal(64, 128, seed=seed)) for seed in (0, 1))
    call = functools.partial(
        newton_schulz,
        steps=1,
        precision="bf16_operands",
        implementation="pallas",
        interpret=compat.interpreter(),
    )
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(r * call(x)))(g)
    expected = jax.value_and_grad(
        lambda x: jnp.sum(r * newton_schulz_reference(x, 1, "bf16_operands"))
    )(g)
    np.testing.assert_allclose(value, expected[0], rtol=1e-4)
    np.testing.assert_array_equal(gradient, expected[1])


def test_gradient_of_the_choice_by_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this CPU a program traced for a Hopper GPU runs the reference, with its gradient."""
    monkeypatch.setattr(op, "kernels_run_here", lambda: True)
    g = jnp.asarray(normal(2, 64, 128))
    call = functools.partial(newton_schulz, steps=2, precision="bf16_operands")
    np.testing.assert_array_equal(
        jax.jit(call)(g), jax.jit(lambda x: newton_schulz_reference(x, 2, "bf16_operands"))(g)
    )
    gradient = jax.jit(jax.grad(lambda x: call(x)[0, 0, 0]))(g)
    expected = jax.jit(jax.grad(lambda x: newton_schulz_reference(x, 2, "bf16_operands")[0, 0, 0]))(
        g
    )
    np.testing.assert_array_equal(gradient, expected)


def test_fp32_is_refused() -> None:
    with pytest.raises(ValueError, match="the kernel multiplies bf16, not 'fp32'"):
        newton_schulz(jnp.zeros((64, 64)), implementation="pallas")


def test_wide_tiles_where_there_are_many() -> None:
    assert update_tiling((3, 1024, 2048), 132).columns == 128
    assert update_tiling((12, 1024, 2048), 132).columns == 256
    assert update_tiling((1, 128, 384), 132).columns == 128


class Device:
    def __init__(self, platform: str, capability: str) -> None:
        self.platform, self.compute_capability = platform, capability


def test_only_hopper_is_hopper() -> None:
    assert dispatch.is_hopper(Device("gpu", "9.0"))
    assert not dispatch.is_hopper(Device("gpu", "8.0"))
    assert not dispatch.is_hopper(Device("gpu", "10.0"))
    assert not dispatch.is_hopper(jax.devices("cpu")[0])


def test_sharded_programs_meet_the_kernel_in_shard_map_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "is_hopper", lambda _: True)
    monkeypatch.setenv(dispatch.SWITCH, "1")
    seen = []

    def look(x: jax.Array) -> jax.Array:
        seen.append(dispatch.kernels_run_here())
        return x

    x = jnp.zeros(8)
    jax.jit(look)(x)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    part = jax.sharding.PartitionSpec("data")
    with jax.set_mesh(mesh):
        jax.jit(look)(x)
        jax.jit(jax.shard_map(look, in_specs=part, out_specs=part))(x)
    assert seen == [True, False, True]
    monkeypatch.delenv(dispatch.SWITCH)
    assert not dispatch.kernels_run_here(), "not before they have run on a GPU"
