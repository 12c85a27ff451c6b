"""The plan of a run with the memory of its largest steps, which are compiled but not run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import jax

from pallas_kernels.h200 import MEMORY_BYTES
from zipmap_jax.compilation.target import h200_sharding
from zipmap_jax.train.batches.procedural import ProceduralSource
from zipmap_jax.train.compiled_step import CompiledStep
from zipmap_jax.train.config.schema import MeshConfig
from zipmap_jax.train.initial_weights import state_shapes
from zipmap_jax.train.plan.plan import (
    GIB,
    TrainingPlan,
    conclusion,
    devices_to_plan,
    plan_run,
)
from zipmap_jax.train.plan.shapes import largest
from zipmap_jax.train.sharding import laid_out, make_mesh, shardings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zipmap_jax.data.config import BatchShape
    from zipmap_jax.train.config.schema import TrainConfig


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Memory of a step of one microbatch on a device with the whole training state.

    Attributes:
      bucket: shape of the batch.
      state: bytes of the state and the batch.
      working: remaining bytes, gradients included.
    """

    bucket: BatchShape
    state: int
    working: int

    @property
    def shape(self) -> str:
        b = self.bucket
        views = f"{b.views} + {b.targets}" if b.targets else f"{b.views}"
        return f"{views} views x {b.batch} of {b.height}x{b.width}"

    def __str__(self) -> str:
        return (
            f"{self.shape}: working memory {self.working / GIB:,.2f} GiB, "
            f"whole state and batch {self.state / GIB:,.2f} GiB"
        )


Target = Literal["here", "h200"]


def dry_run(
    config: TrainConfig, devices: int | None = None, target: Target | None = None
) -> Iterator[str]:
    """Yield the sections of the text of `train.py --dry-run`.

    Args:
      config: the run.
      devices: number of devices; None = see `devices_to_plan`.
      target: device for which the largest steps are compiled, which takes minutes; None = none.

    Yields:
      One section after the other, each once it is computed.
    """
    device = None if target is None else target_device(target)
    plan = plan_run(config, devices or devices_to_plan(config, jax.device_count()))
    yield from plan.sections()
    problems = list(plan.problems)
    if device is not None:
        limit = (
            MEMORY_BYTES if target == "h200" else (device.memory_stats() or {}).get("bytes_limit")
        )
        yield f"compiled, one microbatch on one device ({target}):"
        for memory in training_memory(config, device):
            yield f"  {memory}"
            problems += too_large(plan, memory, limit)
    yield conclusion(problems)


def too_large(plan: TrainingPlan, memory: StepMemory, limit: int | None) -> list[str]:
    """Return a sentence if a step needs more memory than a device has, else nothing.

    Args:
      plan: of the run; its memory is that of state and batch.
      memory: of the step; devices that share the views of a scene share its working memory.
      limit: bytes of a device; None = unknown.
    """
    needed = sum(plan.memory.values()) + memory.working // plan.mesh["views"]
    if limit is None or needed <= limit:
        return []
    return [
        f"a step of {memory.shape} needs {needed / GIB:,.1f} GiB of the {limit / GIB:,.1f} GiB of "
        "a device: give --remat true, --chunk 8, a larger --mesh.fsdp or smaller data.buckets"
    ]


def target_device(target: Target) -> Any:
    """Return the first device of this machine, or an H200 to compile for, which need not exist.

    For an H200, call it before JAX initializes its devices.

    Raises:
      UserError: the compiler for CUDA is not installed.
    """
    return jax.devices()[0] if target == "here" else next(iter(h200_sharding().device_set))


def training_memory(config: TrainConfig, device: Any) -> Iterator[StepMemory]:
    """Compile the steps that may need the most memory, each with one microbatch on one device.

    Args:
      config: the run.
      device: result of `target_device`.

    Yields:
      The memory of one step after the other, each after minutes.
    """
    mesh = make_mesh(MeshConfig(1, 1, 1), [device])
    data = dataclasses.replace(config.data, microbatches=1, buckets=largest(config))
    config = dataclasses.replace(config, data=data, mesh=MeshConfig(1, 1, 1))
    state = state_shapes(config)
    state = laid_out(state, shardings(state, mesh))
    source = ProceduralSource(data, config.steps, config.seed, mesh)
    program = CompiledStep(config, mesh)
    for bucket in data.buckets:
        traced = program.trace(state, source.shapes(bucket))
        memory = traced.lower().compile().memory_analysis()
        yield StepMemory(bucket, memory.argument_size_in_bytes, memory.temp_size_in_bytes)
