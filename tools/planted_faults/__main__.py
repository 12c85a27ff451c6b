"""Plant every fault in a copy of the repository and run the test that must fail.

    python -m tools.planted_faults            # all, about ten seconds each
    python -m tools.planted_faults depth      # those whose description or file has this word

Exit code 1 if a test passes although its fault is planted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.planted_faults.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
FAILED = 1
"""Exit code of pytest if a test fails; others are errors of the call."""


def main() -> int:
    """Run the chosen faults and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("word", nargs="?", default="", help="run the faults with this word only")
    word = parser.parse_args().word
    chosen = [fault for fault in FAULTS if word in fault.about or word in fault.file]
    if not chosen:
        parser.error(f"no fault has the word {word!r}")
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_repository(Path(folder) / "copy")
        unnoticed = [fault for fault in chosen if not is_noticed(fault, copy)]
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} faults are noticed")
    return 1 if unnoticed else 0


def copy_repository(target: Path) -> Path:
    """Copy the files that git knows or does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def is_noticed(fault: Fault, copy: Path) -> bool:
    """Plant a fault, run its test, and mend the copy."""
    path = copy / fault.file
    right = path.read_bytes()
    fault.plant(copy)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", fault.test],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    finally:
        path.write_bytes(right)
    verdict = {FAILED: "noticed", 0: "NOT NOTICED"}.get(
        done.returncode, f"pytest ended with {done.returncode}"
    )
    print(f"{verdict}: {fault.about} ({fault.test})", flush=True)
    if done.returncode not in (FAILED, 0):
        print(done.stdout[-2000:], done.stderr[-2000:], flush=True)
    return done.returncode == FAILED


if __name__ == "__main__":
    sys.exit(main())
