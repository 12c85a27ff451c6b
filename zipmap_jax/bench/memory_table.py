"""Memory of a reconstruction against the number of views, as planned by the compiler."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, Literal

import jax

from pallas_kernels.h200 import MEMORY_BYTES, CompiledKernels, compiled_kernels
from zipmap_jax.bench.runtime import even_chunk
from zipmap_jax.bench.series import fit_line
from zipmap_jax.bench.task import Task
from zipmap_jax.compilation import target as h200
from zipmap_jax.compilation.memory import ProgramMemory, program_memory
from zipmap_jax.errors import UserError, is_out_of_memory
from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.inference.memory import STREAM_CHUNK, device_bytes, free_memory, workload_of
from zipmap_jax.inference.offline_program import Phase, phases_of
from zipmap_jax.inference.stream_program import OUTPUTS, bucket_of_call, stream_phase
from zipmap_jax.models.api import Model, in_stored_formats
from zipmap_jax.models.config import Mixer
from zipmap_jax.nn.config import POLICIES, Policy
from zipmap_jax.tree import tree_bytes

Target = Literal["here", "h200"]


@dataclasses.dataclass(frozen=True)
class MemoryConfig:
    """Reconstructions to compile, see `Task`, for this machine's device or for an H200."""

    preset: str = "large"
    views: tuple[int, ...] = (1, 25, 100, 750)
    size: tuple[int, int] = (392, 518)
    heads: tuple[str, ...] = ("camera", "depth")
    mixer: Mixer = "fast_weights"
    streaming: bool = False
    dtype: str = "bf16"
    chunk: int | None = None
    target: Target = "here"


@dataclasses.dataclass(frozen=True)
class MemoryRow:
    """Memory of one compiled reconstruction.

    Attributes:
      views, chunk: number of views, and views per chunk.
      program: bytes of the largest program; None if compilation failed.
      planned: bytes estimated by `zipmap_jax.inference.memory`.
      compile_seconds: compilation time.
      missing: reason why compilation failed.
      phases: bytes on the device while each program runs.
    """

    views: int
    chunk: int | None
    program: ProgramMemory | None
    planned: int
    compile_seconds: float
    missing: str = ""
    phases: dict[str, ProgramMemory] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class MemoryResult:
    """Rows so far and their target; for an H200 also the kernels of a layer."""

    config: MemoryConfig
    target: dict[str, Any]
    device_memory: int | None
    rows: tuple[MemoryRow, ...] = ()
    notes: tuple[str, ...] = ()
    kernels: CompiledKernels | None = None

    def bytes_per_view(self) -> float | None:
        """Slope of bytes against views over the rows with several chunks."""
        rows = [row for row in self.rows if row.program and row.chunk and row.views > row.chunk]
        totals = [float(row.program.total) for row in rows if row.program]
        line = fit_line([row.views for row in rows], totals)
        return line.slope if line else None

    def as_dict(self) -> dict[str, Any]:
        """All values, for JSON."""
        return {
            "config": dataclasses.asdict(self.config),
            "target": self.target,
            "device_memory": self.device_memory,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "bytes_per_view": self.bytes_per_view(),
            "notes": self.notes,
            "kernels": dataclasses.asdict(self.kernels) if self.kernels else None,
        }


def memory_table(
    config: MemoryConfig, on_result: Callable[[MemoryResult], None] = lambda result: None
) -> MemoryResult:
    """Compile the programs for each number of views without running them.

    Args:
      config: reconstructions to compile.
      on_result: called with the result so far after every row.

    Raises:
      UserError: the configuration is invalid, or the compiler of the target is missing.
    """
    tasks = _tasks(config, POLICIES[config.dtype])
    sharding = h200.h200_sharding() if config.target == "h200" else None
    policy, notes = _attention(POLICIES[config.dtype], config.target)
    memory = MEMORY_BYTES if config.target == "h200" else free_memory()[0]
    result = MemoryResult(config, _target(config.target), memory, notes=notes)
    for task in tasks:
        compiled_task = dataclasses.replace(task, policy=policy)
        row = _row(task, compiled_task, sharding)
        result = dataclasses.replace(result, rows=(*result.rows, row))
        on_result(result)
    kernels = tasks[0].model.kernels
    if config.target == "h200" and kernels is not None:
        result = _with_kernels(result, kernels)
        on_result(result)
    return result


