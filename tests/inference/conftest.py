"""A small model without a network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.echo import echo_model
from zipmap_jax.convert.hub import LoadedModel


@pytest.fixture
def echo() -> Callable[..., LoadedModel]:
    return echo_model
