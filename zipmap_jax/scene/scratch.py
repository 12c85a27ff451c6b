"""Hidden scratch folders, which the next process removes if their own process was killed.

A folder is named after its host and process and contains a file that the process locks. The system
releases the lock when the process ends, in whatever way.
"""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where folders of killed processes stay
    fcntl = None

_PREFIX, _SUFFIX, _LOCK = f".zipmap-{platform.node()}-", ".scene", "lock"


def make_folder(parent: Path) -> tuple[Path, int]:
    """Creates a scratch folder.

    Returns:
      The folder and the file descriptor of its lock, see `remove_folder`.
    """
    prefix = f"{_PREFIX}{os.getpid()}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=parent))
    unlocked = folder / f"{_LOCK}.new"
    lock = os.open(unlocked, os.O_CREAT | os.O_RDWR)
    if fcntl:
        with contextlib.suppress(OSError):  # the file system has no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(folder / _LOCK)
    return folder, lock


def remove_folder(folder: Path, lock: int) -> None:
    """Removes a scratch folder and releases its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def remove_leftovers(parent: Path) -> None:
    """Removes the scratch folders of processes of this host that have ended."""
    own = f"{_PREFIX}{os.getpid()}-"  # on network drives a process can take its own locks again
    for folder in parent.glob(f"{glob.escape(_PREFIX)}*{_SUFFIX}"):
        if not folder.name.startswith(own) and _is_unlocked(folder / _LOCK):
            shutil.rmtree(folder, ignore_errors=True)


def _is_unlocked(path: Path) -> bool:
    if not fcntl:
        return False
    try:
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, of another user, or not there yet
        return False
    return True
