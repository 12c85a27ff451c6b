from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import pytest

from zipmap_jax.bench.memory_table import MemoryConfig, memory_table
from zipmap_jax.bench.task import Task
from zipmap_jax.inference.memory import (
    RESULTS_IN_MEMORY,
    _free_host,
    automatic_chunk,
    chunk_candidates,
    device_bytes,
    estimate_memory,
    free_before_loading,
    free_memory,
    host_bytes,
    memory_remedy,
    results_in_memory,
    workload_of,
)
from zipmap_jax.models.api import Workload
from zipmap_jax.models.memory import call_span_chunk
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import BF16, Policy

GB = 10**9
ROOT = Path(__file__).parents[2]


def workload(views=64, chunk: int | None = 16, size="small", variant="offline", **changes):
    w = Workload(ZipMap(preset(size, variant)), 0, ((480, 640),) * views, (392, 518), chunk)
    return dataclasses.replace(w, **changes)


@pytest.mark.parametrize(
    ("views", "chunk", "reported"),
    # `zipmap bench memory`, fp32 on a CPU, without weights (bytes, jax 0.11).
    [(4, None, 1365e6), (16, 4, 1525e6), (64, 16, 6099e6)],
)
def test_device_estimate_is_close_to_the_compilers(views, chunk, reported):
    assert 0.8 * reported < device_bytes(workload(views, chunk)) < 1.35 * reported


@pytest.mark.parametrize(
    ("size", "reported"),
    # At 16 and at 32 views, 8 at a time (bytes, CPU, jax 0.11): the heads' program.
    [((112, 112), (1059180320, 1072746272)), ((224, 224), (1586188064, 1637502752))],
)
def test_bytes_per_view_equal_the_compilers(size, reported):
    few, many = (
        device_bytes(workload(views, 8, original_sizes=(size,) * views, network_size=size))
        for views in (16, 32)
    )
    assert many - few == pytest.approx(reported[1] - reported[0], rel=1e-4)


def test_plan_of_many_small_views_counts_tokens_and_cameras():
    """The scores among the camera tokens of 1024 views are the largest part."""

    def planned(views):
        sizes = {"original_sizes": ((28, 28),) * views, "network_size": (28, 28)}
        return device_bytes(workload(views, 1, "tiny", **sizes))

    reported = {512: 31821656, 1024: 80402776}  # without weights (CPU, jax 0.11)
    for views, amount in reported.items():
        assert 1 < planned(views) / amount < 1.1
    assert planned(64) - planned(32) == 32 * (9 * 128 * 4 + 4 * 9 * 256 * 4)  # tokens, taps


@pytest.mark.slow
def test_bytes_per_view_equal_those_compiled_now():
    config = MemoryConfig("small", (16, 32), (112, 112), dtype="fp32", chunk=8)
    few, many = memory_table(config).rows
    assert few.program
    assert many.program
    assert many.planned - few.planned == pytest.approx(
        many.program.total - few.program.total, rel=1e-4
    )


def test_parts_of_a_plan():
    plan = workload(views=64, chunk=16, parameter_bytes=7).plan
    tokens = 28 * 37 + 5
    assert plan.weights == 7
    assert plan.images == 2 * 16 * 392 * 518 * 3 * 4  # of two chunks
    assert plan.outputs == 2 * 16 * 392 * 518 * 2 * 4
    assert plan.taps == 64 * 4 * tokens * 2 * 384 * 4
    assert plan.total == plan.weights + plan.taps + plan.heads + plan.outputs
    # With small chunks the backbone needs more than the heads.
    small = workload(64, 1, "tiny", network_size=(28, 28)).plan
    assert small.total == sum(
        (small.weights, small.taps, small.tokens, small.backbone, small.mixer)
    )
    assert workload(views=8, chunk=None).plan.images == 8 * 392 * 518 * 3 * 4
    assert plan.text.startswith("on the device, GB: images 0.08, outputs 0.05, taps")
    # A chunk that does not divide the views is padded.
    assert workload(views=65, chunk=16).plan.taps == plan.taps * 80 // 64
    # A streaming model holds the features of one chunk.
    streamed = workload(variant="streaming").plan
    assert streamed.taps == plan.taps // 4
    # Several calls hold images and predictions of two chunks, one call those of all views.
    assert streamed.images == plan.images
    assert streamed.outputs == plan.outputs
    called = workload(variant="streaming", whole=True).plan
    assert called.images == 2 * 64 * 392 * 518 * 3 * 4
    # A camera head that attends to all views needs them in one call.
    comparing = dataclasses.replace(preset("small", "streaming"), camera=preset("small").camera)
    assert workload(model=ZipMap(comparing)).plan.images == called.images
    # All views at once are not cut into chunks, as in an offline model.
    whole, offline = (workload(8, None, variant=v).plan for v in ("streaming", "offline"))
    assert whole.images == offline.images
    assert whole.taps == offline.taps
    held = (streamed.weights, streamed.images, streamed.outputs, streamed.taps, streamed.mixer)
    assert streamed.total == sum(held) + max(streamed.heads, streamed.tokens + streamed.backbone)


