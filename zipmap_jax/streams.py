"""Standard streams of programs: what cannot be printed does not undo the work."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys


class _Lossy(io.TextIOWrapper):
    """A text stream that drops what cannot be written; for progress, warnings and errors."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except (OSError, ValueError):  # no space, no reader, or closed
            return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().flush()


def prepare_streams() -> None:
    """Make stdout and stderr accept any text.

    Characters that the encoding of a stream lacks are printed as escapes. Errors of stderr are
    ignored. Some services start programs without stdout or stderr: what they print is dropped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ and type(sys.stderr) is io.TextIOWrapper:
        encoding = sys.stderr.encoding
        sys.stderr = _Lossy(
            sys.stderr.detach(), encoding, errors="backslashreplace", line_buffering=True
        )
        sys.__stderr__ = sys.stderr  # the old object has no buffer any more


def print_result(text: str) -> None:
    """Print the result of work that is complete, which an unwritable stdout does not change.

    A reader that has ended, such as `head`, has what it wanted; other errors are told.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        discard_output()
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"the result is complete, but stdout is not: {error.strerror}\n")


def discard_output() -> None:
    """Discard the rest of stdout, after an error that would be raised again at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def discard_unwritable_output() -> None:
    """Discard the rest of stdout if it cannot be written, which would fail again at the end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        discard_output()


def nobody_reads() -> bool:
    """Whether the pipe of stdout is broken; another one may be, such as that of a worker."""
    try:
        sys.stdout.flush()
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # broken, closed, or no such call on this system
        return True