def _with_kernels(result: MemoryResult, shape: tuple[int, int, int]) -> MemoryResult:
    """Add registers and spills of the kernels, or a note with the reason why they are unknown."""
    try:
        return dataclasses.replace(result, kernels=compiled_kernels(*shape))
    except RuntimeError as error:
        note = f"Registers and spills of the kernels are unknown: {error}."
        return dataclasses.replace(result, notes=(*result.notes, note))


def _tasks(config: MemoryConfig, policy: Policy) -> list[Task]:
    if config.streaming and config.mixer == "attention":
        raise UserError("attention has no state to stream into: leave out --mixer or --streaming")
    base = Task(
        config.preset,
        policy,
        config.size,
        kind="streaming" if config.streaming else "offline",
        heads=config.heads,
        mixer=config.mixer,
    )
    if config.streaming and config.heads == ("camera",):
        raise UserError("a stream is one program of cameras and depth: leave out --heads camera")

    def chunk(views: int) -> int | None:
        if config.streaming and config.chunk is None:
            return STREAM_CHUNK if views > STREAM_CHUNK else None
        return config.chunk or even_chunk(views)

    return [
        dataclasses.replace(base, views=views, chunk=chunk(views))
        for views in dict.fromkeys(config.views)
    ]


def _attention(policy: Policy, target: Target) -> tuple[Policy, tuple[str, ...]]:
    """The policy with the attention that "auto" selects on the target, and notes about it."""
    if target == "here":
        return policy, ()
    if policy.compute != jax.numpy.bfloat16:
        return dataclasses.replace(policy, attention="xla"), ()
    if h200.has_cudnn():
        return dataclasses.replace(policy, attention="cudnn"), ()
    note = "cuDNN is not installed: attention is XLA's, which needs more memory."
    return dataclasses.replace(policy, attention="xla"), (note,)


def _target(target: Target) -> dict[str, Any]:
    if target == "h200":
        name = "NVIDIA H200, compiled for and not run"
    else:
        device = jax.devices()[0]
        name = f"{device.device_kind} ({device.platform})"
    return {"device": name, "jax": jax.__version__, "date": time.strftime("%Y-%m-%d")}


def _row(task: Task, compiled: Task, sharding: Any) -> MemoryRow:
    """Compile one reconstruction; only `compiled`, unlike `task`, may need cuDNN."""
    params, start = task.shapes[0], time.perf_counter()
    sizes, platform = [task.size] * task.views, "cuda" if sharding else None
    workload = workload_of(task.model, params, sizes, task.size, task.chunk, platform)
    planned = device_bytes(workload)
    try:
        phases = _phases(compiled, params, sharding)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = "does not fit: " + (str(error).splitlines() or [""])[0][:200]
        return MemoryRow(task.views, task.chunk, None, planned, 0.0, reason)
    largest = max(phases.values(), key=lambda memory: memory.total)
    seconds = time.perf_counter() - start
    return MemoryRow(task.views, task.chunk, largest, planned, seconds, phases=phases)


def _phases(task: Task, params: Any, sharding: Any) -> dict[str, ProgramMemory]:
    """Bytes on the device while each program of a reconstruction runs."""
    bucket, points = Bucket(task.padded, *task.size, chunk=task.chunk), "points" in task.heads
    if task.kind == "streaming":
        call = bucket_of_call(task.model, bucket)
        stream, images = _stream_memory(task.model, call, points, sharding)
        return {"stream": _with_transfers(stream, images) if call.views < bucket.views else stream}
    phases = phases_of(task.model, params, bucket, points=points)
    if task.heads == ("camera",):
        del phases["decode"]
    memory = {name: _with_all_weights(phase, params, sharding) for name, phase in phases.items()}
    if bucket.chunks > 1:
        images = tree_bytes(phases["encode"].arguments[1])
        memory["encode"] = _with_transfers(memory["encode"], images, outputs=1)
        if "decode" in memory:
            memory["decode"] = _with_transfers(memory["decode"], 0)
    return memory