def test_larger_workloads_need_more_memory():
    base = workload()
    bigger = [
        workload(views=128),
        workload(chunk=32),
        workload(chunk=None),
        workload(parameter_bytes=1),
        workload(network_size=(518, 518)),
    ]
    assert all(device_bytes(w) > device_bytes(base) for w in bigger)
    assert host_bytes(workload(original_sizes=((960, 1280),) * 64)) > host_bytes(base)
    assert device_bytes(
        workload(model=ZipMap(preset("small"), Policy(taps=jnp.bfloat16)))
    ) < device_bytes(base)


@pytest.mark.parametrize(
    ("views", "chunk", "whole", "reported"),
    # The program of a streaming model without weights (bytes, fp32 on a CPU, jax 0.10): of a call
    # with a chunk, and of one with all views.
    [
        (32, 1, False, 419803733),
        (32, 8, False, 2763882956),
        (64, 8, False, 2763882956),
        (16, None, False, 5377851804),
        (32, 1, True, 505306540),
        (32, 8, True, 2792537324),
        (64, 8, True, 3000565196),
        (16, None, True, 5176725332),
    ],
)
def test_streaming_estimate_is_close_to_the_compilers(views, chunk, whole, reported):
    planned = device_bytes(workload(views, chunk, variant="streaming", whole=whole))
    assert reported < planned < (1.2 if chunk != 1 else 1.55) * reported


def test_longer_streams_need_the_same_device_memory():
    few, many = (workload(views, variant="streaming").plan for views in (64, 4096))
    assert many == few
    # Padding of the last chunk uses the same program.
    assert workload(65, variant="streaming").plan == few


def test_results_beyond_the_budget_need_no_memory():
    """Beyond the budget a stream needs one more bit per pixel."""
    assert results_in_memory(None) == results_in_memory(100 * GB) == RESULTS_IN_MEMORY
    assert results_in_memory(4000) == 1000
    few, many = (host_bytes(workload(views, variant="streaming")) for views in (1000, 3000))
    assert many - few == pytest.approx(1.1 * 2000 * 480 * 640 / 8, rel=1e-6)
    assert few < 2 * GB
    offline = host_bytes(workload(3000)) - host_bytes(workload(1000))
    network = 2000 * 392 * 518 * (2 * 3 + 4 + 4)
    assert offline - (many - few) == pytest.approx(1.1 * network, rel=1e-6)


@pytest.mark.parametrize(
    ("views", "variant", "chosen"),
    [
        (16, "offline", (None, 8, 4, 2, 1)),
        (17, "offline", (16, 8, 4, 2, 1)),
        (8, "streaming", (None, 4, 2, 1)),
        (9, "streaming", (8, 4, 2, 1)),
    ],
)
def test_chunk_candidates(views, variant, chosen):
    assert chunk_candidates(workload(views, None, variant=variant)) == chosen


def test_streaming_model_holds_one_chunk():
    streamed = workload(variant="streaming")
    assert call_span_chunk(preset("small", "streaming"), streamed)[1:] == (16, 16)
    assert streamed.live_chunk == 16
    windows = dataclasses.replace(preset("small", "streaming"), window=3)
    model = ZipMap(windows)
    assert call_span_chunk(windows, workload(model=model))[1:] == (15, 15)
    assert (*call_span_chunk(windows, workload(model=model, chunk=2))[1:],) == (3, 2)
    many = [workload(views, variant="streaming", whole=True).plan for views in (64, 128)]
    assert many[1].total - many[0].total == 64 * 392 * 518 * 4 * (
        2 * 3 + 2
    )  # of views, no features


def test_attention_among_all_views_grows_with_their_square():
    config = dataclasses.replace(preset("small"), mixer="attention")
    # Beyond linear growth: twice the scores of one head, of (28 x 37 + 5) tokens a view.
    few, some, many = (
        device_bytes(workload(views, model=ZipMap(config))) for views in (32, 64, 128)
    )
    square = 1.15 * 2 * 4 * (28 * 37 + 5) ** 2
    assert many - some - 2 * (some - few) == pytest.approx(
        square * (128**2 - 3 * 64**2 + 2 * 32**2)
    )


def test_text_and_suggestion():
    roomy = estimate_memory(workload(), free_host=100 * GB)
    assert roomy.fits
    assert not roomy.suggestion
    assert roomy.text.startswith("memory for 64 views at 518x392, 16 at a time: about ")
    assert roomy.text.endswith(" of 100.0 GB free")
    tight = estimate_memory(workload(), free_host=6 * GB)
    assert not tight.fits
    assert tight.suggestion == "use a chunk of 8 to make it fit"
    tighter = estimate_memory(workload(views=1000), free_host=6 * GB)
    assert tighter.suggestion == "use a chunk of 1 and at most 250 views to make it fit"
    assert "smaller network size" in estimate_memory(workload(), free_host=1).suggestion
    assert estimate_memory(workload(views=1), free_host=GB).text.startswith("memory for 1 view at")


