"""User errors, and the handling of exceptions in command lines."""

from __future__ import annotations

import difflib
import errno
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from zipmap_jax.streams import (
    discard_output,
    discard_unwritable_output,
    nobody_reads,
    prepare_streams,
)


class UserError(ValueError):
    """An error that the user can correct: one sentence with the rule, the value and the remedy.

    Command lines print the sentence and exit with code 2. Other exceptions are defects of the
    program and keep their traceback.
    """


class MissingPackageError(UserError, ImportError):
    """An optional package is not installed; the sentence names the command that installs it."""


OUT_OF_MEMORY = (
    "out of memory: process fewer images at a time with --chunk 4, fewer in all with --max-views, "
    "or smaller ones with --size"
)
OUT_OF_MEMORY_TRAINING = (
    "out of memory: try --remat true, --chunk 8, a larger --mesh.fsdp or --mesh.views, or fewer "
    "scenes or views in data.buckets; the checkpoints are valid"
)
REPORT = (
    "a defect of zipmap-jax, not of the input: report the lines above and the command in the issue "
    "tracker of the project"
)
DEFECT, MISTAKE, INTERRUPTED = 1, 2, 130
"""Exit codes after a defect, a user error and an interrupt."""
READER_LEFT = 141
"""Exit code of a program whose output is no longer read (128 + SIGPIPE)."""
_REMEDIES = {
    errno.EACCES: "change its permissions or choose another place",
    errno.EPERM: "change its permissions or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "check the path",
    errno.EEXIST: "choose another name",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name a folder",
    errno.ENOSPC: "free space or choose another disk",
    errno.EDQUOT: "free space or choose another disk",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other programs, or raise the limit with ulimit -n",
}
_LIMITS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE)
"""Errors of the system that a user can correct even if they name no file."""


def require_whole(minimum: int | None = 1, **values: Any) -> None:
    """Check that arguments are None, or whole numbers of at least `minimum` (None = any).

    Raises:
      UserError: one is not.
    """
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise UserError(f"{name} must be a whole number, got {value!r}: leave it out")
        if minimum is not None and value < minimum:
            raise UserError(f"{name} must be at least {minimum}, got {value}: leave it out")


def require_at_least(config: Any, name: str, **bounds: int) -> None:
    """Check lower bounds of fields of a configuration.

    Args:
      config: the configuration.
      name: the configuration in words, subject of the error message.
      bounds: smallest value by field.

    Raises:
      UserError: a field is below its bound.
    """
    for field, bound in bounds.items():
        value = getattr(config, field)
        if value < bound:
            raise UserError(f"{name} has {field}={value}: it must be at least {bound}")


def run_main(
    program: str,
    work: Callable[[], int],
    out_of_memory: str = OUT_OF_MEMORY,
    leave: Callable[[int], int] = int,
) -> int:
    """Run a command line and convert exceptions to a message and an exit code.

    A user error is one line on stderr, after its traceback if the environment has ZIPMAP_DEBUG=1.
    A defect is its traceback and a request to report it.

    Args:
      program: name at the start of every line.
      work: the program; returns its exit code.
      out_of_memory: message when memory runs out.
      leave: called with the exit code after an error; returns the exit code or ends the process.

    Returns:
      The exit code of `work`, or 1 after a defect, 2 after a user error, 130 after an interrupt,
      141 after the reader of the output has ended.
    """
    prepare_streams()
    _use_default_types()
    try:
        code = work()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and nobody_reads():
            discard_output()
            return READER_LEFT
        discard_unwritable_output()
        sentence = explain(error, out_of_memory)
        if sentence is None or os.environ.get("ZIPMAP_DEBUG") == "1":
            traceback.print_exception(error)
        line = f"error: {sentence}" if sentence else REPORT
        sys.stderr.write(f"{program}: {line}\n")
        sys.stderr.flush()
        return leave(MISTAKE if sentence else DEFECT)


def _use_default_types() -> None:
    """Compute in JAX's default types also where JAX_ENABLE_X64 is set for other programs."""
    if os.environ.pop("JAX_ENABLE_X64", None) is not None and "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", False)


def explain(error: BaseException, out_of_memory: str = OUT_OF_MEMORY) -> str | None:
    """Return the message of a user error or a limit of the machine.

    Args:
      error: the exception.
      out_of_memory: message when memory runs out.

    Returns:
      One sentence; None for a defect of the program.
    """
    if is_out_of_memory(error):
        return out_of_memory
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, RuntimeError) and "nable to initialize backend" in str(error):
        return (
            f"JAX cannot use the platform of JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: "
            "unset it, or install JAX for this platform"
        )
    if _is_missing_package(error):
        return f"{error}: install it with pip, or install zipmap-jax again"
    return None


def _of_system(error: OSError) -> str | None:
    """The message of an error that names a file or a limit; None for others."""
    if not error.strerror or (error.filename is None and error.errno not in _LIMITS):
        return None
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror}: {_REMEDIES.get(error.errno or 0, 'check the path')}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: XLA raises a RuntimeError, NumPy a MemoryError."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "ut of memory"))
    )


def _is_missing_package(error: BaseException) -> bool:
    """Whether another project's package is not installed; a missing submodule is a defect."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return False
    package = error.name.partition(".")[0]
    return package not in ("zipmap_jax", "pallas_kernels") and not _is_installed(package)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # an imported module without a specification
        return True


def nearest(path: str, known: Iterable[str]) -> str:
    """Return the known name most similar to `path`, comparing whole names and their last parts."""

    def similarity(name: str) -> tuple[float, float, int]:
        whole = _ratio(path, name)
        last = _ratio(path.rsplit(".", 1)[-1], name.rsplit(".", 1)[-1])
        return max(whole, 0.95 * last), whole, -len(name)

    return max(known, key=similarity)


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
