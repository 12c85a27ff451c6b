"""All GPU measurements in one command, for a machine with JAX but not all dependencies.

    python -m tools.gpu_suite -o DIR --minutes 9
    python -m tools.gpu_suite -o DIR --preset tiny --size 56x56 --views 2,4  # a rehearsal

Each item runs in its own process with a time limit and saves its partial results; the same
command resumes where an earlier one stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.gpu_suite.suite import ITEMS, SuiteConfig, run_suite
from zipmap_jax.cli.numbers import parse_size, parse_views
from zipmap_jax.errors import run_main

UNFINISHED = 1
"""Exit code when an item is missing; its line has the reason."""


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="gpu_suite", description="Run all GPU measurements.")
    default = SuiteConfig(Path())
    views = ",".join(map(str, default.views))
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--minutes", type=float, default=default.minutes, help="limit for all items"
    )
    parser.add_argument("--preset", default=default.preset)
    parser.add_argument("--size", default="x".join(map(str, default.size)), metavar="HxW")
    parser.add_argument("--views", default=views, help=f"in this order [{views}]")
    parser.add_argument("--golden", type=Path, default=default.golden, metavar="DIR")
    parser.add_argument("--items", default=",".join(ITEMS), help=f"of {','.join(ITEMS)}")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # one item, in this process
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Run the suite with one process of this module per item, or one item in this process."""
    config = SuiteConfig(
        args.out,
        args.minutes,
        args.preset,
        parse_size(args.size),
        parse_views(args.views),
        args.golden,
        tuple(args.items.split(",")),
    )
    if args.only is not None:
        from tools.gpu_suite.items import run_item

        run_item(args.only, config, args.seconds)
        return 0
    child = (
        *(sys.executable, "-m", "tools.gpu_suite", "-o", str(config.out)),
        *("--preset", config.preset, "--size", "x".join(map(str, config.size))),
        *("--views", ",".join(map(str, config.views)), "--golden", str(config.golden)),
    )
    done = run_suite(config, child, lambda line: print(line, flush=True))
    return 0 if done else UNFINISHED


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    args = parse(argv)
    return run_main("gpu_suite", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