def test_suggestions_fit():
    for free in (5 * GB, 6 * GB, 7 * GB):
        tight = estimate_memory(workload(), free_host=free)
        assert not tight.fits
        chunk = int(tight.suggestion.split("chunk of ")[1].split()[0])
        assert estimate_memory(workload(chunk=chunk), free_host=free).fits


def test_memory_of_an_accelerator_is_separate():
    w = workload()
    assert estimate_memory(w, free_device=20 * GB, free_host=3 * GB).fits
    assert not estimate_memory(w, free_device=2 * GB, free_host=99 * GB).fits
    assert not estimate_memory(w, free_device=20 * GB, free_host=GB // 10).fits
    text = estimate_memory(w, free_device=20 * GB, free_host=3 * GB).text
    assert "of 20.0 GB free on the device" in text
    assert "of 3.0 GB free on the host" in text


def test_estimate_is_hopeless_beyond_its_uncertainty():
    peak = estimate_memory(workload(), free_host=100 * GB)
    total = peak.device_bytes + peak.host_bytes
    for share, hopeless in ((1.1, False), (0.9, False), (0.6, True)):
        assert estimate_memory(workload(), free_host=int(share * total)).hopeless is hopeless
    # An accelerator raises an error when it is full.
    assert not estimate_memory(workload(), free_device=1, free_host=100 * GB).hopeless
    assert not estimate_memory(workload()).hopeless


def test_cached_files_count_as_free_memory(tmp_path):
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    64000 kB\n")
    (group / "memory.max").write_text("16000000\n")
    (group / "memory.current").write_text("15000000\n")
    (group / "memory.stat").write_text("anon 4\ninactive_file 8000000\nactive_file 1000000\n")
    assert _free_host(tmp_path) == 10_000_000
    (group / "memory.max").write_text("max\n")
    assert _free_host(tmp_path) == 64_000 * 1024


def test_unknown_memory_fits():
    estimate = estimate_memory(workload())
    assert estimate.fits
    assert "an unknown amount free" in estimate.text


def test_automatic_chunk():
    assert automatic_chunk(workload(views=16), None, 100 * GB) is None
    assert automatic_chunk(workload(views=17), None, 100 * GB) == 16
    assert automatic_chunk(workload(), None, 6 * GB) == 8
    assert automatic_chunk(workload(), None, 1) == 1


def test_memory_remedy():
    assert memory_remedy(workload(chunk=16)) == "use a chunk of 8 (now 16)"
    assert memory_remedy(workload(views=10, chunk=1)) == "use at most 5 views (now 10)"
    assert memory_remedy(workload(views=1)) == "use a network size below 518"


class Accelerator:
    platform = "gpu"

    def __init__(self, stats):
        self.memory_stats = lambda: stats


def test_free_memory():
    device, host = free_memory()
    assert device is None
    assert host is None or host > 0
    free, _ = free_memory(Accelerator({"bytes_limit": 100, "bytes_in_use": 30}))
    assert free == 70
    assert free_memory(Accelerator(None))[0] is None


def test_workload_of(echo):
    model = echo()
    w = workload_of(model.model, model.params, [(3, 4)], (32, 32), 2)
    assert (w.parameter_bytes, w.views, w.chunk) == (24, 1, 2)


def test_free_memory_before_loading_the_parameters():
    params = {"w": jnp.zeros((256, 4))}
    assert free_before_loading((10_000, 500), params) == (10_000 + 4096, 500)
    assert free_before_loading((None, 500), params) == (None, 500 + 4096)
    assert free_before_loading((None, None), params) == (None, None)


def test_plan_for_a_gpu_is_close_to_its_compilers():
    """Compares with docs/results/h200-memory.json of `zipmap bench memory --target h200`."""
    recorded = json.loads((ROOT / "docs/results/h200-memory.json").read_text())
    size = tuple(recorded["config"]["size"])
    rows = [row for row in recorded["rows"] if row["views"] >= 750]
    assert len(rows) == 4
    excess = []
    for row in rows:
        task = Task("large", BF16, size, views=row["views"], chunk=row["chunk"])
        sizes, params = [size] * row["views"], task.shapes[0]
        planned = device_bytes(
            workload_of(task.model, params, sizes, size, row["chunk"], platform="cuda")
        )
        assert 1 < planned / row["program"]["total"] < 1.15
        excess.append(planned - row["program"]["total"])
    # The excess is temporaries of a chunk, which do not grow.
    assert max(excess) - min(excess) < 0.02 * rows[-1]["program"]["total"]
