"""Arrays of a scene in memory and in files."""

from __future__ import annotations

import gc
import os
import platform
import signal
import subprocess
import sys
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
    assert len(list(folder.glob("*.npy"))) == 4
    assert len(store.depth) == 6
    for stored, array in zip(store.depth, ARRAYS, strict=True):
        np.testing.assert_array_equal(stored, array)
        assert stored.dtype == array.dtype
    np.testing.assert_array_equal(store.depth[-1], ARRAYS[-1])
    np.testing.assert_array_equal(store.depth[1:4:2][1], ARRAYS[3])
    assert store.depth[0] is ARRAYS[0]
    with pytest.raises(IndexError):
        store.depth[6]
    with pytest.raises(ValueError, match="read-only"):
        store.depth[5][0, 0] = 1
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_store_without_a_budget_holds_all_arrays_in_memory(tmp_path):
    store = SceneStore(parent=tmp_path)
    for array in ARRAYS:
        store.confidence.append(array)
    assert store.folder is None
    assert all(stored is array for stored, array in zip(store.confidence, ARRAYS, strict=True))
    store.close()


def test_files_are_removed_with_the_last_reference(tmp_path):
    store = SceneStore(budget=0, parent=tmp_path)
    store.depth.append(ARRAYS[0])
    depth = store.depth
    del store
    gc.collect()
    np.testing.assert_array_equal(depth[0], ARRAYS[0])
    del depth
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_names_the_file(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    store = SceneStore(budget=0, parent=tmp_path)
    store.depth.append(ARRAYS[0])
    assert store.folder
    (store.folder / "depth_000001.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*depth_000001\.npy"):
        store.depth.append(ARRAYS[0])


def test_arrays_of_any_order_and_layout(tmp_path):
    store = SceneStore(budget=0, parent=tmp_path)
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    for array in (picture[::-1, ::2], np.asfortranarray(picture), np.rot90(picture)):
        store.images.append(array)
        np.testing.assert_array_equal(store.images[-1], array)


PROCESS = """
import sys
from pathlib import Path
import numpy as np
from zipmap_jax.scene.store import SceneStore

store = SceneStore(budget=0, parent=Path(sys.argv[1]))
store.depth.append(np.zeros(3))
print(store.folder, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs the locks of POSIX systems")
def test_folder_of_a_killed_process_is_removed_by_the_next_store(tmp_path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, text=True, stdin=pipe, stdout=pipe) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        SceneStore(budget=0, parent=tmp_path)
        assert (folder / "depth_000000.npy").exists()  # the process is running
        process.send_signal(signal.SIGKILL)
    assert folder.exists()
    other_host = tmp_path / f".zipmap-not-{platform.node()}-1-a.scene"
    other_host.mkdir()
    (other_host / "lock").touch()
    own = SceneStore(budget=0, parent=tmp_path)
    own.depth.append(ARRAYS[0])
    assert not folder.exists()
    SceneStore(budget=0, parent=tmp_path)
    np.testing.assert_array_equal(own.depth[0], ARRAYS[0])
    assert other_host.exists()
