"""The plan of a run with the memory of its largest steps from the compiler: nothing runs."""

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
    plan,
)
from zipmap_jax.train.plan.shapes import largest
from zipmap_jax.train.sharding import laid_out, make_mesh, shardings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zipmap_jax.data.config import BatchShape
    from zipmap_jax.train.config.schema import TrainConfig


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Memory of a step of one microbatch on a device that holds the whole training state.

    Attributes:
      bucket: shape of the batch.
      state: bytes of the state and the batch.
      working: bytes besides, the gradients included.
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
    """Sections of the text of `train.py --dry-run`, each as soon as it is known.

    Args:
      config: the run.
      devices: number to plan for; None = see `devices_to_plan`.
      target: device for which the largest steps are compiled, which takes minutes; None = none.
    """
    device = None if target is None else target_device(target)
    on_paper = plan(config, devices or devices_to_plan(config, jax.device_count()))
    yield from on_paper.sections()
    problems = list(on_paper.problems)
    if device is not None:
        limit = (
            MEMORY_BYTES if target == "h200" else (device.memory_stats() or {}).get("bytes_limit")
        )
        yield f"compiled, one microbatch on one device ({target}):"
        for memory in training_memory(config, device):
            yield f"  {memory}"
            problems += too_large(on_paper, memory, limit)
    yield conclusion(problems)


def too_large(on_paper: TrainingPlan, memory: StepMemory, limit: int | None) -> list[str]:
    """The problem of a step that needs more than a device holds, if it does.

    Args:
      on_paper: plan of the run, with the state and batch of each device.
      memory: of the step; devices that share the views of a scene share its working memory.
      limit: bytes of a device; None = unknown.
    """
    needed = sum(on_paper.memory.values()) + memory.working // on_paper.mesh["views"]
    if limit is None or needed <= limit:
        return []
    return [
        f"a step of {memory.shape} needs {needed / GIB:,.1f} GiB of the {limit / GIB:,.1f} GiB of "
        "a device: give --remat true, --chunk 8, a larger --mesh.fsdp or smaller data.buckets"
    ]


def target_device(target: Target) -> Any:
    """The first device here, or an H200, which need not be here.

    The H200 is taken before JAX initializes its devices.

    Raises:
      UserError: the compiler for CUDA is not installed.
    """
    return jax.devices()[0] if target == "here" else next(iter(h200_sharding().device_set))


def training_memory(config: TrainConfig, device: Any) -> Iterator[StepMemory]:
    """Compile the steps that may need the most memory, one microbatch on one device; minutes each.

    Args:
      config: the run.
      device: of `target_device`.
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
