"""Measure every kernel against XLA on this machine's device, in one run.

    python -m pallas_kernels.bench --json OUT/ns.json
    python -m pallas_kernels.bench --json OUT/ns.json --seconds 60 --resume    # and again

On a Hopper GPU (about seven minutes): Newton-Schulz and the update around it in every
implementation and precision, then the single products with every tiling. On a CPU: the XLA path,
and `--quick` for the smallest shape. With `--resume`, what an earlier run has written to the file
is kept, shares included, and only the rest is measured.

ms is the median of at least ten samples after warm-up, the spread is the fastest and the slowest;
TFLOP/s counts the FLOPs of the definition, the share is of the rate of one large product measured
on the same device in the same run, the error is against float64, relative, in the Frobenius norm.
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
    """Measure, print the table, write the JSON after every row. Returns the exit status."""
    parser = _parser()
    options = _options(parser, arguments)
    deadline = time.monotonic() + options.seconds
    report: dict[str, Any] = {**isolate.describe(options.samples), "samples": options.samples}
    peak = report["peak"]["tflops"]
    try:
        known = earlier_figures(options.json, report) if options.resume else {}
    except ValueError as error:
        parser.error(str(error))
    print(f"{report['device']}, jax {report['jax']}: {peak:.2f} TFLOP/s in one large product")
    print(HEADER)
    wanted = cases(kernels=report["kernels"], quick=options.quick)
    for case, figures in known.items():
        print(line(case, figures), flush=True)
    left = [case for case in wanted if case not in known]
    for case, figures in isolate.run_all(left, options.samples, deadline):
        if "tflops" in figures:
            figures["share"] = figures["tflops"] / peak
        known[case] = figures
        print(line(case, figures), flush=True)
        _write(options.json, report, wanted, known)
    _write(options.json, report, wanted, known)
    return 0 if any("ms" in figures for figures in known.values()) else 1


def _write(file: Path | None, report: dict[str, Any], wanted: list[Case], known: Figures) -> None:
    """Replace the file in one step; it is complete once no case is left."""
    if file is None:
        return
    late = {"failure": isolate.NOT_STARTED}
    complete = all(known.get(case, late) != late for case in wanted)
    report = {**report, "rows": in_order(wanted, known), "complete": complete}
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n")
    partial.replace(file)


def line(case: Case, figures: dict[str, Any]) -> str:
    """One row of the table."""
    tiling = case.tiling
    how = f"{case.implementation} {case.precision}"
    if tiling:
        how = f"{case.implementation} 128x{tiling.columns}, {tiling.stages} stages"
        how += f", cluster {tiling.cluster}, +{tiling.in_flight}"
    shape = f"{case.batch}x{case.rows}x{case.columns}"
    start = f"{case.op:<21}{shape:<15}{how:<36}"
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    parser.add_argument("--quick", action="store_true", help="the smallest shape only")
    parser.add_argument("--samples", type=int, default=20, help="timed samples, at least 10")
    parser.add_argument(
        "--seconds", type=float, default=540.0, help="start no measurement after this long"
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep what the --json file has, measure the rest"
    )
    return parser


def _options(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    options = parser.parse_args(arguments)
    if options.samples < 10:
        parser.error(f"--samples {options.samples} gives no median to trust: take at least 10")
    if options.resume and not options.json:
        parser.error("--resume needs the file of the earlier run: name it with --json FILE")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"{options.json.parent} is no folder: create it, or name another --json file")
    return options


if __name__ == "__main__":
    sys.exit(main())
