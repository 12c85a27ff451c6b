"""Entry point of `zipmap`: parses the command line and runs one verb.

Exit codes: 0 success; 1 a tensor beyond its tolerance, a device that would wait, a failed scene of
a batch, or a defect; 2 a user error; 130 Ctrl-C or SIGTERM; 141 a closed output pipe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, TextIO

import tyro
from tyro.conf import subcommand

import zipmap_jax
from zipmap_jax.cli.batch import Batch
from zipmap_jax.cli.bench import Bench
from zipmap_jax.cli.compile import Compile
from zipmap_jax.cli.config import Config, split_overrides
from zipmap_jax.cli.convert import Convert
from zipmap_jax.cli.demo import Demo
from zipmap_jax.cli.doctor import Doctor
from zipmap_jax.cli.export_program import ExportProgram
from zipmap_jax.cli.parity import Parity
from zipmap_jax.cli.run import Run
from zipmap_jax.errors import run_main
from zipmap_jax.images.current import with_picture

Verb = (
    Annotated[Run, subcommand("run")]
    | Annotated[Batch, subcommand("batch")]
    | Annotated[Demo, subcommand("demo")]
    | Annotated[Compile, subcommand("compile")]
    | Annotated[Convert, subcommand("convert")]
    | Annotated[ExportProgram, subcommand("export-program")]
    | Annotated[Parity, subcommand("parity")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[Config, subcommand("config")]
    | Annotated[Doctor, subcommand("doctor")]
)

DESCRIPTION = "Cameras, depth and a point cloud from photographs or video, in one forward pass."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      argv: arguments after the program's name; None = `sys.argv`.

    Returns:
      The exit code.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    return run_main("zipmap", lambda: _run(args))


def _run(args: list[str]) -> int:
    if args == ["--version"]:
        print(f"zipmap-jax {zipmap_jax.__version__}")
        return 0
    # The flags of a configuration depend on its name, so tyro does not parse them here.
    args, overrides = split_overrides(args) if args[:1] == ["config"] else (args, ())
    verb = tyro.cli(
        Verb,  # pyright: ignore[reportArgumentType]  a union is a type form
        prog="zipmap",
        description=DESCRIPTION,
        args=args,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if isinstance(verb, Config):
        verb = dataclasses.replace(verb, overrides=overrides)
    with warnings.catch_warnings(), _sigterm_as_interrupt():
        warnings.filterwarnings("always", module=r"PIL\.")  # the same text for every picture
        warnings.showwarning = WarningPrinter()
        return verb()


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that no unfinished folder remains."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class WarningPrinter:
    """A replacement of `warnings.showwarning`: one line on stderr, once for every text."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        del lineno, line
        text = with_picture(str(message), category, filename)
        if text is not None and text not in self._printed:
            self._printed.add(text)
            print(f"zipmap: warning: {text}", file=file or sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
