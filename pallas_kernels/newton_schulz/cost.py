"""Operations and memory traffic of Newton-Schulz orthogonalisation.

One step of one d x m matrix (d <= m) takes three products, `2 d^2 m + 2 d^3 + 2 d^2 m` FLOPs. The
first two are symmetric; with nt x nt tiles of 128 rows, a kernel that mirrors tiles multiplies only
`(nt + 1) / (2 nt)` of them. Five steps of the three 1024 x 2048 matrices of a layer:

    161 GFLOP, of which 119 are multiplied; 566 MB if no operand stays in the 50 MB of L2
    204 us at 790 TFLOP/s (a large bf16 product on an H200), 150 us for the multiplied part,
    118 us for the traffic at 4.8 TB/s: the tensor cores are the bottleneck, not the memory
"""

from __future__ import annotations


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
