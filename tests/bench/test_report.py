from __future__ import annotations

import functools
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from zipmap_jax.bench.matmul import MatmulPeak, matmul_peak
from zipmap_jax.bench.plot import plot
from zipmap_jax.bench.report import markdown, write_result
from zipmap_jax.bench.runtime import Effort, RuntimeRow, planned_bytes
from zipmap_jax.bench.series import RuntimeConfig, RuntimeResult, run
from zipmap_jax.bench.task import Task
from zipmap_jax.compilation.memory import ProgramMemory
from zipmap_jax.nn.config import FP32


def example_result(preset: str = "large", size: tuple[int, int] = (392, 518)) -> RuntimeResult:
    rows = [
        RuntimeRow("fast_weights", v, 16, "", 0.1 + 0.01 * v, 0.1, 9.0, 10, 3.0, 10**9 * v)
        for v in (50, 5, 750)
    ]
    rows += [
        RuntimeRow("attention", 5, None, "", 0.3, 0.3, 0.3, 1),
        RuntimeRow("attention", 50, missing="no"),
    ]
    config = RuntimeConfig(preset, (50, 5, 750), size, dtype="bf16")
    peak = MatmulPeak(7e14, 8192, "bfloat16", "default")
    return RuntimeResult(config, {"device": "H<200"}, peak, tuple(rows), ("A note.",))


def test_fits_and_ratios():
    facts = example_result().as_dict()
    assert facts["fits"]["fast_weights"] == pytest.approx(
        {"intercept": 0.1, "slope": 0.01, "r2": 1.0}
    )
    assert "attention" not in facts["fits"]
    assert facts["attention_over_fast_weights"] == pytest.approx({5: 2.0})


def test_bytes_per_view_compare_calls_with_equal_chunks():
    compiled = functools.partial(ProgramMemory, 0, 0, 0)
    sizes = {4: (None, 50, 60), 16: (16, 90, 80), 32: (16, 170, 240), 64: (32, 900, 900)}
    rows = tuple(
        RuntimeRow(
            "x", v, chunk, "", 0.1 * v, 0.1, 9.0, 1, program=compiled(total), planned_bytes=planned
        )
        for v, (chunk, total, planned) in sizes.items()
    )
    result = RuntimeResult(RuntimeConfig("small", tuple(sizes), (56, 56)), {}, None, rows)
    expected = {"few": 16, "many": 32, "program": 5.0, "planned": 10.0}
    assert result.as_dict()["bytes_per_view"] == {"x": expected}
    assert "From 16 to 32 views the compiled program grows by" in markdown(result)
    assert example_result().as_dict()["bytes_per_view"] == {}


def test_the_estimate_grows_like_the_measured_programs():
    """Bytes per view of `docs/results/cpu-small-runtime.json`, compiled and estimated."""
    file = Path(__file__).parents[2] / "docs/results/cpu-small-runtime.json"
    rows = {row["views"]: row for row in json.loads(file.read_text("utf-8"))["rows"]}
    compiled = rows[64]["program"]["total"] - rows[32]["program"]["total"]
    planned = {
        views: planned_bytes(Task("small", FP32, (224, 224), views, chunk=16)) for views in (32, 64)
    }
    assert planned[64] - planned[32] == pytest.approx(compiled, rel=0.02)


def test_markdown_has_every_row_and_the_published_seconds():
    text = markdown(example_result())
    assert "| 5 | 16 | 0.15 | 0.1 to 9 (10) | 3.0 |" in text
    assert "| 50 | all | no |" in text
    assert text.index("| 5 | 16") < text.index("| 50 | 16") < text.index("| 750 | 16")
    assert "seconds = 0.1 + 0.01 views, R² 1.0000" in text
    assert "as long as fast weights: 2.00 at 5 views" in text
    assert "| ZipMap | 0.125 | 0.712 |" in text
    assert "| this run | 0.15 | 0.6 |" in text
    assert text.endswith("A note.\n")


def test_published_seconds_belong_to_one_size():
    assert "Published" not in markdown(example_result("small"))
    assert "published" not in plot(example_result(size=(518, 518)))


def test_the_plot_is_well_formed_and_has_every_curve():
    tree = ElementTree.fromstring(plot(example_result()))
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in tree.iter(space + "text")]
    assert {"fast_weights", "ZipMap (published)", "VGGT (published)"} <= set(texts)
    assert "attention" not in texts  # one point is no curve
    assert "large, 392x518, bf16, H<200" in texts
    # A result without rows.
    ElementTree.fromstring(plot(RuntimeResult(RuntimeConfig("tiny"), {}, None)))


def test_without_matplotlib_the_other_files_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.warns(UserWarning, match=r"runtime\.svg is not written: .*zipmap-jax\[plot\]"):
        write_result(example_result(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runtime.json", "runtime.md"]


def test_matmul_peak_has_the_requested_size():
    peak = matmul_peak("float32", "highest", side=64)
    assert (peak.side, peak.dtype, peak.precision) == (64, "float32", "highest")
    assert peak.flops > 0


def test_the_callback_receives_the_result_after_every_row(tmp_path, monkeypatch):
    from zipmap_jax.bench import series

    monkeypatch.setattr(series, "matmul_peak", lambda *_: None)
    monkeypatch.setattr(
        series,
        "measure",
        lambda name, tasks, *_: (RuntimeRow(name, t.views, t.chunk) for t in tasks),
    )
    mixers = ("fast_weights", "attention")
    config = RuntimeConfig("tiny", (20, 2), (56, 56), mixers=mixers, streaming=True)
    row_counts = []

    def on_result(result: RuntimeResult) -> None:
        write_result(result, tmp_path)
        row_counts.append(len(json.loads((tmp_path / "runtime.json").read_text())["rows"]))

    result = run(config, Effort(), on_result, rows=[RuntimeRow("torch", 2)])
    assert row_counts == [1, 2, 3, 4, 5, 6]
    assert [(r.series, r.views, r.chunk) for r in result.rows] == [
        ("torch", 2, None),
        ("streaming", 1, None),
        ("fast_weights", 20, 10),
        ("fast_weights", 2, None),
        ("attention", 20, 10),
        ("attention", 2, None),
    ]
