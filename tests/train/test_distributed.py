"""How a process learns whom to join; the joining itself is tested with real processes."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from zipmap_jax.train import distributed
from zipmap_jax.train.config import MeshConfig
from zipmap_jax.train.sharding import make_mesh


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    calls: list[tuple[str, int, int]] = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args: calls.append(args))
    return calls


def test_alone_nothing_is_joined(joined: list[tuple[str, int, int]]) -> None:
    assert not distributed.join(environment={})
    assert joined == []
    assert distributed.is_first()


def test_flags_win_over_variables(joined: list[tuple[str, int, int]]) -> None:
    environment = dict(zip(distributed.VARIABLES, ("a:1", "4", "3"), strict=True))
    distributed.join(environment=environment)
    distributed.join("b:2", 2, 0, environment=environment)
    assert joined == [("a:1", 4, 3), ("b:2", 2, 0)]


def test_half_an_address_is_an_error(joined: list[tuple[str, int, int]]) -> None:
    with pytest.raises(ValueError, match="without JAX_NUM_PROCESSES, JAX_PROCESS_ID: set"):
        distributed.join("a:1", environment={})
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES=two and JAX_PROCESS_ID=0 must be"):
        distributed.join("a:1", None, 0, environment={"JAX_NUM_PROCESSES": "two"})
    assert joined == []


def test_split_arrays_come_back_whole() -> None:
    mesh = make_mesh(MeshConfig(fsdp=8))
    x = np.arange(16.0).reshape(2, 8)
    split = jax.device_put(x, NamedSharding(mesh, PartitionSpec(None, "fsdp")))
    np.testing.assert_array_equal(distributed.on_host({"x": split}, mesh)["x"], x)
