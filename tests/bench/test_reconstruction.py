"""Reconstructions from host to host: measured, skipped and resumed rows."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests.cli.conftest import MICRO
from tools.gpu_suite import items as suite_items
from tools.gpu_suite.suite import SuiteConfig
from zipmap_jax.bench import reconstruction
from zipmap_jax.bench.reconstruction import (
    VIEWS,
    numbers_of_views,
    random_views,
    reconstructions,
)
from zipmap_jax.bench.runtime import OUT_OF_TIME
from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import FP32

SIZE = (28, 28)


@pytest.fixture
def same_settings(monkeypatch):
    """Keep the settings of JAX, which an item changes for its process."""
    monkeypatch.setattr(jax.config, "update", lambda name, value: None)


@pytest.mark.usefixtures("same_settings")
def test_a_rehearsal_from_host_to_host(tmp_path):
    """3 views, padded to 4, and 4 views, which share the compiled programs."""
    config = SuiteConfig(tmp_path, preset="tiny", size=(56, 56), views=(4, 3))
    suite_items.run_item("reconstruction", config, 600)
    facts = json.loads((tmp_path / "reconstruction.json").read_text())
    assert facts["complete"]
    assert (facts["preset"], facts["size"], facts["dtype"]) == ("tiny", [56, 56], "fp32")
    assert [row["views"] for row in facts["rows"]] == [3, 4]
    for row in facts["rows"]:
        assert row["missing"] == ""
        assert row["fits"]
        assert row["program_views"] == 4
        assert row["planned_bytes"] > 1e6
        assert row["compile_seconds"] > row["seconds"] > 0
        assert row["first_seconds"] > 0
        assert row["calls"] == 2
        assert row["peak_bytes"] is None  # the CPU has no such allocator


@pytest.fixture(scope="module")
def shapes():
    return jax.eval_shape(ZipMap(MICRO).init, jax.random.key(0))


@pytest.fixture
def weightless(shapes, monkeypatch):
    """Replace parameters by their shapes, as nothing is run."""
    monkeypatch.setattr(reconstruction, "random_params", lambda model: shapes)


@pytest.fixture
def measured_views(weightless, monkeypatch):
    """Measured numbers of views; compiling takes 10 s, a call 1 s per view."""
    views = []

    def measured(row, model, params, bucket, left):
        views.append(row.views)
        seconds = float(row.program_views)
        return dataclasses.replace(row, compile_seconds=10.0, first_seconds=seconds, calls=0)

    monkeypatch.setattr(reconstruction, "_measured", measured)
    return views


def rows(micro, views, left=lambda: 1e9):
    model = ZipMap(preset(micro, "offline"), FP32)
    return list(reconstructions(model, SIZE, views, left))


def test_rows_that_would_take_too_long_are_left_to_the_next_command(
    micro, measured_views, tmp_path
):
    config = SuiteConfig(tmp_path, preset=micro, size=SIZE, views=(16, 2, 8, 4, 32))
    file = config.file("reconstruction")
    # After 4 views, 8 need 10 s to compile and 8 s for a call.
    for seconds, done in ((15, [2, 4]), (1000, [2, 4, 8, 16])):
        written = []

        def save(facts, written=written):
            written.append(len(facts["rows"]))
            file.write_text(json.dumps(facts))

        suite_items._reconstruction(config, save, lambda seconds=seconds: seconds)
        facts = json.loads(file.read_text())
        assert [row["views"] for row in facts["rows"]] == [2, 4, 8, 16]
        assert [row["views"] for row in facts["rows"] if not row["missing"]] == done
        assert {row["missing"] for row in facts["rows"]} <= {"", OUT_OF_TIME}
        assert facts["complete"] is (done == [2, 4, 8, 16])
        assert written == ([0, 1, 2, 3, 4, 4] if seconds == 15 else [2, 3, 4, 4])
    assert measured_views == [2, 4, 8, 16]


def test_rows_beyond_all_memory_are_reported_and_skipped(micro, measured_views, monkeypatch):
    def free(device=None):
        return None, 600_000_000

    monkeypatch.setattr(reconstruction, "free_memory", free)
    few, many, more = rows(micro, (2, 30_000, 40_000))
    assert few.fits
    assert not few.missing
    assert not many.fits
    assert many.missing.startswith("does not fit: memory for ")
    assert more.missing == "does not fit: 30000 views do not"
    assert measured_views == [2]


@pytest.mark.usefixtures("weightless")
def test_larger_rows_are_skipped_after_a_lack_of_memory(micro, monkeypatch):
    tried = []

    def measured(row, *_):
        tried.append(row.views)
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes\nstack")

    monkeypatch.setattr(reconstruction, "_measured", measured)
    first, second = rows(micro, (2, 4))
    assert first.missing == "does not fit: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"
    assert second.missing == "does not fit: 2 views do not"
    assert tried == [2]


@pytest.mark.usefixtures("weightless")
def test_other_errors_are_not_a_lack_of_memory(micro, monkeypatch):
    def measured(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(reconstruction, "_measured", measured)
    with pytest.raises(RuntimeError, match="a bug"):
        rows(micro, (2,))


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (SuiteConfig.views, VIEWS),
        ((1500, 3, 25), (25, 1500)),
        ((4, 2), (2, 4)),
        ((9, 7, 5, 3, 3, 1), (1, 3, 5, 7)),
        ((), ()),
    ],
)
def test_numbers_of_views(requested, expected):
    assert numbers_of_views(requested) == expected


def test_a_few_images_are_repeated_and_padding_is_black():
    views = random_views(Bucket(24, 4, 6), 20)
    images, valid = np.asarray(views.images), np.asarray(views.valid)
    assert images.shape == (1, 24, 4, 6, 3)
    assert valid[0].tolist() == [True] * 20 + [False] * 4
    assert np.array_equal(images[0, 8:16], images[0, :8])
    assert len(np.unique(images[0, :20], axis=0)) == 8
    assert not images[0, 20:].any()
