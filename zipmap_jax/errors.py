"""Mistakes of users and limits of machines, as one sentence each."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend: one sentence with the rule, the value and the remedy.

    Command lines print the sentence and exit with code 2. Every other exception is a defect of the
    program and keeps its traceback.
    """


OUT_OF_MEMORY = (
    "out of memory: process fewer images at a time with --chunk 4, fewer in all with --max-views, "
    "or smaller ones with --size"
)
OUT_OF_MEMORY_TRAINING = (
    "out of memory: try --remat true, --chunk 8, a larger --mesh.fsdp or --mesh.views, or fewer "
    "scenes or views in data.buckets; the checkpoints are good"
)
READER_LEFT = 141
"""Exit code of a program whose output nobody reads any more (128 + SIGPIPE)."""
_REMEDIES = {
    errno.EACCES: "change its permissions or choose another place",
    errno.EPERM: "change its permissions or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "check the path",
    errno.ENOSPC: "make room or choose another disk",
    errno.EDQUOT: "make room or choose another disk",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other programs, or raise the limit with ulimit -n",
}


def explain(error: BaseException, out_of_memory: str = OUT_OF_MEMORY) -> str | None:
    """A mistake of the user, or a limit of the machine, as one sentence; None for a bug of ours.

    Args:
      error: what was raised.
      out_of_memory: the sentence for want of memory.
    """
    if is_out_of_memory(error):
        return out_of_memory
    if isinstance(error, FloatingPointError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        remedy = _REMEDIES.get(error.errno or 0)
        return f"{where}{error.strerror}" + (f": {remedy}" if remedy else "")
    if isinstance(error, ValueError | OSError) or _is_missing_extra(error):
        return " ".join(str(error).split())
    return None


def reader_left() -> int:
    """What to do after a BrokenPipeError: silence the rest of the output; returns the exit code.

    Whoever read the output, such as `head`, has seen enough. That is no mistake.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_LEFT


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: XLA says so by a RuntimeError, NumPy by a MemoryError."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "ut of memory"))
    )


def _is_missing_extra(error: BaseException) -> bool:
    return isinstance(error, ImportError) and not (error.name or "").startswith("zipmap_jax")


def nearest(path: str, known: Iterable[str]) -> str:
    """The name most like `path`, comparing whole names, or last parts with last parts."""

    def closeness(name: str) -> tuple[float, float, int]:
        whole = likeness(path, name)
        last = likeness(path.rsplit(".", 1)[-1], name.rsplit(".", 1)[-1])
        return max(whole, 0.95 * last), whole, -len(name)

    return max(known, key=closeness)


def likeness(one: str, other: str) -> float:
    """How much two names have in common, from 0 to 1."""
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
