"""Evaluate a model and the trivial prediction on held-out procedural scenes.

python eval.py --checkpoint runs/tiny_procedural
python eval.py --checkpoint tiny --scenes 64
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import jax

import zipmap_jax
from zipmap_jax.errors import UserError, run_main
from zipmap_jax.eval.benchmarks.procedural import evaluate, held_out_scenes
from zipmap_jax.eval.report import table
from zipmap_jax.files import dumps
from zipmap_jax.inference.compile import enable_compilation_cache
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.checkpoint import Checkpoints


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Evaluate ZipMap on held-out procedural scenes.")
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="work directory of a training run, folder of converted weights, or model name",
    )
    parser.add_argument(
        "--weights", choices=("ema", "params"), default="ema", help="weights of a training run"
    )
    parser.add_argument("--scenes", type=int, default=64, help="number of scenes")
    parser.add_argument("--views", type=int, default=8, help="views per scene")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(112, 154), metavar=("H", "W"), help="in pixels"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(argv)


def load(name: str, weights: Any) -> tuple[ZipMap, Any]:
    """Model and parameters of a training run, a folder or a model name."""
    folder = Path(name) / "checkpoints"
    if not folder.is_dir():
        loaded = zipmap_jax.load(name)
        return loaded.model, loaded.params
    with Checkpoints(folder) as checkpoints:
        model = ZipMap(checkpoints.config().model)
        like = jax.eval_shape(model.init, jax.random.key(0))
        return model, checkpoints.restore_weights(like, weights)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the metrics."""
    enable_compilation_cache()
    if args.scenes < 1 or args.views < 2:
        raise UserError(
            f"--scenes must be at least 1 and --views 2, got {args.scenes} and {args.views}: "
            "leave them out"
        )
    model, params = load(args.checkpoint, args.weights)
    numbers = evaluate(model, params, held_out_scenes(args.scenes, args.views, *args.size))
    if args.json:
        print(dumps(numbers))
        return 0
    height, width = args.size
    print(
        f"{args.checkpoint}: {args.scenes} held-out scenes, {args.views} views of {height}x{width}"
    )
    print(table(numbers))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    args = parse(argv)
    return run_main("eval.py", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
