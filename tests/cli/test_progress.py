"""Progress: plain lines without a terminal, bars on one, always on stderr."""

from __future__ import annotations

import pytest

from zipmap_jax.cli import progress as module
from zipmap_jax.cli.progress import progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_plain_lines_are_rare_and_estimate_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress() as report:
        for done in range(101):
            clock.now = done * 0.3
            report("reading", done, 100)
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        "reading: 0/100",
        "reading: 34/100, about 20 s left",
        "reading: 68/100, about 10 s left",
        "reading: 100/100, 30.0 s",
    ]


def test_stages_are_counted_apart(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as report:
        report("reading", 0, 1)
        report("writing", 1, 2)
        clock.now = 1.0
        report("reading", 1, 1)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 0/1",
        "writing: 1/2",
        "reading: 1/1, 1.0 s",
    ]


def test_terminals_show_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    with progress() as report:
        report("reading", 1, 4)
        report("reading", 4, 4)
    out, err = capsys.readouterr()
    assert not out
    assert "reading" in err
    assert "4/4" in err
