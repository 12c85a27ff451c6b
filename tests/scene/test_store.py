"""Arrays of a scene in memory and in files."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest

from zipmap_jax.scene.store import SceneStore

ARRAYS = [np.random.default_rng(i).random((4, 5 + i % 2), np.float32) for i in range(6)]


def test_arrays_beyond_the_budget_become_files(tmp_path):
    store = SceneStore(budget=3 * 80, parent=tmp_path)
    for array in ARRAYS[:2]:
        store.depth.append(array)
    assert store.folder is None
    assert list(tmp_path.iterdir()) == []
    for array in ARRAYS[2:]:
        store.depth.append(array)
    store.images.append(np.arange(6, dtype=np.uint8))
    folder = store.folder
    assert folder is not None
    assert folder.parent == tmp_path
    assert len(list(folder.iterdir())) == 4
    assert len(store.depth) == 6
    for found, array in zip(store.depth, ARRAYS, strict=True):
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    np.testing.assert_array_equal(store.depth[-1], ARRAYS[-1])
    np.testing.assert_array_equal(store.depth[1:4:2][1], ARRAYS[3])
    assert store.depth[0] is ARRAYS[0]
    with pytest.raises(IndexError):
        store.depth[6]
    with pytest.raises(ValueError, match="read-only"):
        store.depth[5][0, 0] = 1
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_budget_all_stay_in_memory(tmp_path):
    store = SceneStore(parent=tmp_path)
    for array in ARRAYS:
        store.confidence.append(array)
    assert store.folder is None
    assert all(found is array for found, array in zip(store.confidence, ARRAYS, strict=True))
    store.close()


def test_files_go_with_the_last_reference(tmp_path):
    store = SceneStore(budget=0, parent=tmp_path)
    store.depth.append(ARRAYS[0])
    depth = store.depth
    del store
    gc.collect()
    np.testing.assert_array_equal(depth[0], ARRAYS[0])
    del depth
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(monkeypatch, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **options: str(tmp_path))
    store = SceneStore(budget=0)
    (tmp_path / "depth_000000.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*depth_000000\.npy"):
        store.depth.append(ARRAYS[0])


def test_arrays_of_any_order_and_layout(tmp_path):
    store = SceneStore(budget=0, parent=tmp_path)
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    for array in (picture[::-1, ::2], np.asfortranarray(picture), np.rot90(picture)):
        store.images.append(array)
        np.testing.assert_array_equal(store.images[-1], array)
