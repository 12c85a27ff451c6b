"""Atomic writing of files and folders, and strict JSON."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ARCHIVE_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions of `zipfile` and `numpy.load` for damaged files."""


def dumps(value: Any, **options: Any) -> str:
    """Format as JSON with null in place of NaN and infinity, which JSON does not have."""
    return json.dumps(_finite(value), allow_nan=False, **options)


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Replace a file by a value as JSON, see `dumps` and `replacing`."""
    write_text(path, dumps(value, indent=indent) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file by UTF-8 text, see `replacing`."""
    with replacing(path) as partial:
        partial.write_text(printable(text), "utf-8")


def printable(text: str) -> str:
    """Text that UTF-8 can encode, from one with names of files in other encodings.

    Python represents bytes of a file's name that it cannot decode by lone surrogates. They become
    U+FFFD; bytes that are UTF-8 under a locale without it become the characters that they mean.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "replace").decode()


def natural_order(path: Path) -> tuple[Any, ...]:
    """Sorting key of paths by which `frame2` precedes `frame10`, as in file managers.

    Runs of digits are compared as numbers. Names with leading zeros and time stamps keep the order
    of their characters.
    """
    parts = tuple(
        tuple(int(piece) if i % 2 else piece for i, piece in enumerate(re.split("([0-9]+)", part)))
        for part in path.parts
    )
    return parts, str(path)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace `path` in one step when the block ends without an error.

    The content is on disk before the name changes, so even a power cut leaves the old file or the
    new one. After an error the old file is unchanged.

    Args:
      path: file to create or replace; its folder exists.

    Yields:
      The path to write to, in the same folder.
    """
    with new_file(path) as partial:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a new path in the folder of `path`; the file is removed unless the block renames it."""
    partial = _beside(path, "partial")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Create a temporary folder in that of `out`; it and new parents are removed after an error.

    The block renames it, for example with `move_folder`.

    Yields:
      The temporary folder.
    """
    parents = [p for p in (out.parent, *out.parent.parents) if not p.exists()]
    stage = _beside(out, "tmp")
    try:
        stage.mkdir(parents=True)
        yield stage
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        for folder in parents:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def move_folder(stage: Path, out: Path) -> None:
    """Rename `stage` to `out`; an older `out` is deleted, or restored if renaming fails."""
    if not os.path.lexists(out):
        stage.rename(out)
        return
    if out.is_symlink():
        out = out.resolve()
    old = _beside(out, "old")
    try:
        out.rename(old)
        stage.rename(out)
    except BaseException:  # an interrupt as well
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, suffix: str) -> Path:
    """A new hidden path in the same folder, shortened to a valid length."""
    return path.with_name(f".{path.name[:40]}-{secrets.token_hex(4)}.{suffix}")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
