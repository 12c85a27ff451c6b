"""The command line of `train.py`: a few options, and a flag for every leaf of the configuration."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NoReturn

from zipmap_jax.errors import UserError
from zipmap_jax.nn.config import POLICIES
from zipmap_jax.train.config.overrides import Leaf, apply, leaves
from zipmap_jax.train.config.registry import load
from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.texts import show

EXAMPLE = "debug"
"""Whose values `--help` shows when no configuration is named."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What a command line says besides the configuration.

    Attributes:
      workdir: checkpoints and metrics of the run.
      dry_run: print the plan of the run and stop.
      devices: number that the plan is made for; None = those of this machine
        (see `zipmap_jax.train.plan.plan.devices_to_plan`).
      compile_for: device for which the plan's largest steps are compiled, to tell their memory.
      export: folder for the newest checkpoint's weights; nothing is trained. None = train.
      export_weights, export_dtype, export_scenes, force: how to export.
      coordinator, processes, process, distributed: see `zipmap_jax.train.distributed.join`.
    """

    workdir: Path
    dry_run: bool = False
    devices: int | None = None
    compile_for: Literal["here", "h200"] | None = None
    export: Path | None = None
    export_weights: Literal["ema", "params"] = "ema"
    export_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    export_scenes: int = 64
    force: bool = False
    coordinator: str = ""
    processes: int | None = None
    process: int | None = None
    distributed: bool = False


FLAGS = (
    *(field.name.replace("_", "-") for field in dataclasses.fields(RunOptions)),
    *("help", "config", "batch-scale"),
)
"""Flags that are no leaves."""


def parse(argv: Sequence[str] | None = None) -> tuple[RunOptions, TrainConfig]:
    """Read a command line.

    Args:
      argv: arguments after the program's name; None = those of the process.

    Returns:
      The options, and the named configuration with the changes asked for.

    Raises:
      UserError: a flag that does not exist, a value of the wrong type, no such configuration.
      SystemExit: after `--help`.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    own, rest = parser.parse_known_args(args)
    if own.help:
        name = own.config or EXAMPLE
        sys.stdout.write(f"{parser.format_help()}\n{leaf_help(load(name), name)}\n")
        raise SystemExit(0)
    if own.config is None:
        raise UserError("no configuration: give --config with a file or a name")
    config = configured(own.config, rest, FLAGS)
    config = _scaled(config, own.batch_scale)
    if own.devices is not None and own.devices < 1:
        raise UserError(f"--devices wants a whole number of at least 1, got {own.devices}")
    names = {field.name for field in dataclasses.fields(RunOptions)}
    values = {name: value for name, value in vars(own).items() if name in names}
    values["workdir"] = own.workdir or Path("runs") / config.name
    return RunOptions(**values), config


def configured(name: str, rest: Sequence[str], flags: Sequence[str] = ()) -> TrainConfig:
    """A configuration by name, changed by a command line's `--leaf value` pairs.

    Args:
      name: file or name.
      rest: `--a.b value`, `--a.b=value`, or `--a.b` alone for true.
      flags: other flags, which a typo may have meant.
    """
    config = apply(load(name), pairs(rest), flags)
    if config.policy not in POLICIES:
        known = " | ".join(sorted(POLICIES))
        raise UserError(f"--policy wants {known}, got {config.policy!r}: choose one of these")
    return config


def pairs(rest: Sequence[str]) -> dict[str, str]:
    """Leaves and their texts. Dashes in names may stand for underscores.

    Raises:
      UserError: for a word that belongs to no flag.
    """
    out: dict[str, str] = {}
    words = list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--") or word == "--":
            raise UserError(f"{word!r} belongs to no flag: write --leaf value")
        name, equals, text = word[2:].partition("=")
        if not equals:
            text = words.pop(0) if words and not words[0].startswith("--") else "true"
        out[name.replace("-", "_")] = text
    return out


def leaf_help(config: TrainConfig, name: str) -> str:
    """Every leaf with its value, type and meaning; a dataclass that comes again takes one line."""
    lines = [f"every leaf of the configuration, with the values of {name}:"]
    for parent, items, again in _groups(config):
        if again:
            lines.append(f"  --{_one_line(parent, items, ' ')}")
            continue
        for leaf in items:
            lines.append(f"  --{leaf.path} {_shown(leaf)}  ({leaf.type_name})")
            lines += [f"      {leaf.doc}"] if leaf.doc else []
    return "\n".join(lines)


def leaf_values(config: TrainConfig) -> list[str]:
    """Lines `leaf = value`; a dataclass that comes again takes one line."""
    lines = []
    for parent, items, again in _groups(config):
        if again:
            lines.append(_one_line(parent, items, " = "))
        else:
            lines += [f"{leaf.path} = {_shown(leaf)}" for leaf in items]
    return lines


def _groups(config: TrainConfig) -> Iterator[tuple[str, list[Leaf], bool]]:
    """Leaves of one dataclass, the name above them, and whether others like them came before."""
    first: dict[type, str] = {}
    for (owner, parent), group in itertools.groupby(leaves(config), _owner):
        yield parent, list(group), first.setdefault(owner, parent) != parent


def _one_line(parent: str, items: list[Leaf], between: str) -> str:
    fields = ",".join(leaf.path.rpartition(".")[2] for leaf in items)
    return f"{parent}.{{{fields}}}{between}{' '.join(map(_shown, items))}"


def _shown(leaf: Leaf) -> str:
    return show(leaf.value) or '""'


def _owner(leaf: Leaf) -> tuple[type, str]:
    return leaf.owner, leaf.path.rpartition(".")[0]


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}: see --help")


def _parser() -> _Parser:
    parser = _Parser("train.py", description="Train ZipMap.", add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="this text, with the values of --config")
    add("--config", metavar="NAME", help="name in configs/, or Python file with get_config()")
    add("--workdir", type=Path, help="checkpoints and metrics [runs/NAME]")
    add("--batch-scale", type=int, default=1, help="multiply every bucket's batch")
    add("--dry-run", action="store_true", help="print what would run where; starts nothing")
    add(
        "--devices",
        type=int,
        help="number to plan for with --dry-run [those of this machine; 64 if they are too few]",
    )
    add(
        "--compile-for",
        choices=("here", "h200"),
        help="with --dry-run: compile the largest steps for such a device and tell their memory",
    )
    add("--export", type=Path, help="write the newest checkpoint's weights there; trains nothing")
    add("--export-weights", choices=("ema", "params"), default="ema")
    add("--export-dtype", choices=("bfloat16", "float32"), default="bfloat16")
    add("--export-scenes", type=int, default=64, help="for the card's numbers")
    add("--force", action="store_true", help="let --export overwrite")
    add("--coordinator", default="", help="HOST:PORT of process 0 of a run of several processes")
    add("--processes", type=int, help="their number")
    add("--process", type=int, help="this one's, from 0")
    add("--distributed", action="store_true", help="ask SLURM, Open MPI or the cloud for all three")
    return parser


def _scaled(config: TrainConfig, scale: int) -> TrainConfig:
    if scale < 1:
        raise UserError(f"--batch-scale wants a whole number of at least 1, got {scale}")
    buckets = tuple(dataclasses.replace(b, batch=b.batch * scale) for b in config.data.buckets)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, buckets=buckets))
