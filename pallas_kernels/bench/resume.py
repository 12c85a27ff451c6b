"""Figures of an earlier run that ended before all cases were measured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pallas_kernels.bench.cases import Case
from pallas_kernels.bench.isolate import NOT_STARTED

Figures = dict[Case, dict[str, Any]]
"""Figures, or the "failure", of each case."""

_MUST_MATCH = ("device", "jax", "samples")
_FIELDS = tuple(field.name for field in dataclasses.fields(Case))


def earlier_figures(file: Path, report: dict[str, Any]) -> Figures:
    """Reads the figures and failures of the cases that an earlier run started.

    Shares of the peak remain relative to the peak of the earlier run.

    Args:
      file: the file of the earlier run, which may be absent.
      report: description of this run, whose "device", "jax" and "samples" must match.

    Returns:
      Figures by case.

    Raises:
      ValueError: the descriptions differ, or the file has other content.
    """
    if not file.exists():
        return {}
    try:
        before = json.loads(file.read_text("utf-8"))
        settings = [(name, before[name], report[name]) for name in _MUST_MATCH]
        rows = [_split(row) for row in before["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{file} holds no figures of an earlier run: choose another --json file, or leave out "
            "--resume to replace it"
        ) from None
    for name, earlier, current in settings:
        if earlier != current:
            raise ValueError(
                f"{file} was measured with {name} {earlier} instead of {current}: choose another "
                "--json file, or leave out --resume to replace it"
            )
    return {case: figures for case, figures in rows if figures.get("failure") != NOT_STARTED}


def in_order(selected: list[Case], known: Figures) -> list[dict[str, Any]]:
    """Rows of the report: measured cases of this selection, then those of an earlier run.

    Args:
      selected: the cases of this run.
      known: figures of this run and of earlier ones.

    Returns:
      JSON-serialisable rows.
    """
    order = dict.fromkeys([*selected, *known])
    return [{**dataclasses.asdict(case), **known[case]} for case in order if case in known]


def _split(row: dict[str, Any]) -> tuple[Case, dict[str, Any]]:
    case = Case.from_dict({name: row[name] for name in _FIELDS})
    return case, {name: value for name, value in row.items() if name not in _FIELDS}
