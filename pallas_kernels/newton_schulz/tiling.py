"""Tile shapes of a product, and their shared memory on a Hopper GPU."""

from __future__ import annotations

import dataclasses

ROWS = 128
"""Rows of an output tile: 64 per warpgroup, the only height of `wgmma`."""

DEPTH = 64
"""Inner extent of one stage: 128 bytes of bf16, the widest swizzle pattern."""

SHARED_MEMORY = 232_448
"""Maximum shared memory of a block on Hopper in bytes."""

_BARRIERS = 1024
"""Bytes reserved for barriers and alignment."""

NUM_SMS = 132
"""Multiprocessors of an H100 SXM or H200; each runs one persistent block."""


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Tile shape and pipeline depth of a product; the defaults support every shape.

    Attributes:
      columns: columns of an output tile, 128 or 256; symmetric products need 128.
      stages: number of buffered pairs of operand tiles.
      cluster: number of blocks that share the tile of the left operand by multicast, 1 or 2.
      in_flight: number of `wgmma` that still run when the next one is issued, 0 or 1.
    """

    columns: int = 128
    stages: int = 4
    cluster: int = 1
    in_flight: int = 0

    def __post_init__(self) -> None:
        if self.columns not in (128, 256) or self.cluster not in (1, 2):
            raise ValueError(
                f"tiling of {self.columns} columns and clusters of {self.cluster} is not built: "
                "choose 128 or 256 columns and clusters of 1 or 2"
            )
        if not self.in_flight < self.stages or self.in_flight not in (0, 1):
            raise ValueError(
                f"{self.in_flight} products in flight need more than the {self.stages} stages of "
                "the tiling: choose 0 or 1 in flight and at least 2 stages"
            )

    @property
    def stage_bytes(self) -> int:
        """Shared memory of the operand tiles in bytes."""
        return 2 * self.stages * DEPTH * (ROWS + self.columns)

    def slots(self, slice_bytes: int, slices: int) -> int:
        """Number of epilogue buffers that fit in the remaining shared memory.

        Args:
          slice_bytes: bytes of the buffers of one slice of columns, for both warpgroups.
          slices: slices of an output tile, the maximum number of buffers.

        Returns:
          The number of buffers per warpgroup.

        Raises:
          ValueError: the shared memory is too small for one buffer.
        """
        free = SHARED_MEMORY - _BARRIERS - self.stage_bytes
        if free < slice_bytes:
            raise ValueError(
                f"{self} needs {self.stage_bytes + slice_bytes} bytes of shared memory, more than "
                f"the {SHARED_MEMORY - _BARRIERS} of a block: take fewer stages or columns"
            )
        return min(slices, free // slice_bytes)
