"""Arithmetic of Newton-Schulz orthogonalisation: what it must compute and move.

One step of one d x m matrix (d <= m) takes three products, `2 d^2 m + 2 d^3 + 2 d^2 m` FLOPs. The
first two are symmetric; with tiles of 128 rows, nt to a side, a kernel that mirrors multiplies only
`(nt + 1) / (2 nt)` of those. Five steps of the three 1024 x 2048 matrices of a layer:

    161 GFLOP, 119 of them multiplied; 566 MB moved if nothing stays in the 50 MB of L2
    204 us at 790 TFLOP/s (a large bf16 product on an H200), 150 us for what is multiplied,
    118 us for the bytes at 4.8 TB/s: bound by the tensor cores, not by memory
"""

from __future__ import annotations

from pallas_kernels.newton_schulz.tiling import ROWS


def flops(batch: int, rows: int, columns: int, steps: int = 5) -> int:
    """Floating-point operations of the definition; the shorter side counts as rows."""
    d, m = sorted((rows, columns))
    return batch * steps * (4 * d * d * m + 2 * d**3)


def multiplied_flops(batch: int, rows: int, columns: int, steps: int = 5) -> int:
    """Operations the tensor cores perform when symmetric halves are mirrored."""
    d, m = sorted((rows, columns))
    nt = -(-d // ROWS)
    half = nt * (nt + 1) * ROWS * ROWS
    return batch * steps * (half * (m + d) + 2 * d * d * m)


def bytes_moved(batch: int, rows: int, columns: int, steps: int = 5) -> int:
    """Bytes read and written by three fused launches a step, every operand once.

    X as bf16 operand twice, X read and written in fp32 and written as bf16: 14 bytes an element; A
    and Bm written and read once, 2 bytes each time: 8 bytes an element.
    """
    d, m = sorted((rows, columns))
    return batch * steps * (14 * d * m + 8 * d * d)
