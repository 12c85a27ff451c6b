"""All command lines have the same messages and exit codes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from zipmap_jax.errors import (
    OUT_OF_MEMORY_TRAINING,
    MissingPackageError,
    UserError,
    explain,
    run_main,
)

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "zipmap": ("zipmap_jax.cli.main", "_run", ["doctor"]),
    "train.py": ("train", "carry_out", []),
    "eval.py": ("eval", "run", ["--checkpoint", "x"]),
    "gpu_suite": ("tools.gpu_suite.__main__", "run", ["-o", "x"]),
}
"""The module of each command line, its function that `run_main` calls, and arguments."""


def failing(error: BaseException) -> Callable[..., int]:
    def work(*_: object) -> NoReturn:
        raise error

    return work


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_line_reports_alike(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, function, arguments = PROGRAMS[program]
    module = importlib.import_module(name)

    def outcome(error: BaseException) -> tuple[int, list[str]]:
        monkeypatch.setattr(module, function, failing(error))
        code = module.main(arguments)
        return code, capsys.readouterr().err.splitlines()

    assert outcome(UserError("it is odd")) == (2, [f"{program}: error: it is odd"])
    assert outcome(KeyboardInterrupt()) == (130, [f"{program}: interrupted"])
    code, lines = outcome(ValueError("of a library"))
    assert code == 1
    assert lines[0].startswith("Traceback")
    assert lines[-2] == "ValueError: of a library"
    assert lines[-1].startswith(f"{program}: a defect of zipmap-jax")
    monkeypatch.setenv("ZIPMAP_DEBUG", "1")
    code, lines = outcome(UserError("it is odd"))
    assert (code, lines[0][:9], lines[-1]) == (2, "Traceback", f"{program}: error: it is odd")


def test_the_exit_code_of_the_work_is_returned_and_errors_can_leave_at_once() -> None:
    left: list[int] = []
    assert run_main("x", lambda: 7, leave=failing(AssertionError())) == 7
    for error, code in ((UserError("odd"), 2), (TypeError("a bug"), 1)):
        assert run_main("x", failing(error), leave=lambda c: left.append(c) or -c) == -code
    assert left == [2, 1]


def test_memory_that_ran_out_has_the_sentence_of_the_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_main("train.py", failing(MemoryError()), OUT_OF_MEMORY_TRAINING) == 2
    assert capsys.readouterr().err == f"train.py: error: {OUT_OF_MEMORY_TRAINING}\n"


def test_a_missing_package_is_both_a_user_error_and_an_import_error() -> None:
    error = MissingPackageError("it needs grain: pip install grain")
    assert isinstance(error, UserError)
    assert isinstance(error, ImportError)
    assert explain(error) == str(error) == "it needs grain: pip install grain"


def test_files_that_are_absent_or_folders_are_user_errors(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "name a file"), (tmp_path / "no", "check the path")):
        with pytest.raises(OSError, match=r".") as caught:
            path.read_bytes()
        assert (explain(caught.value) or "").endswith(words)


def test_a_defect_ends_the_process_with_1() -> None:
    code = """
import sys
from zipmap_jax.errors import run_main
sys.exit(run_main("x", lambda: int("oops")))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ValueError: invalid literal for int()" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("x: a defect of zipmap-jax")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_without_a_stream_ends_as_any_other(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some services start programs with closed streams, which Python represents by None."""
    monkeypatch.setattr(sys, stream, None)

    def work() -> int:
        print("out")
        print("err", file=sys.stderr)
        return 0

    assert run_main("zipmap", work) == 0
    getattr(sys, stream).close()


def test_a_platform_that_is_not_here_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "rocm")
    sentence = explain(RuntimeError("Unable to initialize backend 'rocm': no such backend"))
    assert sentence is not None
    assert "JAX_PLATFORMS=rocm" in sentence


def test_command_lines_compute_in_default_types() -> None:
    code = """
import sys, jax
from zipmap_jax.errors import run_main
assert jax.numpy.zeros(1).dtype == "float64"
sys.exit(run_main("x", lambda: print(jax.numpy.zeros(1).dtype) or 0))
"""
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.returncode) == ("float32\n", 0), done.stderr
