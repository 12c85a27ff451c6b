"""`zipmap parity`: compares this package with tensors recorded from a PyTorch model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.parity.report import TensorComparison

DIFFERENT = 1
"""Exit code when a tensor is beyond its tolerance."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """Compare this package with recorded tensors; exit 1 if one is beyond its tolerance.

    Attributes:
      files: recorded tensors in the format of docs/parity.md.
      json: print one JSON object instead of a line per tensor.
    """

    files: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="FILE.npz...", help_behavior_hint="")
    ]
    json: bool = False

    def __call__(self) -> int:
        if not self.files:
            raise UserError("there is nothing to compare: name at least one .npz file")
        from zipmap_jax.parity.check import check

        tables: dict[str, list[TensorComparison]] = {}
        for file in self.files:
            tables[str(file)] = check(file)
            if not self.json:
                print(file)
                print("".join(f"  {row}\n" for row in tables[str(file)]), flush=True)
        failed = [row for rows in tables.values() for row in rows if not row.ok]
        total = sum(map(len, tables.values()))
        if self.json:
            files = {file: [_as_json(row) for row in rows] for file, rows in tables.items()}
            print(json.dumps({"ok": not failed, "files": files}))
        else:
            print(f"{total - len(failed)} of {total} tensors within tolerance")
        return DIFFERENT if failed else 0


def _as_json(row: TensorComparison) -> dict[str, Any]:
    fields = dataclasses.asdict(row)
    # JSON has no NaN or infinity.
    finite = {k: str(v) if v in _NOT_JSON or v != v else v for k, v in fields.items()}
    return {**finite, "ok": row.ok}


_NOT_JSON = (float("inf"), float("-inf"))
