"""Newton-Schulz orthogonalisation on Hopper tensor cores, with three fused launches per step.

    A  <- X X^T                symmetric
    Bm <- b A + c A A          symmetric, with the addend in the epilogue
    X  <- a X + Bm X           stored twice by one epilogue: as iterate, and as the next operand

Every launch processes the whole batch, because a single matrix does not fill a GPU. Operands, A and
Bm are bf16; sums and epilogues are fp32. These are the rounding points of
`newton_schulz_reference` with precision "bf16_operands" (X in fp32) or "bf16".

Compared with separate products, the fusion saves the passes over A, Bm and X of the epilogues, and
the symmetry saves a quarter of the multiplications; see `cost` for operations and traffic.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels.newton_schulz.product import Product
from pallas_kernels.newton_schulz.reference import COEFFICIENTS, Precision, formats, normalise
from pallas_kernels.newton_schulz.tiling import NUM_SMS, ROWS, Tiling


@dataclasses.dataclass(frozen=True)
class KernelPlan:
    """Tilings of the launches of one step.

    Attributes:
      symmetric: tiling of the two symmetric products, with 128 columns and no cluster.
      update: tiling of X <- a X + Bm X; None = `update_tiling`.
      blocks: number of persistent blocks, one per multiprocessor.
    """

    symmetric: Tiling = Tiling()
    update: Tiling | None = None
    blocks: int = NUM_SMS

    def products(self, shape: tuple[int, ...], carry: Any) -> tuple[Product, Product, Product]:
        """The three launches of a step.

        Args:
          shape: [batch, rows, columns] of padded wide matrices.
          carry: dtype of X between steps.

        Returns:
          The products that compute A, Bm and X.
        """
        a, b, c = COEFFICIENTS
        blocks = self.blocks
        update = self.update or update_tiling(shape, blocks)
        outputs = (carry, jnp.bfloat16) if carry == jnp.float32 else (carry,)
        half = functools.partial(Product, symmetric=True, tiling=self.symmetric, blocks=blocks)
        return (
            half(name="newton_schulz_gram", transpose_right=True),
            half(name="newton_schulz_polynomial", alpha=c, beta=b),
            Product("newton_schulz_update", beta=a, outputs=outputs, tiling=update, blocks=blocks),
        )


def update_tiling(shape: tuple[int, ...], blocks: int) -> Tiling:
    """Tiling of X <- a X + Bm X with the shorter estimated time.

    Tiles of 256 columns use the tensor cores better, and tiles of 128 columns leave fewer blocks
    idle. The estimate assumes that a `wgmma` of 64 x 256 runs at full rate and one of 64 x 128 at
    0.8 of it; the block with the most tiles determines the time.

    Args:
      shape: [batch, rows, columns] of padded wide matrices.
      blocks: number of persistent blocks.

    Returns:
      The tiling.
    """
    batch, rows, columns = shape

    def time(width: int) -> float:
        tiles = batch * (rows // ROWS) * (columns // width)
        return -(-tiles // blocks) * width * (1.0 if width == 256 else 1.25)

    wide = columns % 256 == 0 and time(256) < time(128)
    return Tiling(columns=256, stages=3) if wide else Tiling()


def newton_schulz_kernel(
    matrices: jax.Array,
    steps: int = 5,
    precision: Precision = "bf16_operands",
    *,
    plan: KernelPlan = KernelPlan(),
    interpret: Any = None,
) -> jax.Array:
    """Approximately orthogonalises a batch of matrices on a Hopper GPU.

    The mathematics is that of `newton_schulz_reference`.

    Args:
      matrices: [..., rows, columns]; extents that are not multiples of 128 are padded with zeros,
        which do not change the result.
      steps: number of iterations.
      precision: "bf16_operands" or "bf16".
      plan: tilings.
      interpret: parameters of the GPU interpreter, for a CPU; None = no interpreter.

    Returns:
      An fp32 array of the same shape.

    Raises:
      ValueError: the precision is "fp32", which tensor cores do not support.
    """
    operand, carry = formats(precision)
    if operand != jnp.bfloat16:
        raise ValueError(
            f"the kernel multiplies bf16, not {precision!r}: choose precision 'bf16_operands' or "
            "'bf16', or implementation 'xla'"
        )
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = normalise(jnp.swapaxes(matrices, -1, -2) if tall else matrices, precision)
    shape = x.shape
    x = _padded(x.reshape(-1, *shape[-2:]), plan)
    narrow = x.astype(operand)
    gram, polynomial, update = plan.products(x.shape, carry)
    # In a `fori_loop` XLA would copy both X in every step, 75 MB for three 1024 x 2048.
    for _ in range(steps):
        (a,) = _launch(gram, interpret, narrow, narrow)
        (b,) = _launch(polynomial, interpret, a, a, a)
        x, *rounded = _launch(update, interpret, b, narrow, x)
        narrow = rounded[0] if rounded else x
    x = x[:, : shape[-2], : shape[-1]].reshape(shape).astype(jnp.float32)
    return _varying_like(jnp.swapaxes(x, -1, -2) if tall else x, matrices)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _launch(product: Product, interpret: Any, *operands: jax.Array) -> tuple[jax.Array, ...]:
    """Runs a product; the `jit` lowers equal launches once."""
    return product(*operands, interpret=interpret)


def _varying_like(x: jax.Array, source: jax.Array) -> jax.Array:
    """Marks x as varying over the axes of its source; `shard_map` cannot infer it for kernels."""
    axes = jax.typeof(source).manual_axis_type.varying - jax.typeof(x).manual_axis_type.varying
    return jax.lax.pcast(x, tuple(sorted(axes)), to="varying") if axes else x


def _padded(x: jax.Array, plan: KernelPlan) -> jax.Array:
    """Pads matrices with zeros to whole tiles."""
    step = plan.update.columns * plan.update.cluster if plan.update else ROWS
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % ROWS), (0, -x.shape[2] % step)))
