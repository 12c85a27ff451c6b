"""`zipmap doctor` reports the machine, also if a check fails."""

from __future__ import annotations

import json

import pytest

from zipmap_jax.cli import doctor
from zipmap_jax.cli.main import main


def test_json_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == list(doctor.CHECKS)
    assert report["versions"]["jax"]
    assert any(device.startswith("cpu") for device in report["devices"])
    assert report["memory"]["disk"].endswith("GiB free")
    assert set(report["extras"]) == set(doctor.EXTRAS)


def test_a_missing_extra_is_reported_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"data": ("no_such_module",), "viewer": ("json",)})
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert 'pip install "zipmap-jax[data]"  (missing: no_such_module)' in out
    assert "viewer               installed" in out


def test_a_failing_check_is_reported_with_the_other_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError("no backend")

    checks = {"devices": broken, "versions": doctor.versions}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "failed: RuntimeError: no backend" in out
    assert zipmap_line(out)


def zipmap_line(out: str) -> bool:
    return any(line.split()[:1] == ["zipmap-jax"] for line in out.splitlines())
