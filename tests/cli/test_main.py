"""The entry point of the verbs: parsing, exit codes, errors in one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import NoReturn

import pytest

import zipmap_jax
from zipmap_jax.cli import doctor
from zipmap_jax.cli.main import WarningPrinter, main
from zipmap_jax.errors import MissingPackageError, UserError, explain
from zipmap_jax.images.current import decoding

ROOT = Path(__file__).parents[2]


def failing(error: BaseException):
    def call(self: object) -> NoReturn:
        raise error

    return call


def run_failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    monkeypatch.setattr(doctor.Doctor, "__call__", failing(error))
    return main(["doctor"])


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["frobnicate"],
        ["run"],
        ["run", "photos"],
        ["run", "photos", "-o", "x", "--nope"],
        ["run", "photos", "-o", "x", "--size", "large"],
        ["run", "photos", "-o", "x", "--mode", "stretch"],
        ["convert"],
        ["demo", "stray"],
        ["bench"],
        ["bench", "nothing"],
        ["config"],
        ["config", "print"],
    ],
    ids=" ".join,
)
def test_usage_errors_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert "--help" in err


@pytest.mark.parametrize(
    "verb",
    [
        *("run", "demo", "convert", "parity", "config", "doctor"),
        *("bench loader", "bench runtime", "bench memory"),
    ],
)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*verb.split(), "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"zipmap {verb}" in out
    assert "--json" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"zipmap-jax {zipmap_jax.__version__}\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("the size is\n  odd"), "the size is odd"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file"),
        (PermissionError(13, "Permission denied", "locked"), "locked: Permission denied: change"),
        (IsADirectoryError(21, "Is a directory", "a"), "a: Is a directory: name a file"),
        (OSError(28, "No space left on device"), "No space left on device: free space"),
        (MissingPackageError("pip install zipmap-jax[hub]"), "pip install zipmap-jax[hub]"),
        (ModuleNotFoundError("No module named 'absent.x'", name="absent.x"), "install it with pip"),
        (MemoryError("Unable to allocate 3 TiB"), "--chunk"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), "--chunk"),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), "--chunk"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_one_sentence(
    error: Exception,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_failing(monkeypatch, error) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("zipmap: error: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_debug_shows_the_traceback_of_user_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZIPMAP_DEBUG", "1")
    assert run_failing(monkeypatch, UserError("odd")) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "    raise error\n" in err
    assert err.endswith("UserError: odd\nzipmap: error: odd\n")


@pytest.mark.parametrize(
    "error",
    [
        TypeError("a bug"),
        RuntimeError("another"),
        ValueError("of a library"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        FloatingPointError("invalid value (nan)"),
        OSError("without a file"),
        OSError(22, "Invalid argument"),
        ImportError("cannot import name 'oops' from 'jax'", name="jax"),
        ModuleNotFoundError("No module named 'zipmap_jax.oops'", name="zipmap_jax.oops"),
        ModuleNotFoundError("No module named 'jax.oops'", name="jax.oops"),
    ],
    ids=repr,
)
def test_defects_keep_their_traceback_and_name_the_place_to_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert explain(error) is None
    assert run_failing(monkeypatch, error) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("Traceback")
    assert f"{type(error).__name__}: {error}\n" in err
    last = err.splitlines()[-1]
    assert last.startswith("zipmap: a defect of zipmap-jax")
    assert "issue tracker of the project" in last


def test_a_closed_output_pipe_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "zipmap_jax.cli.main", "config", "show", "stage1_static"],
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


def test_interrupt_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing(monkeypatch, KeyboardInterrupt()) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_sigterm_is_handled_like_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []

    def work(self: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            cleaned.append(True)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(doctor.Doctor, "__call__", work)
    assert main(["doctor"]) == 130
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.filterwarnings("default")
def test_warnings_are_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(self: object) -> int:
        warnings.warn("left out: b.png is broken", stacklevel=1)
        return 0

    monkeypatch.setattr(doctor.Doctor, "__call__", warn)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == "zipmap: warning: left out: b.png is broken\n"


def test_help_loads_nothing_heavy() -> None:
    # This keeps `zipmap --help` fast; a bound on seconds would depend on the machine.
    code = """
import sys
from zipmap_jax.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
print(*({"av", "jax", "flax", "numpy", "PIL", "rich"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "usage: zipmap" in done.stdout
    assert done.stderr == "\n"


def test_warnings_of_pillow_carry_the_name_of_the_picture(
    capsys: pytest.CaptureFixture[str],
) -> None:
    category, pillow = UserWarning, "/lib/site-packages/PIL/TiffImagePlugin.py"
    show = WarningPrinter()
    for name in ("a/odd.jpg", "a/odd.jpg", "a/other.jpg"):  # a file is opened more than once
        with decoding(Path(name)):
            show("Corrupt EXIF data. ", category, pillow, 1)
    with decoding(Path("a/odd.jpg")):
        show("of our own", category, "/lib/site-packages/zipmap_jax/x.py", 1)
        bomb = type("DecompressionBombWarning", (RuntimeWarning,), {})
        show("decompression bomb", bomb, "/lib/site-packages/PIL/Image.py", 1)
    show("later", category, pillow, 1)
    assert capsys.readouterr().err.splitlines() == [
        "zipmap: warning: a/odd.jpg: Corrupt EXIF data: this is ignored",
        "zipmap: warning: a/other.jpg: Corrupt EXIF data: this is ignored",
        "zipmap: warning: of our own",
        "zipmap: warning: later",
    ]
