from __future__ import annotations

import errno
import json
import subprocess
import sys

import pytest

from zipmap_jax.batch.journal import Journal, Record
from zipmap_jax.batch.scenes import SceneInput
from zipmap_jax.errors import UserError

SETTINGS = {"model": "echo", "max_views": None}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def opened(out, process=(0, 1), settings=SETTINGS):
    journal = Journal(out, process)
    journal.open(settings)
    return journal


def test_the_last_record_counts_and_torn_lines_do_not(out):
    first = opened(out)
    first.write(Record("a", "failed", error="no"))
    first.write(Record("b", "done", 3, bucket=(4, 14, 28), warnings=("w",)))
    first.close()
    with (out / ".batch" / "0-of-1.jsonl").open("a") as file:
        file.write('{"name": "c", "status": "do')  # killed here
    second = opened(out)
    second.write(Record("a", "done", 2))
    records = second.read()
    second.close()
    assert {name: record.status for name, record in records.items()} == {"a": "done", "b": "done"}
    assert records["b"].bucket == (4, 14, 28)
    assert records["b"].warnings == ("w",)
    assert records["a"].process == "0/1"


def test_processes_read_each_other_and_write_one_manifest(out, tmp_path):
    journals = [opened(out, (i, 2)) for i in range(2)]
    journals[0].write(Record("a", "done", 2))
    journals[1].write(Record("b", "failed", error="no"))
    scenes = [SceneInput(name, tmp_path / name) for name in "abc"]
    manifest = journals[1].write_manifest(tmp_path, scenes, SETTINGS)
    assert json.loads((out / "manifest.json").read_text()) == json.loads(json.dumps(manifest))
    assert [row["status"] for row in manifest["scenes"]] == ["done", "failed", "waiting"]
    assert (manifest["done"], manifest["failed"], manifest["waiting"]) == (1, 1, 1)
    assert [row.get("process") for row in manifest["scenes"]] == ["0/2", "1/2", None]
    for journal in journals:
        journal.close()


def test_only_one_process_at_a_time_works_on_a_share(out):
    pytest.importorskip("fcntl")
    journal = opened(out)
    with pytest.raises(ValueError, match=r"another zipmap batch runs in .* --process i/n"):
        opened(out)
    journal.close()
    opened(out).close()


def test_other_settings_and_other_folders_raise(out, tmp_path):
    opened(out).close()
    with pytest.raises(ValueError, match="--max-views None, not 4: choose another folder"):
        opened(out, settings={**SETTINGS, "max_views": 4})
    other = tmp_path / "other"
    opened(other, settings={**SETTINGS, "scenes": "day1"}).close()
    with pytest.raises(ValueError, match="was started with scenes day1, not day2"):
        opened(other, settings={**SETTINGS, "scenes": "day2"})
    third = tmp_path / "third"
    opened(third, settings={**SETTINGS, "weights": "0123456789ab"}).close()
    with pytest.raises(ValueError, match="was started with weights 0123456789ab, not ba9876543210"):
        opened(third, settings={**SETTINGS, "weights": "ba9876543210"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="not the folder of an earlier batch"):
        opened(tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="not the folder of an earlier batch"):
        opened(tmp_path / "file")


def test_unfinished_work_is_deleted(out):
    journal = opened(out)
    (journal.working / "a").mkdir()
    journal.close()
    journal = opened(out)
    assert list(journal.working.iterdir()) == []
    (journal.working / "a").mkdir()
    (journal.working / "a" / "README.txt").write_text("")
    assert not journal.finished("a")
    journal.publish("a")
    assert journal.finished("a")
    (out / "b").mkdir()
    with pytest.raises(ValueError, match="b exists and is not a reconstruction: move it away"):
        journal.finished("b")
    journal.close()
    assert not journal.working.exists()


def test_a_file_system_without_locks_works(out, monkeypatch):
    def refuse(self, timeout):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    journal = opened(out)
    journal.close()


def test_a_killed_process_leaves_no_lock(out):
    pytest.importorskip("fcntl")
    opened(out).close()
    lock = out / ".batch" / "0-of-1.lock"
    code = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]);"
        "lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another zipmap batch runs in"):
            opened(out)
        holder.kill()
    opened(out).close()
