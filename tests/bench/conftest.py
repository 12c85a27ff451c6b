"""A preset that compiles in seconds."""

from __future__ import annotations

import pytest

from tests.cli.conftest import MICRO
from zipmap_jax.models.presets import SIZES


@pytest.fixture
def micro(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the preset."""
    monkeypatch.setitem(SIZES, "micro", MICRO)
    return "micro"
