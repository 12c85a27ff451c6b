"""What cannot be printed does not undo the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FULL = Path("/dev/full")
RESULT = """
import sys
from zipmap_jax.errors import run_main
from zipmap_jax.streams import print_result
def work():
    print("p\\u00e9re \\udce9", file=sys.stderr, flush=True)
    print_result("p\\u00e9re \\udce9")
    return 0
sys.exit(run_main("x", work))
"""
OUTPUT = """
import sys
from zipmap_jax.errors import run_main
sys.exit(run_main("x", lambda: print("some output") or 0))
"""


def run(code: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, **streams)  # pyright: ignore


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", b"p\\xe9re \\udce9"),
        ("cp1252", b"p\xe9re \\udce9"),
        ("utf-8", b"p\xc3\xa9re \\udce9"),
    ],
)
def test_characters_that_a_stream_lacks_are_escaped(encoding: str, printed: bytes) -> None:
    done = run(RESULT, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, printed, printed)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_behind_a_stream() -> None:
    with FULL.open("wb") as full:
        done = run(RESULT, stdout=full)
        assert done.returncode == 0
        assert b"the result is complete, but stdout is not: No space left" in done.stderr
        done = run(RESULT, stderr=full)
        assert (done.returncode, done.stdout[:2]) == (0, b"p\xc3")
        done = run(OUTPUT, stdout=full)
        assert done.returncode == 2
        assert done.stderr.startswith(b"x: error: No space left on device: free space or choose")
        assert done.stderr.count(b"\n") == 1


def test_a_reader_that_ends_after_complete_work_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    for code, expected in ((RESULT, 0), (OUTPUT, 141)):
        done = run(code, stdout=write)
        assert done.returncode == expected
        assert b"BrokenPipe" not in done.stderr
        assert b"complete" not in done.stderr
    os.close(write)


def test_a_reader_of_warnings_that_ends_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = run(RESULT, stderr=write)
    os.close(write)
    assert (done.returncode, done.stdout[:2]) == (0, b"p\xc3")
