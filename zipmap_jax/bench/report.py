"""Files of a runtime measurement: JSON, Markdown and a plot."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from zipmap_jax.bench.plot import plot
from zipmap_jax.bench.published import published
from zipmap_jax.errors import UserError
from zipmap_jax.files import write_json, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from zipmap_jax.bench.runtime import RuntimeRow
    from zipmap_jax.bench.series import RuntimeResult

_COLUMNS = (
    "views",
    "chunk",
    "seconds (median)",
    "range",
    "compile s",
    "TFLOP",
    "TFLOP/s",
    "of peak",
    "peak GB",
    "program GB",
    "plan GB",
)


def write_result(result: RuntimeResult, folder: Path, name: str = "runtime") -> None:
    """Write or replace `name`.json and .md, and .svg if matplotlib is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{name}.json", result.as_dict())
    write_text(folder / f"{name}.md", markdown(result))
    try:
        write_text(folder / f"{name}.svg", plot(result))
    except UserError as error:
        warnings.warn(f"{name}.svg is not written: {error}", stacklevel=2)


def markdown(result: RuntimeResult) -> str:
    """Tables, fits and the published seconds as a document."""
    config = result.config
    height, width = config.size
    lines = [
        f"# Runtime: {config.preset}, {height}x{width}, {config.dtype}",
        "",
        "; ".join(f"{name} {value}" for name, value in result.machine.items()) + ".",
        f"Heads: {', '.join(config.heads)}. Batch 1, random images and weights, inputs on the "
        "device; the median call.",
    ]
    if result.peak:
        lines.append(
            f"Matrix products of {result.peak.side}x{result.peak.side} {result.peak.dtype} "
            f"({result.peak.precision}): {result.peak.flops / 1e12:.4g} TFLOP/s in the same run."
        )
    for name in result.names:
        lines += ["", f"## {name}", "", *_table(name, result)]
        if line := result.line(name):
            lines += [
                "",
                f"seconds = {line.intercept:.4g} + {line.slope:.4g} views, R² {line.r2:.4f}",
            ]
        if growth := result.growth(name):
            lines += [
                "",
                f"From {growth.few} to {growth.many} views the compiled program grows by "
                f"{growth.program / 1e6:.3f} MB a view, the memory plan by "
                f"{growth.planned / 1e6:.3f} MB.",
            ]
    if ratios := result.ratios("attention", "fast_weights"):
        text = ", ".join(f"{ratio:.2f} at {views} views" for views, ratio in ratios.items())
        lines += ["", f"Attention takes this many times as long as fast weights: {text}."]
    lines += [*_published(result), *(f"\n{note}" for note in result.notes)]
    return "\n".join(lines) + "\n"


def _table(name: str, result: RuntimeResult) -> list[str]:
    header = f"| {' | '.join(_COLUMNS)} |"
    rows = sorted((r for r in result.rows if r.series == name), key=lambda row: row.views)
    return [header, "|" + "---|" * len(_COLUMNS), *map(_line, rows)]


def _line(row: RuntimeRow) -> str:
    chunk = str(row.chunk or "all")
    if row.seconds is None:
        return f"| {row.views} | {chunk} | {row.missing} |" + " |" * (len(_COLUMNS) - 3)
    compiled = row.program.total if row.program else None
    cells = [
        str(row.views),
        chunk,
        f"{row.seconds:.4g}",
        f"{row.fastest:.4g} to {row.slowest:.4g} ({row.repeats})",
        _number(row.compile_seconds, "{:.1f}"),
        _number(row.tflop, "{:.4g}"),
        _number(row.tflops, "{:.4g}"),
        _number(row.share_of_peak, "{:.1%}"),
        _number(row.peak_bytes, "{:.3g}", 1e-9),
        _number(compiled, "{:.3g}", 1e-9),
        _number(row.planned_bytes, "{:.3g}", 1e-9),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "" if value is None else form.format(value * factor)


def _published(result: RuntimeResult) -> list[str]:
    """Lines with the published seconds; empty for other models or image sizes."""
    table = published(result.config.preset, result.config.size)
    measured = {row.views: row.seconds for row in result.measured("fast_weights")}
    views = sorted({v for seconds in table.values() for v in seconds})
    if not table:
        return []
    lines = [
        "",
        "## Published seconds (H100 SXM5, PyTorch, images of zeros)",
        "",
        f"| method | {' | '.join(map(str, views))} |",
        "|" + "---|" * (len(views) + 1),
    ]
    for method, seconds in {"this run": measured, **table}.items():
        cells = (f"{seconds[v]:.4g}" if seconds.get(v) else "" for v in views)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines
