"""The writers of a run's metrics."""

from __future__ import annotations

import builtins
import io
import json
import re
import struct
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zipmap_jax.compilation.flops import PEAK_FLOPS, peak_flops
from zipmap_jax.train.config.schema import LogConfig
from zipmap_jax.train.log import writer as writer_module
from zipmap_jax.train.log.writer import Writer

ANSWERS = {
    "ema": {"AbsRel": 0.1234, "RRA@5": 3.0, "AUC@30": 50.0},
    "raw": {"AbsRel": 0.25, "RRA@5": 2.0, "AUC@30": 40.0},
    "trivial": {"AbsRel": 0.5, "RRA@5": 1.0, "AUC@30": 0.0},
}
METRICS = {"loss": 1.5, "loss_T": 0.25, "loss_objective": 1.5, "lr": 1e-4, "norm/all": 9.0}
SHEET = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(writer_module, "time", clock)
    return clock


def rows(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_lines_without_a_terminal(tmp_path: Path, clock: Clock) -> None:
    console = io.StringIO()
    with Writer(tmp_path, 3610, console=console) as writer:
        writer.start_clock(0)
        clock.now += 5
        writer.train(10, METRICS, images=40)
        clock.now += 5
        writer.train(20, METRICS | {"skipped": 2.0, "loss_T": float("nan")}, images=40)
        writer.evaluation(20, ANSWERS)
        writer.evaluation(20, {"model": {"depth": 1.0}})
    assert console.getvalue().splitlines() == [
        "step 10/3610 loss 1.5 loss_T 0.25 lr 0.0001 | 8.0 images/s, 0:30:00 left",
        "step 20/3610 loss 1.5 loss_T nan lr 0.0001 skipped 2 | 8.0 images/s, 0:29:55 left",
        "step 20 held out, raw, trivial in brackets: AbsRel 0.123 (0.25, 0.5), AUC@30 50 (40, 0)",
        "step 20 held out: depth 1",
    ]
    first, second, held_out, _ = rows(tmp_path)
    assert first["kind"] == "train"
    assert first["norm/all"] == 9.0
    assert first["seconds_per_step"] == 0.5
    assert second["loss_T"] is None
    assert held_out["kind"] == "eval"
    assert {name: held_out[name] for name in ANSWERS} == ANSWERS


def test_pauses_do_not_count_as_training_time(tmp_path: Path, clock: Clock) -> None:
    with Writer(tmp_path, 100, LogConfig(writers=("json",))) as writer:
        writer.start_clock(50)
        clock.now += 1
        with writer.paused():
            clock.now += 60
        clock.now += 1
        writer.train(54, METRICS, images=8)
    assert rows(tmp_path)[0]["images_per_second"] == 4
    assert rows(tmp_path)[0]["seconds_per_step"] == 0.5


def test_waiting_for_data_is_reported(tmp_path: Path, clock: Clock) -> None:
    console = io.StringIO()
    with Writer(tmp_path, 100, LogConfig(writers=("console", "json")), console) as writer:
        writer.start_clock(0)
        for step, waited in ((4, 0.25), (8, 0.01)):
            clock.now += 1
            writer.train(step, METRICS, 8, None, waited)
    speeds = [line.split(" | ")[1] for line in console.getvalue().splitlines()]
    assert speeds[0].startswith("8.0 images/s, 25% waiting for data, ")
    assert speeds[1].startswith("8.0 images/s, 0:00:")
    assert [row["waiting_for_data"] for row in rows(tmp_path)] == [0.25, 0.01]


def test_use_of_the_devices(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "peak_flops", lambda _: 1e12)  # eight of them, see conftest
    console = io.StringIO()
    with Writer(tmp_path, 100, console=console) as writer:
        writer.start_clock(0)
        clock.now += 2
        writer.train(4, METRICS, images=8, flops=4e12)
        clock.now += 2
        writer.train(8, METRICS, images=8)
    assert rows(tmp_path)[0]["mfu"] == 0.25
    assert "MFU 25.0%, 0:00:48 left" in console.getvalue()
    assert "mfu" not in rows(tmp_path)[1]


def test_peaks_of_known_devices() -> None:
    assert peak_flops("NVIDIA H200") == peak_flops("NVIDIA H100 80GB HBM3") == 989.4e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == PEAK_FLOPS["A100"]
    assert peak_flops("cpu") is None


def test_a_terminal_gets_colours_and_a_bar(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Terminal()
    with Writer(tmp_path, 100, console=console) as writer:
        writer.text("two [red]brackets[/red]")
        writer.start_clock(0)
        clock.now += 5
        writer.train(10, METRICS, images=40)
        writer.evaluation(10, ANSWERS)
    text = console.getvalue()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert text != plain
    assert "two [red]brackets[/red]" in plain
    assert "step 10/100 loss 1.5 loss_T 0.25 lr 0.0001 | 8.0 images/s, 0:00:45 left" in plain
    assert "held out, raw, trivial in brackets: AbsRel 0.123 (0.25, 0.5)" in plain
    assert " 10% 8.0 images/s" in plain
    assert "10/100" in plain


def test_pictures_are_files(tmp_path: Path) -> None:
    with Writer(tmp_path, 100) as writer:
        path = writer.picture(20, SHEET)
    assert path == tmp_path / "pictures" / "step_20.png"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), SHEET)
    assert rows(tmp_path)[0]["file"] == "pictures/step_20.png"


def events(folder: Path) -> Iterator[Any]:
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])  # then its checksum, the record, its checksum
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def test_tensorboard_gets_curves_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with Writer(tmp_path, 100, LogConfig(writers=("tensorboard",))) as writer:
        writer.start_clock(0)
        writer.train(10, METRICS, images=40)
        writer.evaluation(20, ANSWERS)
        writer.picture(20, SHEET)
    events_by_tag = {
        (value.tag, event.step): value
        for event in events(tmp_path / "tensorboard")
        for value in event.summary.value
    }
    assert events_by_tag["train/loss", 10].simple_value == 1.5
    assert events_by_tag["held_out/AbsRel/raw", 20].simple_value == 0.25
    encoded = events_by_tag["pictures", 20].image.encoded_image_string
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), SHEET)


class FakeWandb(types.ModuleType):
    """The used part of wandb, with a network that the test can interrupt."""

    def __init__(self, broken_at: int | None = None, broken_start: bool = False) -> None:
        super().__init__("wandb")
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.starts: list[dict[str, Any]] = []
        self.broken_at, self.broken_start = broken_at, broken_start
        self.Image = lambda array: array

    def init(self, **options: Any) -> FakeWandb:
        if self.broken_start:
            raise ConnectionError("no network")
        self.starts.append(options)
        return self

    def log(self, values: dict[str, Any], step: int) -> None:
        if step == self.broken_at:
            raise ConnectionError("no network")
        self.logged.append((step, values))

    def finish(self) -> None:
        pass


WANDB = LogConfig(writers=("console", "wandb"))


def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for step in (10, 20):  # the second start resumes
        with Writer(tmp_path, 100, WANDB, io.StringIO()) as writer:
            writer.start_clock(0)
            writer.train(step, METRICS, images=40)
            writer.evaluation(step, ANSWERS)
            writer.picture(step, SHEET)
    assert wandb.starts[0]["id"] == wandb.starts[1]["id"]
    merged: dict[str, Any] = {}
    for step, values in wandb.logged:
        merged |= values if step == 20 else {}
    assert merged["train/loss"] == 1.5
    assert merged["held_out/AbsRel/ema"] == 0.1234
    assert merged["pictures"] is SHEET


@pytest.mark.parametrize("wandb", [FakeWandb(broken_at=10), FakeWandb(broken_start=True)])
def test_a_network_failure_is_reported_once(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    console = io.StringIO()
    with Writer(tmp_path, 100, WANDB, console) as writer:
        writer.start_clock(0)
        for step in (10, 20):
            writer.train(step, METRICS, images=40)
    text = console.getvalue()
    assert text.count("the writer wandb failed and is switched off: no network") == 1
    assert "step 20/100" in text


def test_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Writer(tmp_path, 100) as writer:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer._sinks["json"], "train", full)
        with pytest.raises(OSError, match="No space"):
            writer.train(10, METRICS, images=40)


def test_an_unknown_writer_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no writer csv: log\.writers may name con"):
        Writer(tmp_path, 100, LogConfig(writers=("json", "csv")))


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_is_a_clear_error(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(wanted: str, *args: Any, **kwargs: Any) -> Any:
        if wanted == package:
            raise ModuleNotFoundError(name=package)
        return original(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=f"the writer {name} needs .*pip install"):
        Writer(tmp_path, 100, LogConfig(writers=(name,)))
