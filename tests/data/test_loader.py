"""The loader: one stream for any readers, resumable at any step; broken files are counted."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.data.posed import SHAPES, STEPS, break_frame, open_recording, write_scene
from zipmap_jax.data.config import BatchShape, CropConfig, DataConfig, SourceConfig
from zipmap_jax.data.open import open_loader

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes; a frame of the second is broken."""
    root = tmp_path_factory.mktemp("recording")
    for number in range(3):
        write_scene(root / f"scene{number}", number, 6 + number)
    break_frame(root / "scene1", 4)
    return root


def read(root: Path, **options: int) -> list[dict[str, np.ndarray]]:
    with open_recording(root, **options) as batches:
        return [{name: np.array(array) for name, array in batch.items()} for batch in batches]


@pytest.fixture(scope="module")
def stream(recording: Path) -> list[dict[str, np.ndarray]]:
    return read(recording)


def assert_same(a: list[dict[str, np.ndarray]], b: list[dict[str, np.ndarray]]) -> None:
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])


def test_batches_have_the_shape_of_their_step(stream: list[dict[str, np.ndarray]]) -> None:
    assert len(stream) == STEPS
    for step, batch in enumerate(stream):
        shape = SHAPES[step % 2]
        # Of 2 input views and 2 targets, one view is both.
        lead = (4 * shape.batch, 3)
        assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
            "images": ((*lead, shape.height, shape.width, 3), np.uint8),
            "depth": ((*lead, shape.height, shape.width), np.float32),
            "intrinsics": ((*lead, 3, 3), np.float32),
            "w2c": ((*lead, 4, 4), np.float32),
            "ids": (lead, np.int32),
            "source": (lead[:1], np.int32),
            "sequence": (lead[:1], np.int32),
        }


def test_views_of_a_batch_belong_together(stream: list[dict[str, np.ndarray]]) -> None:
    middle = stream[0]["images"][:, :, 7, 14].astype(int)
    assert (middle[..., 0] == 40 * stream[0]["sequence"][:, None]).all()
    assert (middle[..., 1] == 5 * stream[0]["ids"]).all()
    np.testing.assert_allclose(stream[0]["depth"][:, :, 7, 14], 1 + stream[0]["ids"] / 4)
    np.testing.assert_array_equal(stream[0]["w2c"][:, :, 0, 3], stream[0]["ids"])
    # Every view has a crop of its own.
    assert len(np.unique(stream[0]["intrinsics"][..., 0, 0])) > 4


def test_scenes_and_steps_differ(stream: list[dict[str, np.ndarray]]) -> None:
    # Small images have few possible sizes; frames and sequences distinguish scenes as well.
    scenes = [
        (step, *batch["ids"][i], *batch["intrinsics"][i, :, 0, 0], batch["sequence"][i])
        for step, batch in enumerate(stream)
        for i in range(len(batch["ids"]))
    ]
    assert len({scene[1:] for scene in scenes}) == len(scenes) == 36


def test_hosts_share_the_stream(recording: Path, stream: list[dict[str, np.ndarray]]) -> None:
    halves = [read(recording, host=host, hosts=2) for host in range(2)]
    joined = [
        {name: np.concatenate([left[name], right[name]]) for name in left}
        for left, right in zip(*halves, strict=True)
    ]
    assert_same(joined, stream)


def test_resuming_continues_the_stream(
    recording: Path, stream: list[dict[str, np.ndarray]]
) -> None:
    assert_same(read(recording, start=4), stream[4:])
    with open_recording(recording, start=4) as batches:
        assert batches.step == 4
        next(batches)
        assert batches.step == 5
    assert read(recording, start=STEPS) == []


WORKERS = """
import sys
from pathlib import Path
import numpy as np
from tests.data.posed import open_recording
with open_recording(Path(sys.argv[1]), workers=2, start=1) as batches:
    for step in range(3):
        np.savez(Path(sys.argv[2]) / f"{step}.npz", **next(batches))
print("jax" in sys.modules and bool(sys.modules["jax"]._src.xla_bridge._backends))
"""


def shared_memory() -> set[str]:
    """Existing segments of shared memory with the prefix of the workers."""
    return {path.name for path in Path("/dev/shm").glob("psm_*")}


def test_workers_read_the_same_stream_and_release_memory(
    recording: Path, stream: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", WORKERS, str(recording), str(tmp_path)]
    before = shared_memory()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    # Iterators that outlive the modules they need are reported when the process ends.
    assert done.returncode == 0, done.stderr
    assert not any(sign in done.stderr for sign in ("ignored", "Traceback")), done.stderr
    assert shared_memory() <= before
    # Reading files does not start JAX.
    assert done.stdout == "False\n"
    got = [dict(np.load(tmp_path / f"{step}.npz")) for step in range(3)]
    assert_same(got, stream[1:4])


def test_threads_end_with_the_loader(recording: Path) -> None:
    before = threading.active_count()
    with open_recording(recording, threads=3, prefetch=4) as batches:
        next(batches)
    for _ in range(50):
        if threading.active_count() <= before:
            break
        time.sleep(0.1)
    assert threading.active_count() <= before


def test_broken_frames_are_counted_and_others_drawn(recording: Path) -> None:
    with open_recording(recording, steps=12) as batches:
        assert batches.failures == {"posed_folder": 0}
        shown = [(b["sequence"], b["ids"]) for b in batches]
    assert batches.failures["posed_folder"] > 0
    for sequence, ids in shown:
        assert not ((sequence[:, None] == 1) & (ids == 4)).any()


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_broken_frames_name_the_source(tmp_path: Path, workers: int) -> None:
    write_scene(tmp_path / "a", 0, 2)
    for frame in range(2):
        break_frame(tmp_path / "a", frame)
    sentence = r"^source 'posed_folder': 9 draws in a row .* sequence 0, frame [01]: "
    with (
        open_recording(tmp_path, workers=workers) as batches,
        pytest.raises(ValueError, match=sentence),
    ):
        next(batches)


def test_slots_that_cannot_be_shared_are_refused(recording: Path) -> None:
    with pytest.raises(ValueError, match="3 hosts cannot share 4 microbatches evenly"):
        open_recording(recording, hosts=3)
    with pytest.raises(ValueError, match="this is host 2"):
        open_recording(recording, hosts=2, host=2)


def test_the_loader_of_a_configuration(recording: Path) -> None:
    config = DataConfig(
        buckets=(BatchShape(2, 14, 28, batch=2), BatchShape(3, 14, 14)),
        microbatches=2,
        engine="loader",
        mixture=(SourceConfig("posed_folder", root=str(recording), max_interval=1),),
        crop=CropConfig(zoom=0.0),
    )
    opened = functools.partial(open_loader, config, 20, 3)
    with opened() as batches:
        shapes = [batch["images"].shape for batch in batches]
    assert set(shapes) == {(4, 2, 14, 28, 3), (2, 3, 14, 14, 3)}
    with opened(start=19, host=1, hosts=2) as batches:
        assert [b["images"].shape[0] for b in batches] == [shapes[19][0] // 2]
    with pytest.raises(ValueError, match=r"name data sets in data\.mixture"):
        open_loader(DataConfig(buckets=(BatchShape(2, 14, 14),)), 1, 0)


def test_the_api_page_loads_its_names_without_jax() -> None:
    code = (
        "import sys, zipmap_jax.data as data; assert 'jax' not in sys.modules;"
        "[getattr(data, name) for name in data.__all__]"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
