"""The benchmark: what it counts, what it compares with, and that a failure is a row."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from pallas_kernels.bench import __main__ as command
from pallas_kernels.bench import isolate, worker
from pallas_kernels.bench.cases import PRODUCTS, Case, cases
from pallas_kernels.bench.run import run
from pallas_kernels.newton_schulz import cost
from pallas_kernels.newton_schulz.tiling import Tiling

PEAK = {"device": "none", "jax": "0", "kernels": False, "peak": {"tflops": 2.0}}


def test_flops_of_a_layer() -> None:
    assert cost.flops(3, 1024, 2048) == 161_061_273_600


def test_products_are_the_flops_of_a_step() -> None:
    parts = sum(Case(op, "xla", 3, 384, 768).flops for op in PRODUCTS)
    assert 5 * parts == Case("newton_schulz", "xla", 3, 384, 768).flops


def test_a_case_survives_the_wire() -> None:
    for case in cases(kernels=True, quick=False):
        fields = json.loads(json.dumps(dataclasses.asdict(case)))
        assert Case.from_dict(fields) == case


def test_a_cpu_measures_the_xla_path_only() -> None:
    assert {case.implementation for case in cases(kernels=False, quick=False)} == {"xla"}
    assert {case.rows for case in cases(kernels=False, quick=True)} == {128}
    assert {case.batch for case in cases(kernels=True, quick=False)} == {3, 12}


@pytest.mark.parametrize(
    ("op", "precision", "low", "high"),
    [
        ("newton_schulz", "fp32", 1e-8, 1e-5),
        ("newton_schulz", "bf16_operands", 1e-3, 0.05),
        ("newton_schulz_update", "fp32", 1e-8, 1e-5),
        ("newton_schulz_update", "bf16_operands", 1e-4, 0.05),
        ("gram", "bf16_operands", 1e-4, 3e-3),
        ("polynomial", "bf16_operands", 1e-4, 3e-3),
        ("update", "bf16_operands", 1e-9, 1e-6),
    ],
)
def test_error_is_that_of_the_format(op: str, precision: str, low: float, high: float) -> None:
    figures = run(Case(op, "xla", 3, 64, 128, precision), samples=2)
    assert low < figures["error"] < high
    assert figures["low"] <= figures["ms"] <= figures["high"]
    assert figures["tflops"] == pytest.approx(
        Case(op, "xla", 3, 64, 128).flops / figures["ms"] / 1e9
    )


def test_what_fails_is_a_row() -> None:
    figures, sound = worker.attempt(Case("gram", "pallas", 3, 100, 128, tiling=Tiling()), 2)
    assert "does not divide into tiles" in figures["failure"]
    assert sound


def test_after_an_error_of_the_device_the_worker_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise jax.errors.JaxRuntimeError("INTERNAL: illegal address\nstack")

    monkeypatch.setattr(worker, "run", broken)
    figures, sound = worker.attempt(Case("gram", "xla", 3, 64, 64), 2)
    assert figures["failure"] == "JaxRuntimeError: INTERNAL: illegal address"
    assert not sound


def workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> None:
    """Let isolate start a Python script in place of the worker."""
    script = tmp_path / "worker.py"
    script.write_text(f"import json, os, sys, time\ncases = json.load(sys.stdin)\n{source}")
    popen = isolate.subprocess.Popen

    def start(_: Any, **options: Any) -> Any:
        return popen([isolate.sys.executable, str(script)], **options)

    monkeypatch.setattr(isolate.subprocess, "Popen", start)


ROWS = [Case("gram", "xla", n, 64, 64) for n in (1, 2, 3)]


def test_the_rows_after_a_crash_are_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = """
for case in cases:
    if case["batch"] == 2:
        print("Segmentation fault", file=sys.stderr, flush=True)
        os._exit(139)
    print("noise")
    print(json.dumps({"ms": case["batch"]}), flush=True)
"""
    workers(monkeypatch, tmp_path, source)
    found = list(isolate.run_all(ROWS, 10, time.monotonic() + 60))
    assert [case for case, _ in found] == ROWS
    failure = {"failure": "the process died: Segmentation fault"}
    assert [figures for _, figures in found] == [{"ms": 1}, failure, {"ms": 3}]


def test_a_hanging_row_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = """
for case in cases:
    time.sleep(60 * (case["batch"] == 1))
    print(json.dumps({"ms": case["batch"]}), flush=True)
