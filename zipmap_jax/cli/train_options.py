"""The command line of `train.py`: its options, and a flag for every value of the configuration."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from zipmap_jax.cli.overrides import apply, flag_values, parse
from zipmap_jax.errors import UserError, require_at_least
from zipmap_jax.train.config.registry import load
from zipmap_jax.train.config.schema import TrainConfig

EXAMPLE = "debug"
"""Configuration that `--help` shows by default."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Options of `train.py` besides the configuration.

    Attributes:
      config: name in configs/, or Python file with get_config().
      workdir: folder for checkpoints and metrics.
      batch_scale: factor on the batch of every bucket.
      dry_run: print the plan of the run, and stop.
      devices: number of devices for --dry-run; None = those of this machine, or 64 if they are
        too few.
      compile_for: with --dry-run, compile the largest steps for this device and print their
        memory.
      export: folder for the newest checkpoint's weights; nothing is trained.
      export_weights: weights to export.
      export_dtype: number format of exported weights.
      export_scenes: held-out scenes for the metrics of the card.
      force: let --export overwrite.
      coordinator: HOST:PORT of process 0 of a run of several processes.
      processes: number of processes.
      process: index of this process, from 0.
      distributed: detect coordinator and processes from SLURM, Open MPI or the cloud.
    """

    config: str
    workdir: Path
    batch_scale: int = 1
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

    def __post_init__(self) -> None:
        minima = dict(batch_scale=1) | (dict(devices=1) if self.devices is not None else {})
        require_at_least(self, "the command line", **minima)


@dataclasses.dataclass(frozen=True)
class _Flags:
    """Train ZipMap.

    Every value of the configuration is a flag; its default is the value in the configuration.
    A boolean flag without a value is True. Tuples take their elements as words
    (--optim.lr-groups PATTERN RATE PATTERN RATE), separated by commas, or as JSON. Elements of
    data.buckets and data.mixture are addressed by index or name (--data.mixture.scannet.root DIR);
    only the first of each is listed here. JSON replaces a whole tuple
    (--data.mixture '[{"name": "procedural"}]'). --data.crop none and --data.jitter none disable
    augmentation.
    """

    options: Annotated[RunOptions, arg(name="")]
    configuration: Annotated[TrainConfig, arg(name="")]


OPTIONS = tuple(field.name for field in dataclasses.fields(RunOptions))


def parse_command_line(argv: Sequence[str] | None = None) -> tuple[RunOptions, TrainConfig]:
    """Options of a run, and the named configuration with the values of the flags.

    Args:
      argv: arguments after the program's name; None = `sys.argv`.

    Raises:
      UserError: a flag or the configuration does not exist, or a value has the wrong type.
      SystemExit: after `--help`.
    """
    words = sys.argv[1:] if argv is None else argv
    values = flag_values("--help" if word == "-h" else word for word in words)
    if "help" in values:
        print_help(" ".join(values.get("config", ())) or EXAMPLE)
    name = " ".join(values.get("config", ()))
    if not name:
        raise UserError("no configuration: give --config with a file or a name")
    own = {flag: texts for flag, texts in values.items() if flag in OPTIONS}
    changes = {flag: texts for flag, texts in values.items() if flag not in OPTIONS}
    config = apply(load(name), changes, (*(o.replace("_", "-") for o in OPTIONS), "help"))
    options = apply(RunOptions(name, Path("runs") / config.name), own)
    return options, _scaled(config, options.batch_scale)


def print_help(name: str) -> None:
    """Print all flags with the values of the configuration, and exit."""
    config = load(name)
    data = config.data
    shown = dataclasses.replace(data, buckets=data.buckets[:1], mixture=data.mixture[:1])
    options = RunOptions(name, Path("runs") / config.name)
    parse(_Flags, _Flags(options, dataclasses.replace(config, data=shown)), ["--help"])


def _scaled(config: TrainConfig, scale: int) -> TrainConfig:
    buckets = tuple(dataclasses.replace(b, batch=b.batch * scale) for b in config.data.buckets)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, buckets=buckets))
