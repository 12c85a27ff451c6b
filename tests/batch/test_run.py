"""Batches with a stand-in model: shared programs, skipped scenes, failures and kills."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.echo import echo_model
from zipmap_jax.batch import run
from zipmap_jax.batch.journal import Journal, Record, _parse
from zipmap_jax.batch.plan import BatchOptions, group, plan_scenes
from zipmap_jax.batch.run import run_batch
from zipmap_jax.batch.scenes import list_scenes
from zipmap_jax.export import OutputError, load_scene, write_all
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.sources import list_sources, probe_sizes
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.reconstruct import reconstruct

ROOT = Path(__file__).parents[2]
READ = ReadOptions(size=32)
OPTIONS = BatchOptions(READ)


def work(folder, out, options=OPTIONS, model=None, **callbacks):
    """Run all scenes and return the records by name."""
    journal = Journal(out)
    journal.open({"size": options.read.size})
    try:
        records = run_batch(
            model or echo_model(), list_scenes(folder, out), journal, options, **callbacks
        )
    finally:
        journal.close()
    assert len({record.name for record in records}) == len(records)
    return {record.name: record for record in records}


def check_same(a: Path, b: Path) -> None:
    """Assert that two outputs hold the same files and numbers."""
    names = [{str(p.relative_to(x)) for p in x.rglob("*") if p.is_file()} for x in (a, b)]
    assert names[0] == names[1]
    with np.load(a / "scene.npz") as x, np.load(b / "scene.npz") as y:
        assert x.files == y.files
        for name in x.files:
            np.testing.assert_array_equal(x[name], y[name])


def test_scenes_equal_those_of_single_runs(folder, tmp_path):
    records = work(folder, tmp_path / "out")
    assert {name: record.views for name, record in records.items()} == dict(
        a=3, b=4, c=2, d=3, e=1, f=4
    )
    for name in records:
        scene = reconstruct(echo_model(), folder / name, size=32)
        write_all(scene, tmp_path / "single" / name)
        check_same(tmp_path / "out" / name, tmp_path / "single" / name)


def test_scenes_of_one_bucket_share_a_program(folder, tmp_path):
    programs = []
    work(folder, tmp_path / "one")
    work(folder, tmp_path / "three", BatchOptions(READ, batch_size=3), on_program=programs.append)
    shapes = [(p.bucket.views, p.bucket.height, p.bucket.scenes) for p in programs]
    assert shapes == [(4, 24, 3), (2, 32, 1), (1, 24, 1)]
    for name in "abcdef":
        check_same(tmp_path / "one" / name, tmp_path / "three" / name)


def test_a_resumed_bucket_keeps_its_program(folder, tmp_path):
    model = echo_model()
    planned = plan_scenes(model, list_scenes(folder, tmp_path), OPTIONS)
    by_name = {item.scene.name: item for item in planned}
    whole = group(planned, 3)
    assert ["".join(m.scene.name for m in g.members) for g in whole] == ["abd", "f", "c", "e"]
    assert [g.bucket.scenes for g in whole] == [3, 3, 1, 1]
    (rest,) = group([by_name["f"]], 3, finished=[(4, 24, 32)] * 3)
    assert rest.bucket == whole[1].bucket
    (alone,) = group([by_name["f"]], 3)
    assert alone.bucket.scenes == 1


def test_failed_scenes_are_recorded_and_the_others_done(folder, tmp_path):
    (folder / "broken").mkdir()
    (folder / "broken" / "x.png").write_bytes(b"nothing")
    (folder / "empty").mkdir()
    (folder / "clip.mp4").write_bytes(b"nothing")
    (folder / "b" / "stray.jpg").write_bytes(b"nothing")
    (tmp_path / "out" / "e").mkdir(parents=True)
    (tmp_path / "out" / "e" / "mine.txt").write_text("")
    (tmp_path / "out" / ".batch").mkdir()
    (tmp_path / "out" / ".batch" / "settings.json").write_text('{"size": 32}')
    with pytest.warns(UserWarning, match=r"b: left out: .*stray\.jpg"):
        records = work(folder, tmp_path / "out")
    failed = {name: r.error for name, r in records.items() if r.status == "failed"}
    assert set(failed) == {"broken", "empty", "clip", "e"}
    assert "x.png is not an image" in failed["broken"]
    assert "contains no images" in failed["empty"]
    assert "is not a video" in failed["clip"]
    assert "is not a reconstruction: move it away" in failed["e"]
    assert "stray.jpg" in records["b"].warnings[0]
    assert records["a"].warnings == ()
    assert not (tmp_path / "out" / "broken").exists()
    # After the repair, the next run does this scene only.
    Image.new("RGB", (64, 48)).save(folder / "broken" / "x.png")
    again = work(folder, tmp_path / "out")
    assert {name for name, r in again.items() if r.status == "done"} == {"broken"}


def test_unreadable_images_may_change_the_shape(folder, tmp_path):
    """A picture with a valid header but damaged pixels is planned at a larger network size."""
    tall = folder / "a" / "9.jpg"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)).save(tall)
    tall.write_bytes(tall.read_bytes()[:2000])
    assert probe_sizes(list_sources(tall)) == [(64, 64)]
    programs = []
    options = BatchOptions(READ, ComputeOptions(chunk=2))
    with pytest.warns(UserWarning, match=r"a: left out: .*9\.jpg"):
        records = work(folder, tmp_path / "out", options, on_program=programs.append)
    assert records["a"].status == "done"
    # The smaller shape keeps the chunk, which bounds the memory.
    shapes = {(p.bucket.height, p.bucket.width, p.bucket.views, p.bucket.chunk) for p in programs}
    assert (24, 32, 4, 2) in shapes
    assert max(chunk or views for _, _, views, chunk in shapes) == 2
    assert records["a"].bucket == (4, 24, 32)
    assert load_scene(tmp_path / "out" / "a" / "scene.npz").network_size == (24, 32)


def test_a_failure_to_compute_or_write_affects_one_scene(folder, tmp_path, monkeypatch):
    def write(scene, out, **options):
        if out.name == "b":
            raise OutputError("b could not be written (I/O error); choose another place.")
        if out.name == "c":
            raise TypeError("a bug")
        return write_all(scene, out, **options)

    monkeypatch.setattr(run, "write_all", write)
    records = work(folder, tmp_path / "out")
    failed = {name: r.error for name, r in records.items() if r.status == "failed"}
    assert failed["b"].startswith("b could not be written")
    assert failed["c"].startswith("TypeError: a bug (a defect of zipmap-jax")
    assert len(failed) == 2
    full = work(folder, tmp_path / "none", model=echo_model(failure="too much"))
    assert all("memory ran out: use a chunk of" in r.error for r in full.values() if r.views == 4)
    assert all(r.status == "failed" for r in full.values())


def test_a_defect_in_computing_one_scene_affects_no_other(folder, tmp_path, monkeypatch):
    predict, calls = run.predict_scenes, []

    def predicting(*args, **options):
        calls.append(args)
        if len(calls) == 1:
            raise ValueError("of a library")
        return predict(*args, **options)

    monkeypatch.setattr(run, "predict_scenes", predicting)
    records = work(folder, tmp_path / "out").values()
    (failed,) = (record for record in records if record.status == "failed")
    assert failed.error.startswith("ValueError: of a library (a defect of zipmap-jax")
    assert sum(record.status == "done" for record in records) == len(calls) - 1 > 0


def test_lack_of_memory_suggests_smaller_batches(folder, tmp_path):
    options = BatchOptions(READ, batch_size=4)
    records = work(folder, tmp_path / "out", options, echo_model(failure="too much"))
    assert records["a"].error == "memory ran out: use a --batch-size of 2 (now 4)"


def test_a_full_disk_ends_the_run(folder, tmp_path, monkeypatch):
    def write(scene, out, **options):
        raise OutputError("The disk is full") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(run, "write_all", write)
    with pytest.raises(OutputError, match="disk is full"):
        work(folder, tmp_path / "out")


def test_a_scene_finished_by_another_process_is_no_failure(folder, tmp_path, monkeypatch):
    def write(scene, out, **options):
        paths = write_all(scene, out, **options)
        if out.name == "a":
            shutil.copytree(out, tmp_path / "out" / "a")
        return paths

    monkeypatch.setattr(run, "write_all", write)
    assert set(work(folder, tmp_path / "out")) == set("bcdef")


def test_reading_and_writing_overlap_with_computing(folder, tmp_path, monkeypatch):
    """Each step waits for a later one, so a run without overlap would never end."""
    read, computing = Counter(), Counter()
    changed = threading.Condition()

    def mark(counter, name):
        with changed:
            counter[name] += 1
            changed.notify_all()

    def wait_for(counter, count):
        with changed:
            assert changed.wait_for(lambda: counter.total() >= count, timeout=30)

    read_views, predict, write = run.read_views, run.predict_scenes, run.write_all

    def reading(*args, **options):
        views = read_views(*args, **options)
        mark(read, "")
        return views

    def predicting(*args, **options):
        mark(computing, "")
        wait_for(read, min(computing.total() + 1, 6))  # the next scene is read meanwhile
        return predict(*args, **options)

    def writing(*args, **options):
        wait_for(computing, 2)  # the first scene is written while the second is computed
        return write(*args, **options)

    monkeypatch.setattr(run, "read_views", reading)
    monkeypatch.setattr(run, "predict_scenes", predicting)
    monkeypatch.setattr(run, "write_all", writing)
    records = work(folder, tmp_path / "out")
    assert all(record.status == "done" for record in records.values())


SLOW = """
import sys, time
from pathlib import Path
from tests.batch.test_run import work
from zipmap_jax.batch import run