"""
    workers(monkeypatch, tmp_path, source)
    found = [f for _, f in isolate.run_all(ROWS, 10, time.monotonic() + 60, seconds=3)]
    assert found == [{"failure": "hung for 3 s"}, {"ms": 2}, {"ms": 3}]


def test_out_of_time_is_said() -> None:
    found = [figures for _, figures in isolate.run_all(ROWS, 10, time.monotonic())]
    assert found == [{"failure": "not started: out of time"}] * 3


def test_table_and_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"ms": 2.0, "low": 1.5, "high": 2.5, "tflops": 1.0, "error": 1e-3, "compile_s": 0.1}
    monkeypatch.setattr(isolate, "describe", lambda _: dict(PEAK))
    monkeypatch.setattr(
        isolate, "run_all", lambda *_: [(ROWS[0], dict(figures)), (ROWS[1], {"failure": "broken"})]
    )
    path = tmp_path / "ns.json"
    assert command.main(["--json", str(path)]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[2].split()[-6:] == ["2.000", "1.500-2.500", "1.00", "50.0%", "1.0e-03", "0.1"]
    assert output[3].endswith("broken")
    rows = json.loads(path.read_text())["rows"]
    assert [row.get("share") for row in rows] == [0.5, None]
    assert rows[1]["failure"] == "broken"


FIGURES = {"ms": 2.0, "low": 1.5, "high": 2.5, "tflops": 1.0, "error": 1e-3, "compile_s": 0.1}
FAILURE = {"failure": "the process died: Segmentation fault"}
LATE = {"failure": isolate.NOT_STARTED}


def earlier_file(tmp_path: Path, rows: list[tuple[Case, dict[str, Any]]], **facts: Any) -> Path:
    """A report as a run without time for all cases leaves it."""
    path = tmp_path / "ns.json"
    described = {"device": "none", "jax": "0", "samples": 20} | facts
    listed = [{**dataclasses.asdict(case), **figures} for case, figures in rows]
    path.write_text(json.dumps({**described, "rows": listed, "complete": False}))
    return path


def test_a_second_run_measures_what_the_first_had_no_time_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = cases(kernels=True, quick=False)
    kept, failed, late = wanted[1], wanted[-1], wanted[0]
    assert failed.tiling
    before = [(failed, FAILURE), (kept, {**FIGURES, "share": 0.25}), (late, LATE)]
    path = earlier_file(tmp_path, before)
    asked = []

    def run_all(left: list[Case], *_: Any) -> Any:
        asked.extend(left)
        for number, case in enumerate(left):
            assert len(json.loads(path.read_text())["rows"]) >= 2  # none is lost on the way
            yield case, dict(FIGURES) if number < 3 else dict(LATE)

    monkeypatch.setattr(isolate, "describe", lambda _: PEAK | {"kernels": True})
    monkeypatch.setattr(isolate, "run_all", run_all)
    argv = ["--json", str(path), "--resume"]
    assert command.main(argv) == 0
    assert asked == [case for case in wanted if case not in (kept, failed)]
    report = json.loads(path.read_text())
    assert not report["complete"]
    rows = {Case.from_dict({k: row[k] for k in Case.__match_args__}): row for row in report["rows"]}
    assert list(rows) == wanted
    assert rows[failed]["failure"] == FAILURE["failure"]
    assert (rows[kept]["share"], rows[late]["share"]) == (0.25, 0.5)
    monkeypatch.setattr(isolate, "run_all", lambda left, *_: [(c, dict(FIGURES)) for c in left])
    assert command.main(argv) == 0
    assert json.loads(path.read_text())["complete"]
    assert "25.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"device": "other"}, "was measured with device other instead of none: choose another"),
        ({"jax": "0.1"}, "was measured with jax 0.1 instead of 0: choose another"),
        ({"samples": 10}, "was measured with samples 10 instead of 20: choose another"),
        ({"kind": "else"}, "holds no figures of an earlier run: choose another"),
    ],
)
def test_figures_of_something_else_are_not_gone_on_with(
    facts: dict[str, Any],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = earlier_file(tmp_path, [(ROWS[0], FIGURES)], **facts)
    if "kind" in facts:
        path.write_text(json.dumps(facts))
    before = path.read_bytes()
    monkeypatch.setattr(isolate, "describe", lambda _: dict(PEAK))
    with pytest.raises(SystemExit):
        command.main(["--json", str(path), "--resume"])
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert path.read_bytes() == before


def test_going_on_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--resume"])
    assert "add --json FILE" in capsys.readouterr().err


def test_the_command_goes_on(tmp_path: Path) -> None:
    """With a real worker, which has one of the five cases left to measure."""
    left, *known = cases(kernels=False, quick=True)
    facts = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "samples": 10}
    path = earlier_file(tmp_path, [(case, {**FIGURES, "share": 0.25}) for case in known], **facts)
    argv = ["--quick", "--samples", "10", "--json", str(path), "--resume"]
    assert command.main(argv) == 0
    report = json.loads(path.read_text())
    assert report["complete"]
    now, *before = report["rows"]
    assert [row["share"] for row in before] == [0.25] * 4
    assert now["precision"] == left.precision
    assert now["share"] == pytest.approx(now["tflops"] / report["peak"]["tflops"])


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--json", str(tmp_path)])
    assert caught.value.code == 2
    assert f"{tmp_path} is a folder: name a file" in capsys.readouterr().err
    path = tmp_path / "ns.json"
    path.with_name("ns.json.partial").mkdir()
    monkeypatch.setattr(isolate, "describe", lambda _: {**PEAK, "kernels": False})
    monkeypatch.setattr(isolate, "run_all", lambda *_: iter(()))
    with pytest.raises(SystemExit) as caught:
        command.main(["--json", str(path)])
    assert caught.value.code == 2
    assert "Is a directory: name another --json file" in capsys.readouterr().err


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(isolate, "describe", interrupted)
    assert command.main([]) == 130


def test_too_few_samples_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--samples", "3"])
    assert "use 10 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "ns.json"
    assert command.main(["--quick", "--samples", "10", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["platform"] == "cpu"
    assert all(np.isfinite(row["ms"]) for row in report["rows"])
