"""Tables of measured accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.eval.metrics.rendering import RENDERED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


Numbers = dict[str, dict[str, float]]
"""Metrics of `MEANING` under "model" and under "trivial"."""


MEANING: dict[str, str] = {
    "AbsRel": "mean of |d - d*| / d* over the depth d of all pixels; lower is better",
    "delta<1.25": "share of pixels with max(d / d*, d* / d) < 1.25",
    **{
        f"RRA@{angle}": f"pairs of views with a rotation error below {angle} degrees, %"
        for angle in (5, 15, 30)
    },
    **{
        f"RTA@{angle}": f"pairs of views with a motion direction error below {angle} degrees, %"
        for angle in (5, 15, 30)
    },
    "AUC@30": "area under the accuracy curve of the larger of both angles, %",
    "focal": "mean factor between predicted and true focal lengths, % above 1",
    "fy/fx": "mean aspect of pixels, relative to the true one; 1 is right",
}


def table(numbers: Mapping[str, Mapping[str, float]], names: Iterable[str] | None = None) -> str:
    """Metrics as lines of text: name, one column per method, meaning.

    Args:
      numbers: metrics by method.
      names: metrics to show; None = all.
    """
    meaning = MEANING | RENDERED
    names = next(iter(numbers.values())) if names is None else names
    lines = [f"{'metric':<12}" + "".join(f"{method:>9}" for method in numbers) + "  meaning"]
    for name in names:
        values = "".join(f"{row[name]:>9.3f}" for row in numbers.values())
        lines.append(f"{name:<12}{values}  {meaning[name]}")
    return "\n".join(lines)
