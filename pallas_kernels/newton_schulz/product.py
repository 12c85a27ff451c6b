"""One batched matrix product with a fused epilogue, for Hopper tensor cores (Pallas Mosaic GPU).

    out = alpha * left @ right + beta * addend

with bf16 operands, fp32 accumulation and an fp32 epilogue, which stores the result in one or two
formats. A block has three warpgroups: one loads the operand tiles, two multiply a tile of 128 rows,
64 each. Blocks are persistent, one per multiprocessor, and process several tiles.

A symmetric result is computed only for the tiles on and above the diagonal, which are stored twice,
once transposed: nt (nt + 1) / 2 of nt x nt tiles are multiplied, 36 of 64 for 1024 rows.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.newton_schulz.tiling import DEPTH, NUM_SMS, ROWS, Tiling

_HALF = ROWS // 2
_SWIZZLE = 128
_MEMORY_REGISTERS = 40


@dataclasses.dataclass(frozen=True)
class Product:
    """A launch, `out = alpha * left @ right + beta * addend`.

    Attributes:
      name: name of the kernel in profiles.
      alpha: factor of the product.
      beta: factor of the addend; None = no addend.
      transpose_right: whether the right operand is [batch, columns, depth].
      symmetric: whether the result is symmetric, so that half of it is mirrored.
      outputs: dtypes of the result; the first one is also that of the addend.
      tiling: tile shape and pipeline depth.
      blocks: maximum number of persistent blocks.
    """

    name: str = "product"
    alpha: float = 1.0
    beta: float | None = None
    transpose_right: bool = False
    symmetric: bool = False
    outputs: tuple[Any, ...] = (jnp.bfloat16,)
    tiling: Tiling = Tiling()
    blocks: int = NUM_SMS

    @property
    def slice_columns(self) -> int:
        """Columns of one step of the epilogue, which are 128 bytes of the widest output."""
        return _SWIZZLE // jnp.dtype(self.outputs[0]).itemsize

    @property
    def slices(self) -> int:
        """Steps of the epilogue of a tile."""
        return self.tiling.columns // self.slice_columns

    @property
    def slots(self) -> int:
        """Buffers of the epilogue per warpgroup."""
        formats = (*self.outputs, *self.outputs[:1]) if self.symmetric else self.outputs
        size = ROWS * self.slice_columns * sum(jnp.dtype(f).itemsize for f in formats)
        return self.tiling.slots(size, self.slices)

    def __call__(
        self,
        left: jax.Array,
        right: jax.Array,
        addend: jax.Array | None = None,
        interpret: Any = None,
    ) -> tuple[jax.Array, ...]:
        """Runs the kernel.

        Args:
          left: [batch, rows, depth] bf16; rows is a multiple of 128 and depth of 64.
          right: [batch, depth, columns] bf16, or [batch, columns, depth] if transposed.
          addend: [batch, rows, columns] in the first output dtype; None = no addend.
          interpret: parameters of the GPU interpreter, for a CPU; None = no interpreter.

        Returns:
          One [batch, rows, columns] array per output dtype.

        Raises:
          ValueError: the shapes do not divide into tiles, or the tiling does not suit them.
        """
        batch, rows, depth = left.shape
        columns = right.shape[1 if self.transpose_right else 2]
        self._check(rows, columns, depth)
        cluster = self.tiling.cluster
        tiles, _ = _tiles(self, (batch, rows, columns))
        kernel = plgpu.kernel(
            functools.partial(_body, self, addend is not None),
            out_type=[jax.ShapeDtypeStruct((batch, rows, columns), f) for f in self.outputs],
            grid=(min(self.blocks // cluster, math.prod(tiles)),),
            grid_names=("sm",),
            cluster=(cluster,) if cluster > 1 else (),
            cluster_names=("cluster",) if cluster > 1 else (),
            num_threads=3,
            kernel_name=self.name,
            thread_name="wg",
            compiler_params=plgpu.CompilerParams(
                lowering_semantics=plgpu.LoweringSemantics.Warpgroup
            ),
            interpret=interpret,
        )
        return tuple(kernel(*(x for x in (left, right, addend) if x is not None)))

    def _check(self, rows: int, columns: int, depth: int) -> None:
        step = self.tiling.columns * self.tiling.cluster
        if rows % ROWS or columns % step or depth % DEPTH:
            raise ValueError(
                f"a product of {rows}x{depth} and {depth}x{columns} does not divide into tiles of "
                f"{ROWS}x{step}x{DEPTH}: pad it"
            )
        if self.symmetric and (step != ROWS or rows != columns or self.slots < self.slices):
            raise ValueError(
                f"a symmetric product has square tiles of {ROWS} rows, a buffer for every slice "
                f"and no cluster, not {self.tiling}: take fewer stages"
            )


def _body(product: Product, has_addend: bool, *refs: Any) -> None:
    """Kernel of one block: allocation of the buffers, then a loop over the block's tiles."""
    left, right, *rest = refs
    addend, *outputs = rest if has_addend else (None, *rest)
    operands = _pipeline(product, left.shape[2], _nothing, _nothing)
    first, *others = product.outputs
    buffer = functools.partial(_buffer, product)

    @functools.partial(
        pl.run_scoped,
        stages=operands.get_allocations(left.at[0], right.at[0]),
        results=[buffer(first), *(buffer(f) for f in others)],
        mirror=[buffer(first, transposed=True)] if product.symmetric else [],
        arrived=[plgpu.Barrier(num_barriers=2 * product.slots)] if has_addend else [],
        collective_axes="wg",
    )
    def _(stages: Any, results: Any, mirror: Any, arrived: Any) -> None:
        tiles, tile_at = _tiles(product, outputs[0].shape)

        @plgpu.nd_loop(tiles, collective_axes="sm")
        def _(loop: Any) -> None:
            b, i, j = tile_at(*loop.index)
            epilogue = _Epilogue(
                product, (b, i, j), addend, outputs, results, mirror, arrived, lax.axis_index("wg")
            )
            rows = pl.ds(i * ROWS, ROWS)
            columns = pl.ds(j * product.tiling.columns, product.tiling.columns)
            _pipeline(product, left.shape[2], functools.partial(_multiply, product), epilogue.run)(
                left.at[b, rows, :],
                right.at[b, columns, :] if product.transpose_right else right.at[b, :, columns],
                allocations=stages,
            )

    plgpu.wait_smem_to_gmem(0)


