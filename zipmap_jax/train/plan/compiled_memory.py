"""Memory of a run's largest training steps as the compiler plans it: nothing runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import jax

from zipmap_jax.compilation.target import h200_sharding
from zipmap_jax.train.batches.procedural import ProceduralSource
from zipmap_jax.train.compiled_step import CompiledStep
from zipmap_jax.train.config.schema import MeshConfig
from zipmap_jax.train.plan.plan import GIB, state_shapes
from zipmap_jax.train.plan.shapes import largest
from zipmap_jax.train.sharding import laid_out, make_mesh, shardings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zipmap_jax.data.config import BatchShape
    from zipmap_jax.train.config.schema import TrainConfig


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """What a step of one microbatch takes on a device that holds the whole training state.

    Attributes:
      bucket: shape of the batch.
      state: bytes of the state and the batch.
      working: bytes besides, the gradients included.
    """

    bucket: BatchShape
    state: int
    working: int

    def __str__(self) -> str:
        b = self.bucket
        views = f"{b.views} + {b.targets}" if b.targets else f"{b.views}"
        return (
            f"{views} views x {b.batch} of {b.height}x{b.width}: working memory "
            f"{self.working / GIB:,.2f} GiB, whole state and batch {self.state / GIB:,.2f} GiB"
        )


def target_device(target: Literal["here", "h200"]) -> Any:
    """The first device here, or an H200, which need not be here: ask before JAX looks for devices.

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
