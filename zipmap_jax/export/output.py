"""Output folders that are written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from zipmap_jax.errors import UserError
from zipmap_jax.files import move_folder, new_folder

README = "README.txt"
_TITLE = "ZipMap reconstruction"
_LIST = "Files written"
# Files that file managers create in the folders they show.
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


class OutputError(UserError):
    """The output folder cannot be written, or must not be replaced."""


def check_output(out: Path, *, force: bool) -> None:
    """Checks that an output folder can be written, before any work is done.

    Args:
      out: the output folder.
      force: whether an existing folder may be replaced, if it is empty or contains only files that
        its README.txt lists as written by this program.

    Raises:
      OutputError: `out` exists and may not be replaced, or its parent cannot be written.
    """
    if os.path.lexists(out):
        _check_replaceable(out, force)
    parent = existing_parent(out)
    if not parent.is_dir():
        raise OutputError(f"{out} cannot be made as {parent} is no folder; choose another place.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{parent} does not let you write; choose another place for {out.name}.")


@contextlib.contextmanager
def staged_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Context with a temporary folder that is renamed to `out` at its end.

    After an error, a full disk or an interrupt the temporary folder is removed and an existing
    `out` is unchanged.

    Args:
      out: the output folder.
      force: see `check_output`.

    Yields:
      The temporary folder, in the parent folder of `out`.

    Raises:
      OutputError: see `check_output`; or writing failed.
    """
    check_output(out, force=force)
    out = Path(os.path.abspath(out))
    try:
        with new_folder(out) as stage:
            yield stage
            if os.path.lexists(out):
                # Checked again: files may have appeared during the work.
                _check_replaceable(out, force)
            move_folder(stage, out)
    except OSError as error:
        raise OutputError(_reason(out, error)) from error


def readme_text(body: str, files: list[str]) -> str:
    """Text of README.txt: title, body, and the list of files that a later run may replace.

    Args:
      body: description of the files.
      files: paths of the files, relative to the folder.

    Returns:
      The text.
    """
    heads = [f"{word}\n{mark * len(word)}" for word, mark in ((_TITLE, "="), (_LIST, "-"))]
    listed = "\n".join(f"  {name}" for name in sorted({*files, README}))
    return f"{heads[0]}\n\n{body.strip()}\n\n{heads[1]}\n{listed}\n"


def _check_replaceable(out: Path, force: bool) -> None:
    if not out.is_dir():
        raise OutputError(f"{out} exists and is no folder; choose another name.")
    if not force:
        raise OutputError(f"{out} exists; choose another name, or replace it with --force.")
    foreign = _foreign_files(out)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise OutputError(
            f"{out} holds {foreign[0]}{more}, not written by this program, and --force deletes "
            "only its own files; move them away or choose another name."
        )


def _foreign_files(out: Path) -> list[str]:
    """Files that README.txt does not list; all files if this program did not write it."""
    try:
        lines = (out / README).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    own: set[str] = set()
    if lines[:1] == [_TITLE] and _LIST in lines:
        # The last such line is the heading: the notes above it may contain any text.
        start = len(lines) - lines[::-1].index(_LIST)
        own = {line.strip() for line in lines[start + 1 :]}
    present = [
        p for p in out.rglob("*") if (p.is_symlink() or not p.is_dir()) and p.name not in _LITTER
    ]
    return sorted(name for p in present if (name := p.relative_to(out).as_posix()) not in own)


def existing_parent(out: Path) -> Path:
    """The folder that `out` is, or will be, in; the nearest one that exists."""
    parent = Path(os.path.abspath(out)).parent
    while not os.path.lexists(parent):
        parent = parent.parent
    return parent


def _reason(out: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full, so that {out} was not written; make room or choose another disk."
    return f"{out} could not be written ({error.strerror or error}); choose another place."