def _nothing(*_: Any) -> None:
    """Placeholder of the computation, on which the allocation of buffers does not depend."""


def _tiles(product: Product, shape: Sequence[int]) -> tuple[tuple[int, ...], Callable[..., Any]]:
    """Extents of the loop over tiles, and the map from an index to its tile (batch, row, column).

    The upper triangle is folded into a rectangle: the first row is joined with the last one, the
    second row with the last but one, and so on.
    """
    batch, rows, columns = shape
    nt = rows // ROWS
    if product.symmetric:
        even = int(nt % 2 == 0)

        def fold(b: Any, p: Any, q: Any) -> tuple[Any, Any, Any]:
            length = nt - p
            upper = q < length
            row = jnp.where(upper, p, length - even)
            return b, row, jnp.where(upper, p + q, row + q - length)

        return (batch, (nt + 1) // 2, nt + even), fold
    cluster = product.tiling.cluster

    def straight(b: Any, i: Any, j: Any) -> tuple[Any, Any, Any]:
        return b, i, j * cluster + lax.axis_index("cluster") if cluster > 1 else j

    return (batch, nt, columns // (product.tiling.columns * cluster)), straight


def _pipeline(product: Product, depth: int, multiply: Any, context: Any) -> Any:
    tiling = product.tiling
    transforms = (plgpu.TilingTransform((8, DEPTH)), plgpu.SwizzleTransform(_SWIZZLE))

    def tile(shape: tuple[int, int], index: Any, shared: bool) -> plgpu.BlockSpec:
        return plgpu.BlockSpec(
            shape,
            index,
            transforms=transforms,
            memory_space=plgpu.SMEM,
            delay_release=tiling.in_flight,
            collective_axes=("cluster",) if shared else (),
        )

    across, down = (lambda k: (0, k)), (lambda k: (k, 0))
    return plgpu.emit_pipeline_warp_specialized(
        multiply,
        grid=(depth // DEPTH,),
        in_specs=[
            tile((ROWS, DEPTH), across, tiling.cluster > 1),
            tile((tiling.columns, DEPTH), across, False)
            if product.transpose_right
            else tile((DEPTH, tiling.columns), down, False),
        ],
        num_compute_wgs=2,
        memory_registers=_MEMORY_REGISTERS,
        wg_axis="wg",
        max_concurrent_steps=tiling.stages,
        compute_context=context,
    )


def _multiply(product: Product, _: Any, left: Any, right: Any, accumulator: Any) -> Any:
    half = pl.ds(lax.axis_index("wg") * _HALF, _HALF)
    view = right.transpose((1, 0)) if product.transpose_right else right
    plgpu.wgmma(accumulator, left.at[half], view)
    plgpu.wgmma_wait(product.tiling.in_flight)
    return accumulator


def _buffer(product: Product, form: Any, *, transposed: bool = False) -> Any:
    """Shared memory of one slice of the result, per warpgroup and slot."""
    shape = (_HALF, product.slice_columns)
    shape = shape[::-1] if transposed else shape
    width = shape[1] * jnp.dtype(form).itemsize
    return plgpu.SMEM(
        (2, product.slots, *shape),
        form,
        transforms=(plgpu.TilingTransform((8, shape[1])), plgpu.SwizzleTransform(width)),
    )


@dataclasses.dataclass(frozen=True)
class _Epilogue:
    """Epilogue of one warpgroup: stores the accumulator slice by slice of columns.

    A slot first holds the addend of a slice and then, in the same memory, its result.
    """

    product: Product
    tile: tuple[Any, Any, Any]
    addend: Any
    outputs: Sequence[Any]
    results: Sequence[Any]
    mirror: Sequence[Any]
    arrived: Sequence[Any]
    wg: Any

    def run(self, multiply_all: Callable[[Any], Any]) -> None:
        """Accumulates the tile with `multiply_all` and stores it."""
        columns = self.product.tiling.columns
        slots, slices = self.product.slots, self.product.slices

        @functools.partial(
            pl.run_scoped, accumulator=plgpu.WGMMAAccumulatorRef((_HALF, columns), jnp.float32)
        )
        def _(accumulator: Any) -> None:
            # The stores of the previous tile may still read these buffers.
            plgpu.wait_smem_to_gmem(0, wait_read_only=True)
            for s in range(slots):
                self._fetch(s)
            multiply_all(accumulator)
            total = accumulator[...]
            lag = int(slots > 1)
            for s in range(slices):
                self._store(s, total)
                done = s - lag
                if 0 <= done < slices - slots:
                    plgpu.wait_smem_to_gmem(lag * len(self.outputs), wait_read_only=True)
                    self._fetch(done + slots)

    def _range(self, s: int) -> tuple[Any, Any]:
        """Rows and columns of slice s in the whole matrix."""
        _, i, j = self.tile
        width = self.product.slice_columns
        start = j * self.product.tiling.columns + s * width
        return pl.ds(i * ROWS + self.wg * _HALF, _HALF), pl.ds(start, width)

    def _fetch(self, s: int) -> None:
        """Starts the load of the addend of slice s."""
        if self.addend is None:
            return
        slot = s % self.product.slots
        plgpu.copy_gmem_to_smem(
            self.addend.at[(self.tile[0], *self._range(s))],
            self.results[0].at[self.wg, slot],
            self.arrived[0].at[self.wg * self.product.slots + slot],
        )

    def _store(self, s: int, total: Any) -> None:
        """Computes slice s and starts its store."""
        product, slot, (b, i, j) = self.product, s % self.product.slots, self.tile
        width = product.slice_columns
        value = total[:, s * width : (s + 1) * width]
        if product.alpha != 1.0:
            value = product.alpha * value
        if self.addend is not None:
            plgpu.barrier_wait(self.arrived[0].at[self.wg * product.slots + slot])
            value = product.beta * self.results[0][self.wg, slot].astype(jnp.float32) + value
        for result in self.results:
            result[self.wg, slot] = value.astype(result.dtype)
        rows, columns = self._range(s)

        if product.symmetric:
            # A diagonal tile is its own mirror image, which both warpgroups would write.
            @pl.when(i != j)
            def _() -> None:
                rounded = value.astype(product.outputs[0])
                image = self.mirror[0].at[self.wg, slot].transpose((1, 0))
                image[...] = plgpu.layout_cast(rounded, plgpu.Layout.WGMMA_TRANSPOSED)

        plgpu.commit_smem()
        for result, output in zip(self.results, self.outputs, strict=True):
            plgpu.copy_smem_to_gmem(result.at[self.wg, slot], output.at[b, rows, columns])
        if product.symmetric:

            @pl.when(i != j)
            def _() -> None:
                plgpu.copy_smem_to_gmem(
                    self.mirror[0].at[self.wg, slot], self.outputs[0].at[b, columns, rows]
                )
