"""Go on with a file of figures that an earlier run had no time to finish."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pallas_kernels.bench.cases import Case
from pallas_kernels.bench.isolate import NOT_STARTED

Figures = dict[Case, dict[str, Any]]
"""What is known of each case: its figures, or its "failure"."""

_ALIKE = ("device", "jax", "samples")
_FIELDS = tuple(field.name for field in dataclasses.fields(Case))


def earlier_figures(file: Path, report: dict[str, Any]) -> Figures:
    """Figures of an earlier run, and its failures; not the cases that it never started.

    A share of the peak stays that of the run it was measured in.

    Args:
      file: that an earlier run wrote; none is there before the first.
      report: of this run: "device", "jax" and "samples" have to be the same.

    Raises:
      ValueError: they are not, or the file holds something else.
    """
    if not file.exists():
        return {}
    try:
        before = json.loads(file.read_text("utf-8"))
        alike = [(name, before[name], report[name]) for name in _ALIKE]
        rows = [_split(row) for row in before["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{file} holds no figures to go on with: name another --json file, or leave out "
            "--resume to replace it"
        ) from None
    for name, then, now in alike:
        if then != now:
            raise ValueError(
                f"{file} was measured with {name} {then}, and this is {now}: name another --json "
                "file, or leave out --resume to replace it"
            )
    return {case: figures for case, figures in rows if figures.get("failure") != NOT_STARTED}


def in_order(wanted: list[Case], known: Figures) -> list[dict[str, Any]]:
    """Rows of the report: the cases wanted that are known, then others that an earlier run had."""
    order = dict.fromkeys([*wanted, *known])
    return [{**dataclasses.asdict(case), **known[case]} for case in order if case in known]


def _split(row: dict[str, Any]) -> tuple[Case, dict[str, Any]]:
    case = Case.from_dict({name: row[name] for name in _FIELDS})
    return case, {name: value for name, value in row.items() if name not in _FIELDS}
