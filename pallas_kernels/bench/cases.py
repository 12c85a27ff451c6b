"""The measured cases: operations, implementations, shapes and tilings.

Shapes are those of the three fast-weight matrices of one layer (batch 3) and of four scenes (batch
12), for models of width 128, 384 and 1024. Rates count the FLOPs of the definition
(`newton_schulz.cost`); an implementation that mirrors symmetric halves performs a quarter fewer.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pallas_kernels.dispatch import Implementation
from pallas_kernels.newton_schulz import cost
from pallas_kernels.newton_schulz.reference import Precision
from pallas_kernels.newton_schulz.tables import SYMMETRIC, UPDATE
from pallas_kernels.newton_schulz.tiling import Tiling

SHAPES = ((128, 256), (384, 768), (1024, 2048))
BATCHES = (3, 12)
STEPS = 5
FLAVOURS: tuple[tuple[Implementation, Precision], ...] = (
    ("xla", "fp32"),
    ("xla", "bf16_operands"),
    ("xla", "bf16"),
    ("pallas", "bf16_operands"),
    ("pallas", "bf16"),
)
PRODUCTS = ("gram", "polynomial", "update")


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement, a row of the table.

    Attributes:
      op: "newton_schulz", "newton_schulz_update", or one product: "gram", "polynomial", "update".
      implementation: "xla" or "pallas".
      batch, rows, columns: shape of the gradients.
      precision: precision of Newton-Schulz.
      tiling: tiling of one product in Pallas.
    """

    op: str
    implementation: Implementation
    batch: int
    rows: int
    columns: int
    precision: Precision = "bf16_operands"
    tiling: Tiling | None = None

    @property
    def flops(self) -> int:
        """Floating-point operations of the definition."""
        d, m, n = self.rows, self.columns, self.batch
        if self.op in PRODUCTS:
            return n * 2 * d * d * (d if self.op == "polynomial" else m)
        return cost.flops(n, d, m, STEPS)

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> Case:
        """Converts the dictionary of `dataclasses.asdict` to a case.

        Args:
          fields: values by field.

        Returns:
          The case.
        """
        tiling = fields.get("tiling")
        return Case(**{**fields, "tiling": Tiling(**tiling) if tiling else None})


def cases(*, kernels: bool, quick: bool) -> list[Case]:
    """Cases by descending importance: whole operations, then products, then their tilings.

    Args:
      kernels: whether the device runs Pallas kernels.
      quick: whether only the smallest shape is measured.

    Returns:
      The cases.
    """
    shapes = [(3, *SHAPES[0])] if quick else [(n, *s) for s in reversed(SHAPES) for n in BATCHES]
    flavours = [f for f in FLAVOURS if kernels or f[0] == "xla"]
    rows = [
        Case(op, implementation, *shape, precision)
        for shape in shapes
        for op in ("newton_schulz", "newton_schulz_update")
        for implementation, precision in flavours
        if op == "newton_schulz" or precision != "bf16"
    ]
    if quick or not kernels:
        return rows
    for batch in BATCHES:
        large = (batch, *SHAPES[-1])
        rows += [Case(op, "xla", *large) for op in PRODUCTS]
        rows += [Case("update", "pallas", *large, tiling=t) for t in UPDATE]
        rows += [Case(op, "pallas", *large, tiling=t) for op in PRODUCTS[:2] for t in SYMMETRIC]
    return rows
