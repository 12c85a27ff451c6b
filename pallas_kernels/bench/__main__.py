"""Measure the kernels and XLA on the default device.

    python -m pallas_kernels.bench --json OUT/ns.json
    python -m pallas_kernels.bench --json OUT/ns.json --seconds 60 --resume    # continue

On a Hopper GPU (about seven minutes) this measures Newton-Schulz and the update around it in every
implementation and precision, then the single products with every tiling. On a CPU it measures XLA
only; `--quick` selects the smallest shape. `--resume` keeps the figures of an earlier run in the
file, shares included, and measures the remaining cases.

ms is the median of ten or more samples after warm-up, and the spread their minimum and maximum;
TFLOP/s counts the FLOPs of the definition; the share is relative to the rate of one large product
on the same device in the same run; the error is relative to float64, in the Frobenius norm.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from pallas_kernels.bench import isolate
from pallas_kernels.bench.cases import Case, cases
from pallas_kernels.bench.resume import Figures, earlier_figures, in_order

HEADER = (
    f"{'operation':<21}{'shape':<15}{'implementation':<36}"
    f"{'ms':>9}{'spread':>19}{'TFLOP/s':>9}{'share':>7}{'error':>10}{'compile s':>11}"
)


def main(arguments: list[str] | None = None) -> int:
    """Measures all cases, prints the table and writes the JSON file after every row.

    Args:
      arguments: command line; None = `sys.argv[1:]`.

    Returns:
      The exit status: 0 if any case was measured.
    """
    parser = _parser()
    options = _options(parser, arguments)
    try:
        return _measure(parser, options)
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is None:
            raise
        parser.error(f"{error.filename}: {error.strerror}: name another --json file")


def _measure(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    deadline = time.monotonic() + options.seconds
    report: dict[str, Any] = {**isolate.describe(options.samples), "samples": options.samples}
    peak = report["peak"]["tflops"]
    try:
        known = earlier_figures(options.json, report) if options.resume else {}
    except ValueError as error:
        parser.error(str(error))
    print(f"{report['device']}, jax {report['jax']}: {peak:.2f} TFLOP/s in one large product")
    print(HEADER)
    selected = cases(kernels=report["kernels"], quick=options.quick)
    for case, figures in known.items():
        print(line(case, figures), flush=True)
    remaining = [case for case in selected if case not in known]
    for case, figures in isolate.run_all(remaining, options.samples, deadline):
        if "tflops" in figures:
            figures["share"] = figures["tflops"] / peak
        known[case] = figures
        print(line(case, figures), flush=True)
        _write(options.json, report, selected, known)
    _write(options.json, report, selected, known)
    return 0 if any("ms" in figures for figures in known.values()) else 1


def _write(file: Path | None, report: dict[str, Any], selected: list[Case], known: Figures) -> None:
    """Replaces the file atomically; the report is complete when every case was started."""
    if file is None:
        return
    not_started = {"failure": isolate.NOT_STARTED}
    complete = all(known.get(case, not_started) != not_started for case in selected)
    report = {**report, "rows": in_order(selected, known), "complete": complete}
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n")
    partial.replace(file)


def line(case: Case, figures: dict[str, Any]) -> str:
    """One row of the table.

    Args:
      case: the measured case.
      figures: its figures, or its "failure".

    Returns:
      The row under `HEADER`.
    """
    tiling = case.tiling
    implementation = f"{case.implementation} {case.precision}"
    if tiling:
        implementation = f"{case.implementation} 128x{tiling.columns}, {tiling.stages} stages"
        implementation += f", cluster {tiling.cluster}, +{tiling.in_flight}"
    shape = f"{case.batch}x{case.rows}x{case.columns}"
    start = f"{case.op:<21}{shape:<15}{implementation:<36}"
    if "failure" in figures:
        return f"{start}  {figures['failure']}"
    spread = f"{figures['low']:.3f}-{figures['high']:.3f}"
    return (
        f"{start}{figures['ms']:>9.3f}{spread:>19}{figures['tflops']:>9.2f}"
        f"{figures['share']:>7.1%}{figures['error']:>10.1e}{figures['compile_s']:>11.1f}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pallas_kernels.bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--quick", action="store_true", help="measure the smallest shape only")
    parser.add_argument(
        "--samples", type=int, default=20, help="timed samples per case, 10 or more"
    )
    parser.add_argument(
        "--seconds", type=float, default=540.0, help="time after which no measurement starts"
    )
    parser.add_argument("--resume", action="store_true", help="keep the figures of the --json file")
    return parser


def _options(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    options = parser.parse_args(arguments)
    if options.samples < 10:
        parser.error(f"--samples {options.samples} is too few for a median: use 10 or more")
    if options.resume and not options.json:
        parser.error("--resume needs the file of the earlier run: add --json FILE")
    if options.json and options.json.is_dir():
        parser.error(f"{options.json} is a folder: name a file in it with --json")
    if options.json and not options.json.parent.is_dir():
        parser.error(
            f"{options.json.parent} is no folder: create it, or choose another --json file"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
