"""Options of a run of several processes; `test_processes.py` starts real ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from zipmap_jax.train import distributed
from zipmap_jax.train.config.schema import MeshConfig
from zipmap_jax.train.sharding import make_mesh


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    calls: list[tuple[str, int, int]] = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **_: calls.append(args))
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


JOINED = """
import jax
from zipmap_jax.train.distributed import is_first, join

print(join(**{arguments}), jax.process_index(), jax.process_count(), is_first())
print(jax.device_count(), jax.config.read("jax_cuda_visible_devices"))
"""
ALL = "4 all"


@pytest.mark.parametrize(
    ("nodes", "more", "devices"),
    [
        (2, {}, (ALL, ALL)),
        (1, {}, ("4 0", "4 1")),
        (1, {"SLURM_GPUS_PER_TASK": "4"}, (ALL, ALL)),
        (1, {"JAX_LOCAL_DEVICE_IDS": "4,5"}, ("4 4,5", "4 4,5")),
        (1, None, (ALL, ALL)),
    ],
    ids=["a task per node", "a task per GPU", "GPUs of its own", "chosen", "by hand"],
)
def test_tasks_of_slurm_join(
    nodes: int, more: dict[str, str] | None, devices: tuple[str, str]
) -> None:
    """Two processes with the variables of `srun`, and the GPUs that each would use."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = os.environ | {
        "SLURM_JOB_ID": "123",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_NTASKS": "2",
        "JAX_COORDINATOR_PORT": port,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    tasks = []
    for number in range(2):
        local = number if nodes == 1 else 0
        task = {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(local)} | (more or {})
        by_hand = {"coordinator": f"127.0.0.1:{port}", "processes": 2, "process": number}
        code = JOINED.format(arguments=by_hand if more is None else {"detect": True})
        tasks.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                env=common | task,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for number, task in enumerate(tasks):
        out, errors = task.communicate(timeout=120)
        assert task.returncode == 0, errors
        expected = [f"True {number} 2 {number == 0}", devices[number]]
        assert [line for line in out.splitlines() if line[:1] in "T4"] == expected


def test_split_arrays_come_back_whole() -> None:
    mesh = make_mesh(MeshConfig(fsdp=8))
    x = np.arange(16.0).reshape(2, 8)
    split = jax.device_put(x, NamedSharding(mesh, PartitionSpec(None, "fsdp")))
    np.testing.assert_array_equal(distributed.on_host({"x": split}, mesh)["x"], x)