write_all = run.write_all
def slowly(scene, out, **options):
    paths = write_all(scene, out, **options)
    time.sleep(0.3)
    return paths
run.write_all = slowly
work(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_run_resumes(folder, tmp_path):
    """No scene is done twice, and the outputs equal those of an uninterrupted run."""
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", SLOW, folder, out], cwd=ROOT)
    try:
        deadline = time.monotonic() + 120
        while len(list(out.glob("?"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("?")}
    assert 2 <= len(done) < 6, "killed in the middle"
    again = work(folder, out)
    assert set(again) == set("abcdef") - set(done)
    assert all((out / name).stat().st_mtime_ns == when for name, when in done.items())
    lines = (out / ".batch" / "0-of-1.jsonl").read_text().splitlines()
    assert Counter(_parse(line).name for line in lines) == Counter("abcdef")
    work(folder, tmp_path / "undisturbed")
    for name in "abcdef":
        check_same(out / name, tmp_path / "undisturbed" / name)
    assert os.listdir(out / ".batch").count("0-of-1.working") == 0


def test_a_kill_between_publishing_and_recording_is_repaired(folder, tmp_path):
    work(folder, tmp_path / "out")
    (tmp_path / "out" / ".batch" / "0-of-1.jsonl").unlink()
    assert work(folder, tmp_path / "out") == {}
    records = Journal(tmp_path / "out").read()
    assert {name: record.views for name, record in records.items()} == dict(
        a=3, b=4, c=2, d=3, e=1, f=4
    )


def test_a_finished_folder_counts_more_than_the_record_of_a_failure(folder, tmp_path):
    """A scene that failed here may have been finished by another process: it is not done again."""
    out = tmp_path / "out"
    work(folder, out)
    before = (out / "a" / "scene.npz").stat().st_mtime_ns
    journal = Journal(out)
    journal.open({"size": 32})
    journal.write(Record("a", "failed", None, error="out of memory"))
    journal.close()
    assert work(folder, out) == {}
    assert (out / "a" / "scene.npz").stat().st_mtime_ns == before
    record = Journal(out).read()["a"]
    assert (record.status, record.views) == ("done", 3)


def test_a_scene_appears_at_its_path_when_it_is_complete(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    seen = []

    def write(scene, path, **options):
        files = write_all(scene, path, **options)
        seen.append(path.name)
        assert not (out / path.name).exists()
        assert path.parent == out / ".batch" / "0-of-1.working"
        return files

    monkeypatch.setattr(run, "write_all", write)
    work(folder, out)
    assert sorted(seen) == ["a", "b", "c", "d", "e", "f"]
    assert all((out / name / "README.txt").is_file() for name in seen)