@functools.lru_cache(maxsize=1)
def _stream_memory(
    model: Model, call: Bucket, points: bool, sharding: Any
) -> tuple[ProgramMemory, int]:
    """Memory of one call of a stream, of any length, and bytes of the call's images."""
    params = in_stored_formats(jax.eval_shape(model.init, jax.random.key(0)), model)
    outputs = (*OUTPUTS, "local_points") if points else OUTPUTS
    phase = stream_phase(model, params, call, outputs=outputs)
    return _with_all_weights(phase, params, sharding), tree_bytes(phase.arguments[1].images)


def _with_all_weights(phase: Phase, params: Any, sharding: Any) -> ProgramMemory:
    """Memory while a program runs, including weights that are not its arguments."""
    shapes = (params, *phase.arguments)
    memory = program_memory(h200.compile_for(sharding, phase.jitted, shapes))
    return _summed(tree_bytes(shapes), memory.outputs, memory.temporaries)


def _with_transfers(memory: ProgramMemory, images: int, outputs: int = 2) -> ProgramMemory:
    """Memory with the images of the next chunk and the predictions of the last one."""
    return _summed(memory.arguments + images, outputs * memory.outputs, memory.temporaries)


def _summed(arguments: int, outputs: int, temporaries: int) -> ProgramMemory:
    return ProgramMemory(arguments, outputs, temporaries, arguments + outputs + temporaries)


def markdown(result: MemoryResult) -> str:
    """The table as a document."""
    config, (height, width) = result.config, result.config.size
    rows = sorted(result.rows, key=lambda row: row.views)
    digits = 2 if max((row.planned for row in rows), default=0) >= 1e9 else 4
    lines = [
        f"# Memory: {config.preset}{', streaming' * config.streaming}, {height}x{width}, "
        f"{config.dtype}",
        "",
        "; ".join(f"{name} {value}" for name, value in result.target.items()) + ".",
        f"Heads: {', '.join(config.heads)}. Bytes that the compiler plans for {_programs(config)} "
        "of a reconstruction; none was run. All weights count, in the formats of inference: "
        "matrices of the backbone as the products take them, the rest in fp32.",
        "",
        "| views | chunk | largest | arguments GB | outputs GB | temporary GB | total GB | plan GB "
        "| fits |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(row, result.device_memory, digits) for row in rows),
    ]
    if (slope := result.bytes_per_view()) is not None:
        lines += ["", f"Each view adds {slope / 1e6:.1f} MB."]
    if k := result.kernels:
        lines += [
            "",
            f"Newton-Schulz of a layer in Pallas ({k.batch}x{k.rows}x{k.columns}, five steps): "
            f"{k.kernels} launches, at most {k.registers} registers a thread, {k.spilled_bytes} "
            f"bytes spilled, {k.copies} copies, {k.temporary_bytes / 1e6:.1f} MB of temporaries.",
        ]
    lines += [f"\n{note}" for note in result.notes]
    return "\n".join(lines) + "\n"


def _programs(config: MemoryConfig) -> str:
    if config.streaming:
        return "the program, called with a chunk at a time (`zipmap_jax.inference.stream_program`),"
    return (
        "the largest of the programs, one after the other (`zipmap_jax.inference.offline_program`),"
    )


def _line(row: MemoryRow, memory: int | None, digits: int) -> str:
    def gigabytes(amount: int) -> str:
        return f"{amount / 1e9:.{digits}f}"

    cells = [str(row.views), str(row.chunk or "all")]
    if row.program is None:
        cells += [row.missing, "", "", "", "", gigabytes(row.planned), "no"]
    else:
        p = row.program
        cells.append(next((name for name, phase in row.phases.items() if phase == p), ""))
        sizes = (p.arguments, p.outputs, p.temporaries, p.total, row.planned)
        cells += map(gigabytes, sizes)
        cells.append("" if memory is None else "yes" if p.total < memory else "no")
    return f"| {' | '.join(cells)} |"
