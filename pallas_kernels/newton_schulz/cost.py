"""Operations and memory traffic of Newton-Schulz orthogonalisation.

One step of one d x m matrix (d <= m) takes three products, `2 d^2 m + 2 d^3 + 2 d^2 m` FLOPs. The
first two are symmetric; with nt x nt tiles of 128 rows, a kernel that mirrors tiles multiplies only
`(nt + 1) / (2 nt)` of them. Five steps of the three 1024 x 2048 matrices of a layer:

    161 GFLOP, of which 119 are multiplied; 566 MB if no operand stays in the 50 MB of L2
    204 us at 790 TFLOP/s (a large bf16 product on an H200), 150 us for the multiplied part,
    118 us for the traffic at 4.8 TB/s: the tensor cores are the bottleneck, not the memory
"""

from __future__ import annotations

from pallas_kernels.newton_schulz.tiling import ROWS


def flops(batch: int, rows: int, columns: int, steps: int = 5) -> int:
    """Floating-point operations of the definition.

    Args:
      batch, rows, columns: shape of the matrices; tall ones are transposed.
      steps: number of iterations.

    Returns:
      FLOPs.
    """
    d, m = sorted((rows, columns))
    return batch * steps * (4 * d * d * m + 2 * d**3)


def multiplied_flops(batch: int, rows: int, columns: int, steps: int = 5) -> int:
    """Floating-point operations of the tensor cores if symmetric halves are mirrored.

    Args:
      batch, rows, columns: shape of the matrices; tall ones are transposed.
      steps: number of iterations.

    Returns:
      FLOPs.
    """
    d, m = sorted((rows, columns))
    nt = -(-d // ROWS)
    half = nt * (nt + 1) * ROWS * ROWS
    return batch * steps * (half * (m + d) + 2 * d * d * m)


def bytes_moved(batch: int, rows: int, columns: int, steps: int = 5) -> int:
    """Bytes read and written by three fused launches per step, with every operand read once.

    X takes 14 bytes per element: it is read twice as a bf16 operand, read and written in fp32, and
    written in bf16. A and Bm take 8 bytes per element: both are written and read once in bf16.

    Args:
      batch, rows, columns: shape of the matrices; tall ones are transposed.
      steps: number of iterations.

    Returns:
      Bytes.
    """
    d, m = sorted((rows, columns))
    return batch * steps * (14 * d * m + 8 * d * d)
