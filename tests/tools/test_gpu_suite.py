"""The GPU suite: limits, failures, resuming; and its smallest items."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from tools.gpu_suite import suite
from tools.gpu_suite.__main__ import main
from tools.gpu_suite.suite import Item, SuiteConfig, run_suite

# Stand-in for an item's process: "good" writes its file, "bad" fails, "slow" hangs before the end.
CHILD = """
import json, pathlib, sys, time
out, name = pathlib.Path(sys.argv[1]), sys.argv[3]
def write(complete):
    (out / f"{name}.json").write_text(json.dumps({"complete": complete, "argv": sys.argv[2:]}))
if name == "good":
    write(True)
if name == "bad":
    sys.exit("this went wrong")
if name == "slow":
    write(False)
    time.sleep(30)
if name == "partial":
    write(False)
"""


@pytest.fixture(autouse=True)
def settings_of_jax(monkeypatch):
    """Restore the settings of JAX, which an item changes for its process."""
    monkeypatch.setenv("ZIPMAP_NO_CACHE", "1")
    before = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    yield
    jax.config.update("jax_enable_compilation_cache", before)


@pytest.fixture
def run_items(tmp_path, monkeypatch):
    """Function that runs a suite of stand-ins and returns its result and summary."""
    items = {name: Item(60) for name in ("good", "bad", "partial")}
    items |= {"slow": Item(0.5), "theirs": Item(60, ("-c", "open('{out}', 'w').write('[1]')"))}
    items["absent"] = Item(60, needs="zipmap_jax.no_such_part")
    monkeypatch.setattr(suite, "ITEMS", items)
    monkeypatch.setattr(suite, "_GRACE", 0.5)
    monkeypatch.setattr(suite, "_MIN_SECONDS", 0.5)

    def run(*names: str, minutes: float = 5.0):
        config = SuiteConfig(tmp_path, minutes, items=names)
        child = (sys.executable, "-c", CHILD, str(tmp_path))
        done = run_suite(config, child, lambda line: None)
        return done, json.loads((tmp_path / "suite.json").read_text())

    return run


def test_every_item_runs_whatever_the_others_do(run_items, tmp_path):
    done, summary = run_items("bad", "slow", "absent", "partial", "theirs", "good")
    assert not done
    status = {name: outcome["status"] for name, outcome in summary.items()}
    assert status["bad"] == "failed with exit code 1"
    assert summary["bad"]["log"] == ["this went wrong"]
    assert status["slow"] == "stopped after 1 s, the limit"
    assert status["absent"] == "skipped: this tree has no zipmap_jax.no_such_part"
    assert status["partial"].startswith("stopped at the time limit")
    assert status["theirs"] == status["good"] == "done"
    argv = json.loads((tmp_path / "good.json").read_text())["argv"]
    assert argv == ["--only", "good", "--seconds", "60"]


def test_complete_items_are_not_repeated(run_items, tmp_path):
    assert run_items("good", "theirs")[0]
    before = (tmp_path / "good.json").stat().st_mtime_ns
    done, summary = run_items("good", "theirs")
    assert done
    assert {outcome["status"] for outcome in summary.values()} == {"done before"}
    assert (tmp_path / "good.json").stat().st_mtime_ns == before


def test_the_folder_of_a_rehearsal_is_an_error(run_items, tmp_path):
    run_items("good")
    config = SuiteConfig(tmp_path, preset="tiny", items=("good",))
    with pytest.raises(ValueError, match=r"holds measurements of .*large.*: choose another folder"):
        run_suite(config, (sys.executable,), lambda line: None)


def test_child_processes_end_with_their_item(run_items, tmp_path, monkeypatch):
    """A child that outlives its parent would hold the memory of the device."""
    mark = tmp_path / "still-here"
    child = f"import time, pathlib; time.sleep(4); pathlib.Path({str(mark)!r}).touch()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    monkeypatch.setattr(suite, "ITEMS", {"parent": Item(1.0, ("-c", parent.replace("{", "{{")))})
    done, summary = run_items("parent")
    assert not done
    assert summary["parent"]["status"] == "stopped after 2 s, the limit"
    time.sleep(4)
    assert not mark.exists()


def test_no_item_starts_when_time_is_up(run_items):
    done, summary = run_items("good", minutes=0.01)
    assert not done
    assert summary["good"]["status"] == "skipped: no time left"


def test_the_runtime_resumes(tmp_path, monkeypatch):
    from tools.gpu_suite import items as suite_items
    from zipmap_jax.bench.runtime import OUT_OF_TIME, RuntimeRow
    from zipmap_jax.bench.series import RuntimeResult

    requests = []

    def run(config, effort, on_result, rows):
        requests.append((config.views, config.streaming, config.query))
        missing = OUT_OF_TIME if len(requests) == 1 else ""
        new = [RuntimeRow("fast_weights", v, missing=missing * (v == 9)) for v in config.views]
        streamed = [RuntimeRow("streaming", 1)] * config.streaming
        result = RuntimeResult(config, {}, None, (*rows, *streamed, *new))
        on_result(result)
        return result

    monkeypatch.setattr(suite_items, "run", run)
    config = SuiteConfig(tmp_path, preset="tiny", size=(56, 56), views=(5, 9))
    for complete in (False, True):
        suite_items.run_item("runtime", config, 60)
        facts = json.loads((tmp_path / "runtime.json").read_text())
        assert facts["complete"] is complete
    assert requests == [((5, 9), True, True), ((9,), False, True)]
    rows = {(row["series"], row["views"]): row["missing"] for row in facts["rows"]}
    assert rows == {("streaming", 1): "", ("fast_weights", 5): "", ("fast_weights", 9): ""}


@pytest.mark.parametrize(
    ("item", "module", "function"),
    [
        ("attention", "tools.gpu_suite.items", "probe"),
        ("goldens", "tools.gpu_suite.items", "_golden"),
        ("training", "zipmap_jax.bench.training", "_rate"),
    ],
)
def test_a_second_command_measures_the_missing_results(
    item, module, function, tmp_path, monkeypatch
):
    from tools.gpu_suite import items as suite_items

    now, calls = [0.0], []

    def measure(*args):
        calls.append(str(args))
        now[0] += 10
        return {"number": len(calls)}

    monkeypatch.setattr(f"{module}.{function}", measure)
    monkeypatch.setattr(suite_items, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for letter in "abcd":
        (tmp_path / f"unit_{letter}.npz").touch()
    config = SuiteConfig(tmp_path, golden=tmp_path)
    for seconds, complete in ((25, False), (1000, True), (1000, True)):
        suite_items.run_item(item, config, seconds)
        facts = json.loads((tmp_path / f"{item}.json").read_text())
        assert facts.pop("complete") is complete
        if not complete:
            assert len(calls) == 3
    assert len(calls) == len(set(calls)) == len(facts) > 3
    assert sorted(fact["number"] for fact in facts.values()) == list(range(1, len(facts) + 1))


def test_a_killed_item_is_not_complete(tmp_path, monkeypatch):
    from tools.gpu_suite import items as suite_items

    calls = []

    def probe(tokens, backward):
        calls.append((tokens, backward))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(suite_items, "probe", probe)
    config = SuiteConfig(tmp_path, items=("attention",))
    with pytest.raises(KeyboardInterrupt):
        suite_items.run_item("attention", config, 60)
    assert not suite._is_complete(tmp_path / "attention.json")
    suite_items.run_item("attention", config, 60)
    assert calls[1:] == [(1041, True), (1041, True), (1374, False), (1374, True)]
    assert suite._is_complete(tmp_path / "attention.json")


def test_items_that_report_compilation_times_use_no_cache(tmp_path, monkeypatch):
    from tools.gpu_suite import items as suite_items

    cached = []

    def enable():
        cached.append(True)

    def item(config, save, left):
        off = not jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
        uses[name] = (len(cached) == 1, off)

    uses = {}
    monkeypatch.setattr(suite_items, "enable_compilation_cache", enable)
    for name in suite_items._FUNCTIONS:
        monkeypatch.setitem(suite_items._FUNCTIONS, name, item)
        jax.config.update("jax_enable_compilation_cache", True)
        cached.clear()
        suite_items.run_item(name, SuiteConfig(tmp_path), 60)
    with_cache = {name for name, use in uses.items() if use == (True, False)}
    without = {name for name, use in uses.items() if use == (False, True)}
    assert with_cache == {"machine", "attention", "goldens"}
    assert without == {"runtime", "reconstruction", "training"}


def test_kernels_resume_with_their_file(tmp_path):
    """The benchmark parses the options of the suite."""
    from pallas_kernels.bench import __main__ as bench

    command = [
        part.format(out=str(tmp_path / "kernels.json"), seconds=150)
        for part in suite.ITEMS["kernels"].command
    ]
    assert command[:2] == ["-m", "pallas_kernels.bench"]
    options = bench._options(bench._parser(), command[2:])
    assert (options.resume, options.seconds) == (True, 150.0)
    assert options.json == SuiteConfig(tmp_path).file("kernels")


def test_goldens_are_compared_despite_a_broken_file(tmp_path):
    from tools.gpu_suite import items as suite_items

    golden = tmp_path / "golden"
    golden.mkdir()
    source = Path(__file__).parents[1] / "golden"
    for name in ("unit_rope2d.npz", "manifest.json"):
        (golden / name).symlink_to(source / name)
    (golden / "unit_broken.npz").write_bytes(b"no archive")
    config = SuiteConfig(tmp_path, golden=golden)
    suite_items.run_item("goldens", config, 60)
    facts = json.loads((tmp_path / "goldens.json").read_text())
    assert facts["complete"]
    assert facts["unit_rope2d.npz, fp32"]["beyond tolerance"] == []
    assert facts["unit_rope2d.npz, fp32"]["tensors"] > 0
    assert "not a readable .npz file" in facts["unit_broken.npz, fp32"]["failed"]


def test_the_attention_probe_reports_errors():
    from tools.gpu_suite.attention_probe import probe

    for backward in (False, True):
        facts = probe(21, backward)
        assert "cuDNN" in facts["cudnn"]["failed"]
        assert 0 < facts["xla"]["relative_l2"] < 1e-2


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--items", "machine,lunch"], "unknown items lunch: choose from machine"),
        (["--minutes", "0"], "--minutes must be positive"),
        (["--size", "392"], "HEIGHTxWIDTH"),
        (["--views", "5,x"], "whole numbers"),
    ],
)
def test_errors_are_one_sentence(tmp_path, argv, sentence, capsys):
    assert main(["-o", str(tmp_path), *argv]) == 2
    assert sentence in capsys.readouterr().err


def test_batch_shapes_without_time_are_left_to_the_next_command(tmp_path, monkeypatch):
    from tools.gpu_suite import items as suite_items

    def rates(name, left, skip):
        assert name == "tiny_procedural"
        assert skip == (() if left() < 30 else ("4 views",))
        if left() < 30:
            yield "4 views", {"steps_per_second": 2.0}
            yield "8 views", {"missing": "no time left"}

    monkeypatch.setattr(suite_items, "training_rates", rates)
    for seconds, complete in ((20, False), (60, True)):
        suite_items.run_item("training", SuiteConfig(tmp_path), seconds)
        assert json.loads((tmp_path / "training.json").read_text())["complete"] is complete


def test_training_is_timed_for_each_batch_shape(monkeypatch):
    from zipmap_jax.bench import training

    def rate(config, steps):
        (bucket,) = config.data.buckets
        assert (bucket.start, bucket.end) == (0.0, 1.0)
        return {"steps": steps}

    monkeypatch.setattr(training, "_rate", rate)
    left = iter([10.0, 10.0, 0.0, 0.0])
    rates = dict(training.training_rates("tiny_procedural", lambda: next(left), steps=7))
    assert rates["4 x 8 views of 56x56"] == {"steps": 7}
    assert [value.get("missing", "") for value in rates.values()][-2:] == ["no time left"] * 2
