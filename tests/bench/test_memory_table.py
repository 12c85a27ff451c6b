from __future__ import annotations

import dataclasses
import json

import pytest

from pallas_kernels.h200 import CompiledKernels
from tests.cli.conftest import MICRO
from zipmap_jax.bench import memory_table
from zipmap_jax.bench.memory_table import MemoryConfig, MemoryResult, MemoryRow, markdown
from zipmap_jax.cli.main import main
from zipmap_jax.compilation import target as h200
from zipmap_jax.compilation.memory import ProgramMemory

GB = 10**9


def test_a_compiled_program_exceeds_its_weights(micro, tmp_path, capsys):
    argv = ["bench", "memory", "--preset", micro, "--size", "28x28", "--views", "3", "--chunk", "2"]
    assert main([*argv, "--json", "-o", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    (row,) = facts["rows"]
    program = row["program"]
    assert program["total"] == sum(
        program[part] for part in ("arguments", "outputs", "temporaries")
    )
    phases = row["phases"]
    assert list(phases) == ["encode", "mix", "decode"]
    assert program == max(phases.values(), key=lambda phase: phase["total"])
    # Depth and confidence of two chunks of two views. Three views are padded to four.
    depths = 2 * 2 * (2 * 28 * 28) * 4
    assert depths <= phases["decode"]["outputs"] < depths + 100
    tokens = 4 * (5 + 2 * 2) * MICRO.width * 4
    features = 4 * 2 * tokens
    assert features < phases["mix"]["outputs"] < features + 500  # and cameras
    assert phases["decode"]["arguments"] - phases["mix"]["arguments"] == features - tokens
    # Images of two chunks of two views.
    images = phases["encode"]["arguments"] - phases["mix"]["arguments"]
    assert images == pytest.approx(2 * 2 * 28 * 28 * 3, abs=10)  # uint8
    assert row["planned"] > 0
    assert facts["config"]["dtype"] == "fp32"
    assert err.startswith("3 views: ")
    assert json.loads((tmp_path / "memory.json").read_text()) == facts
    assert "| 3 | 2 |" in (tmp_path / "memory.md").read_text()


def test_the_memory_of_a_stream_does_not_depend_on_its_length(micro, capsys):
    config = MemoryConfig(micro, (2, 4, 6, 64), (28, 28), streaming=True, dtype="fp32", chunk=2)
    result = memory_table.memory_table(config)
    once, few, _, many = result.rows
    assert list(many.phases) == ["stream"]
    assert many.program == few.program
    assert many.planned == few.planned
    assert result.bytes_per_view() == 0
    assert once.program
    assert many.program
    # The device also holds images of the next chunk and predictions of the last one.
    images, depths = 2 * 28 * 28 * 3, 2 * (2 * 28 * 28) * 4
    assert many.program.arguments - once.program.arguments == images
    cameras = 2 * (16 + 9) * 4
    assert depths + cameras <= once.program.outputs < depths + cameras + 128
    assert many.program.outputs == 2 * once.program.outputs
    text = markdown(result)
    assert ", streaming, 28x28, fp32" in text
    assert "Each view adds 0.0 MB." in text
    argv = ["bench", "memory", "--preset", micro, "--streaming", "--mixer", "attention"]
    assert main(argv) == 2
    assert "no state to stream into" in capsys.readouterr().err


def example_result() -> MemoryResult:
    sizes = {v: ProgramMemory(GB, 0, v * GB // 10, GB + v * GB // 10) for v in (32, 64, 320)}
    rows = [
        MemoryRow(v, 16, size, GB, 1.0, phases={"mix": ProgramMemory(1, 1, 1, 3), "decode": size})
        for v, size in sizes.items()
    ]
    rows += [
        MemoryRow(1, None, ProgramMemory(GB, 0, 0, GB), GB, 1.0),
        MemoryRow(5000, 16, None, 900 * GB, 0.0, "does not fit: no"),
    ]
    return MemoryResult(MemoryConfig(target="h200"), {"device": "x"}, 20 * GB, tuple(rows))


def test_table_and_slope():
    result = example_result()
    assert result.bytes_per_view() == pytest.approx(GB / 10)  # of calls that work in chunks
    text = markdown(result)
    assert "| 64 | 16 | decode | 1.00 | 0.00 | 6.40 | 7.40 | 1.00 | yes |" in text
    assert "| 320 | 16 | decode | 1.00 | 0.00 | 32.00 | 33.00 | 1.00 | no |" in text
    assert "| 5000 | 16 | does not fit: no |  |  |  |  | 900.00 | no |" in text
    assert "Each view adds 100.0 MB." in text
    assert "registers" not in text
    kernels = CompiledKernels(3, 128, 256, 15, 168, 0, 0, 2_500_000)
    text = markdown(dataclasses.replace(result, kernels=kernels))
    assert "(3x128x256, five steps): 15 launches, at most 168 registers a thread, 0 bytes" in text
    assert "2.5 MB of temporaries" in text


@pytest.mark.parametrize("broken", [False, True])
def test_kernels_that_do_not_compile_do_not_affect_rows(micro, monkeypatch, broken):
    def kernels(batch, rows, columns):
        if broken:
            raise RuntimeError("no ptxas")
        return CompiledKernels(batch, rows, columns, 15, 168, 0, 0, 1)

    monkeypatch.setattr(h200, "h200_sharding", lambda: None)
    monkeypatch.setattr(memory_table, "compiled_kernels", kernels)
    monkeypatch.setattr(h200, "compile_for", lambda *_: None)
    monkeypatch.setattr(memory_table, "program_memory", lambda compiled: ProgramMemory(1, 2, 3, 6))
    seen = []
    config = MemoryConfig(micro, (1,), (28, 28), dtype="fp32", target="h200")
    result = memory_table.memory_table(config, seen.append)
    assert seen[-1] == result
    assert len(result.rows) == 1
    if broken:
        assert result.kernels is None
        assert result.notes == ("Registers and spills of the kernels are unknown: no ptxas.",)
    else:
        assert result.kernels == CompiledKernels(3, MICRO.width, 2 * MICRO.width, 15, 168, 0, 0, 1)


def test_a_program_too_large_to_compile_is_a_row(micro, monkeypatch):
    def full(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: too big\nmore")

    monkeypatch.setattr(h200, "compile_for", full)
    seen = []
    memory_table.memory_table(MemoryConfig(micro, (1, 2), (28, 28), dtype="fp32"), seen.append)
    missing = [row.missing for row in seen[-1].rows]
    assert missing == ["does not fit: RESOURCE_EXHAUSTED: too big"] * 2
    assert len(seen) == 2


def test_compiling_for_an_h200_needs_packages(monkeypatch):
    monkeypatch.setattr(h200, "_installed", lambda module: False)
    monkeypatch.setattr(h200.shutil, "which", lambda name: None)
    monkeypatch.setattr(h200, "package_folders", lambda package: [])
    with pytest.raises(ValueError, match=r"jax-cuda13-plugin and nvidia-cuda-nvcc .*\[cuda\]"):
        h200.h200_sharding()


def test_attention_for_another_device(monkeypatch):
    from zipmap_jax.nn.config import BF16, FP32

    def attention(policy, target, cudnn):
        monkeypatch.setattr(h200, "has_cudnn", lambda: cudnn)
        policy, notes = memory_table._attention(policy, target)
        return policy.attention, bool(notes)

    assert attention(BF16, "h200", True) == ("cudnn", False)
    assert attention(BF16, "h200", False) == ("xla", True)
    assert attention(FP32, "h200", True) == ("xla", False)
    assert attention(BF16, "here", True) == ("auto", False)


def test_errors(micro, capsys):
    for argv, sentence in (
        (["--chunk", "0"], "--chunk must be at least 1, got 0: leave it out"),
        (["--heads", "x"], "unknown heads x"),
        (["--preset", "huge"], "unknown preset"),
    ):
        assert main(["bench", "memory", "--preset", micro, *argv]) == 2
        assert sentence in capsys.readouterr().err


def test_rows_have_the_estimate_of_the_plan(monkeypatch, micro):
    monkeypatch.setattr(h200, "compile_for", lambda *_: None)
    monkeypatch.setattr(memory_table, "program_memory", lambda compiled: ProgramMemory(1, 2, 3, 6))
    config = MemoryConfig(micro, (8, 16, 32), (28, 28), dtype="fp32", chunk=4)
    planned = [row.planned for row in memory_table.memory_table(config).rows]
    assert planned[2] - planned[1] == 2 * (planned[1] - planned[0]) > 0
    larger = dataclasses.replace(config, size=(56, 56))
    assert memory_table.memory_table(larger).rows[0].planned > planned[0]
