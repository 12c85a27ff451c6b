"""Steps, memory and obstacles of a run, computed from shapes without allocating or compiling."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import jax

from zipmap_jax.data.roots import (
    PROCEDURAL,
    REMEDY,
    missing_sources,
    no_reader,
    root_of,
    unreadable_sources,
)
from zipmap_jax.errors import UserError
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.initial_weights import missing_start, start_exists, state_shapes
from zipmap_jax.train.optimizer import module_of
from zipmap_jax.train.plan.shapes import Shape, batch_shapes, images_of, shape_shares
from zipmap_jax.train.sharding import AXES, FSDP, VIEWS, spec_of
from zipmap_jax.tree import path_name, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zipmap_jax.data.config import BatchShape
    from zipmap_jax.train.config.schema import TrainConfig
    from zipmap_jax.train.state import TrainState

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """Plan of a run.

    Attributes:
      config: the run.
      devices: number of devices.
      mesh: devices along data, fsdp and views.
      parameters: number of parameters of each module.
      memory: exact bytes of state and largest batch on each device.
      shapes: share of the steps of each batch shape; each shape is one program.
      images: mean, minimum and maximum number of images in an update.
      sources: name, folder, share of the draws, and whether the folder exists.
      problems: obstacles to the start, one sentence each.
    """

    config: TrainConfig
    devices: int
    mesh: dict[str, int]
    parameters: dict[str, int]
    memory: dict[str, int]
    shapes: dict[Shape, float]
    images: tuple[float, int, int]
    sources: tuple[tuple[str, str, float, bool], ...]
    problems: tuple[str, ...]

    @property
    def microbatches_per_device(self) -> float:
        return self.config.data.microbatches / (self.mesh["data"] * self.mesh["fsdp"])

    def sections(self) -> list[str]:
        """Return the plan as text, without its problems."""
        return ["\n".join(part) for part in _sections(self)]


AT_SCALE = 64
"""Default number of devices if this machine has too few: eight machines of eight."""


def devices_to_plan(config: TrainConfig, local: int) -> int:
    """Return the number of devices to plan for.

    It is `local` if the mesh fits this machine, else the size of the mesh or `AT_SCALE`.
    """
    mesh = config.mesh
    needed = (mesh.data or 1) * mesh.fsdp * mesh.views
    if local >= needed:
        return local
    return needed if mesh.data else -(-AT_SCALE // needed) * needed


def plan_run(config: TrainConfig, devices: int) -> TrainingPlan:
    """Plan a run on a number of devices.

    Microbatches that do not divide evenly over the devices are a problem; the plan then assumes the
    next larger number that does.

    Raises:
      UserError: the mixture contains an unknown data set.
    """
    mesh, obstacles = _mesh(config, devices), problems(config, devices)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, microbatches=_even_microbatches(config, mesh))
    )
    state = state_shapes(config)
    shapes = shape_shares(config)
    sizes = {shape: config.data.microbatches * images_of(shape) for shape in shapes}
    return TrainingPlan(
        config=config,
        devices=devices,
        mesh=mesh,
        parameters=_parameters(state.params),
        memory=_memory(config, state, mesh),
        shapes=shapes,
        images=(
            sum(share * sizes[shape] for shape, share in shapes.items()),
            min(sizes.values()),
            max(sizes.values()),
        ),
        sources=_sources(config),
        problems=tuple(obstacles),
    )


def problems(config: TrainConfig, devices: int) -> list[str]:
    """List the obstacles to a run on a number of devices, one sentence each."""
    out, mesh = [], _mesh(config, devices)
    needed, parts = mesh["data"] * mesh["fsdp"] * mesh["views"], mesh["data"] * mesh["fsdp"]
    if needed != devices:
        axes = " x ".join(f"{name} {size}" for name, size in mesh.items())
        out.append(f"the mesh {axes} is for {needed} devices, not {devices}: change --mesh.fsdp")
    elif config.data.microbatches % parts:
        out.append(
            f"{config.data.microbatches} microbatches do not divide evenly over {parts} "
            f"devices: give --data.microbatches {_even_microbatches(config, mesh)}"
        )
    numbers = {n for b in config.data.buckets for n in (b.views, b.targets)}
    if mesh["views"] > 1:
        try:
            ZipMap(config.model, views_axis=VIEWS)
        except UserError as error:
            out.append(str(error))
    if uneven := sorted(n for n in numbers if n % mesh["views"]):
        counts = ", ".join(map(str, uneven))
        out.append(f"{counts} views cannot be split over mesh.views={mesh['views']} devices")
    if (covered := sum(shape_shares(config).values())) < 1 - 1e-6:
        out.append(
            f"no bucket is open during {1 - covered:.0%} of the run: "
            "let the start and end of data.buckets cover 0 to 1"
        )
    if not start_exists(config.start):
        out.append(missing_start(config.start))
    if missing := missing_sources(config.data):
        out.append(
            f"{len(missing)} of {len(config.data.mixture)} data sets are missing: "
            f"{', '.join(s.name for s in missing)}; {REMEDY}"
        )
    if unreadable := unreadable_sources(config.data):
        out.append(no_reader(unreadable))
    return out


def _mesh(config: TrainConfig, devices: int) -> dict[str, int]:
    mesh = dataclasses.asdict(config.mesh)
    return mesh | {"data": mesh["data"] or max(1, devices // (mesh["fsdp"] * mesh["views"]))}


def _even_microbatches(config: TrainConfig, mesh: dict[str, int]) -> int:
    """The number of microbatches, rounded up to a multiple of the devices."""
    parts = mesh["data"] * mesh["fsdp"]
    return -(-config.data.microbatches // parts) * parts


def _parameters(params: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        module = module_of(path_name(path))
        counts[module] = counts.get(module, 0) + leaf.size
    return counts


def _memory(config: TrainConfig, state: TrainState, mesh: dict[str, int]) -> dict[str, int]:
    parts = mesh["fsdp"]
    microbatches = max(1, config.data.microbatches // (mesh["data"] * parts))
    batch = microbatches * max(map(_batch_bytes, config.data.buckets))
    return {
        "parameters": split_bytes(state.params, parts),
        "moments": split_bytes(state.opt_state, parts),
        "moving average": split_bytes(state.ema, parts),
        "gathered parameters": tree_bytes(state.params) if parts > 1 else 0,
        "largest batch": batch // mesh["views"],
    }


def split_bytes(tree: Any, parts: int) -> int:
    """Return the bytes on one of `parts` devices of the axis `fsdp`, by the rules of `sharding`."""
    mesh = jax.sharding.AbstractMesh((1, parts, 1), AXES)

    def share(path: tuple[Any, ...], leaf: Any) -> int:
        return tree_bytes(leaf) // (parts if FSDP in spec_of(path, leaf, mesh) else 1)

    return sum(jax.tree.leaves(jax.tree_util.tree_map_with_path(share, tree)))


def _batch_bytes(bucket: BatchShape) -> int:
    """Bytes of a microbatch, targets included."""
    inputs = tree_bytes(batch_shapes(bucket, bucket.batch))
    return inputs * (bucket.views + bucket.targets) // bucket.views


def _sources(config: TrainConfig) -> tuple[tuple[str, str, float, bool], ...]:
    if config.data.engine == "device":
        return ((PROCEDURAL, "", 1.0, True),)
    missing = missing_sources(config.data)
    total = sum(source.weight for source in config.data.mixture) or 1.0
    return tuple(
        (s.name, str(root_of(s, config.data)), s.weight / total, s not in missing)
        for s in config.data.mixture
    )


# Text --------------------------------------------------------------------------------------------


def _sections(plan: TrainingPlan) -> list[list[str]]:
    config, (mean, minimum, maximum) = plan.config, plan.images
    total = sum(plan.parameters.values())
    head = [
        f"{config.name}: {config.steps:,} steps, {mean * config.steps / 1e6:,.2f} M images; "
        f"{config.policy}, {'re' if config.remat else 'not re'}computing activations",
        f"start: {config.start.kind} {config.start.path}".rstrip(),
    ]
    counts = [f"parameters: {total / 1e6:,.2f} M"]
    counts += [f"  {count / 1e6:10,.2f} M  {name}" for name, count in plan.parameters.items()]
    axes = ", ".join(f"{name} {size}" for name, size in plan.mesh.items())
    devices = [
        f"devices: {plan.devices} ({axes}); {config.data.microbatches} microbatches, "
        f"{plan.microbatches_per_device:g} per device; {mean:,.1f} images per update "
        f"({minimum} to {maximum})"
    ]
    memory = [f"state and batch per device: {sum(plan.memory.values()) / GIB:,.1f} GiB"]
    memory += [f"  {size / GIB:7,.2f} GiB  {name}" for name, size in plan.memory.items()]
    memory.append("  without working memory: --compile-for here or h200 measures the largest steps")
    return [head, counts, devices, memory, _shape_lines(plan), _source_lines(plan)]


def _shape_lines(plan: TrainingPlan) -> list[str]:
    lines = [f"programs to compile: {len(plan.shapes)}, by views, scenes per microbatch and height"]

    def row(item: tuple[Shape, float]) -> tuple[int, int, int, int]:
        (views, _, width, batch, targets), _ = item
        return views, targets, batch, width

    for (views, targets, batch, width), items in itertools.groupby(plan.shapes.items(), row):
        heights = ", ".join(f"{shape[1]} {share:.2%}" for shape, share in items)
        queried = f" + {targets}" if targets else ""
        lines.append(f"  {views}{queried} views x {batch}, width {width}: {heights}")
    return lines


def _source_lines(plan: TrainingPlan) -> list[str]:
    lines = [f"data: {len(plan.sources)} sets"]
    for name, root, share, exists in plan.sources:
        lines.append(f"  {share:6.2%}  {name:<16} {root}{'' if exists else '  (missing)'}".rstrip())
    return lines


def conclusion(problems: Sequence[str]) -> str:
    """Return the last section of a plan's text."""
    if not problems:
        return "ready to start"
    return "\n".join(["not ready to start:", *(f"  {line}" for line in problems)])
