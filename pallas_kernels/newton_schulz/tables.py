"""The tilings that `bench` measures; the tests lower every one of them."""

from __future__ import annotations

from pallas_kernels.newton_schulz.tiling import Tiling

SYMMETRIC = tuple(
    Tiling(stages=stages, in_flight=in_flight) for stages in (3, 4, 5) for in_flight in (0, 1)
)
"""Tilings of A = X X^T and b A + c A A, with square tiles."""

UPDATE = tuple(
    Tiling(columns, stages, cluster, in_flight)
    for columns, depths in ((128, (3, 4, 5)), (256, (3, 4)))
    for stages in depths
    for cluster in (1, 2)
    for in_flight in (0, 1)
)
"""Tilings of a X + Bm X; shared memory limits them to 5 stages of 128 columns or 4 of 256."""
