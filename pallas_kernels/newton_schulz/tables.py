"""The tilings worth measuring; every one of them is lowered in the tests and timed by `bench`."""

from __future__ import annotations

from pallas_kernels.newton_schulz.tiling import Tiling

SYMMETRIC = tuple(
    Tiling(stages=stages, in_flight=in_flight) for stages in (3, 4, 5) for in_flight in (0, 1)
)
"""For A = X X^T and b A + c A A: square tiles."""

UPDATE = tuple(
    Tiling(columns, stages, cluster, in_flight)
    for columns, depths in ((128, (3, 4, 5)), (256, (3, 4)))
    for stages in depths
    for cluster in (1, 2)
    for in_flight in (0, 1)
)
"""For a X + Bm X; shared memory ends at five stages of 128 columns, or four of 256."""
