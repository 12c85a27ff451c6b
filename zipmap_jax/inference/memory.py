"""Memory estimates of reconstructions, before anything is decoded or compiled."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from zipmap_jax.errors import UserError, is_out_of_memory
from zipmap_jax.images.frames import AHEAD
from zipmap_jax.models.api import Workload
from zipmap_jax.scene.points import PERCENTILE_SAMPLES
from zipmap_jax.tree import tree_bytes

# Interpreter, JAX and compiler; measured on the CPU.
_RUNTIME_BYTES = 400_000_000
_MARGIN = 1.1
_UNCERTAINTY = 1.5
RESULTS_IN_MEMORY = 512 * 2**20
"""Maximum bytes of a scene at its original size in memory; the rest is written to files."""
STREAM_CHUNK = 8
"""Chunk of a streaming model, if it fits."""


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Expected peak memory and free memory, in bytes.

    Attributes:
      workload: model and views.
      device_bytes: expected peak on each device.
      host_bytes: expected peak on the host, without devices that share its memory.
      free_device: free memory of the accelerator; None on the CPU.
      free_host: free memory of the host; None = unknown.
      suggestion: a remedy if the workload does not fit, else empty.
    """

    workload: Workload
    device_bytes: int
    host_bytes: int
    free_device: int | None
    free_host: int | None
    suggestion: str = ""

    @property
    def fits(self) -> bool:
        """Whether no peak is known to exceed the free memory."""
        if self.free_device is None:
            return _below(self._on_host, self.free_host)
        return _below(self.device_bytes, self.free_device) and _below(
            self.host_bytes, self.free_host
        )

    @property
    def hopeless(self) -> bool:
        """Whether the peak exceeds the host's memory by more than the error of the estimate.

        The operating system would kill the process without a message.
        """
        peak = self._on_host if self.free_device is None else self.host_bytes
        return not _below(int(peak / _UNCERTAINTY), self.free_host)

    @property
    def text(self) -> str:
        """The estimate in one line."""
        w = self.workload
        views = f"{w.views} view{'s' * (w.views != 1)} at {w.network_size[1]}x{w.network_size[0]}"
        if self.free_device is None:
            peak = f"{_gb(self._on_host)} of {_gb(self.free_host)} free"
        else:
            each = "the device" if w.devices == 1 else f"each of {w.devices} devices"
            peak = (
                f"{_gb(self.device_bytes)} of {_gb(self.free_device)} free on {each}, "
                f"{_gb(self.host_bytes)} of {_gb(self.free_host)} free on the host"
            )
        advice = f"; {self.suggestion}" if self.suggestion else ""
        return f"memory for {views}, {w.live_chunk} at a time: about {peak}{advice}"

    @property
    def _on_host(self) -> int:
        """Expected peak of a host whose memory the devices share."""
        return self.host_bytes + self.workload.devices * self.device_bytes

    @property
    def parts(self) -> str:
        """The parts of the device's peak in one line."""
        return self.workload.plan.text


def estimate_memory(
    workload: Workload, free_device: int | None = None, free_host: int | None = None
) -> MemoryEstimate:
    """Estimates peak memory, with a suggestion if it exceeds the free memory.

    Args:
      workload: model and views.
      free_device: free bytes of the accelerator; None on the CPU.
      free_host: free bytes of the host; None = unknown.
    """
    estimate = MemoryEstimate(
        workload, device_bytes(workload), host_bytes(workload), free_device, free_host
    )
    if estimate.fits:
        return estimate
    return dataclasses.replace(estimate, suggestion=_suggestion(estimate))


def device_bytes(w: Workload) -> int:
    """Returns the expected peak bytes of each device."""
    return w.plan.total


def host_bytes(w: Workload) -> int:
    """Returns the expected peak bytes of images, results and the runtime on the host.

    A streaming model holds network images and predictions of two chunks, others those of all views.
    """
    pixels = sum(height * width for height, width in w.original_sizes)
    # 3 bytes of colour, two floats of depth and confidence.
    results = min(pixels * (3 + 4 + 4), RESULTS_IN_MEMORY)
    views = min(w.views, 2 * w.live_chunk) if w.model.streams else w.views
    # 8-bit images before and after padding, and two floats.
    network = views * math.prod(w.network_size) * (2 * 3 + 4 + 4)
    largest = max((height * width for height, width in w.original_sizes), default=0)
    decoded = min(AHEAD + 1, w.views) * largest * 3
    # The point cloud's sampled confidences, and one bit per pixel.
    cloud = min(pixels, PERCENTILE_SAMPLES) * 4 + pixels // 8
    total = results + network + decoded + cloud + largest * 24
    return int(_MARGIN * total + _RUNTIME_BYTES)


def results_in_memory(free_host: int | None) -> int:
    """Returns the bytes of a scene to hold in memory: at most a quarter of the free memory."""
    return RESULTS_IN_MEMORY if free_host is None else min(RESULTS_IN_MEMORY, free_host // 4)


@contextlib.contextmanager
def out_of_memory_error(remedy: str) -> Iterator[None]:
    """Converts out-of-memory errors of the block to a `UserError` that names the remedy."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"memory ran out: {remedy}") from error


def free_memory(device: Any = None) -> tuple[int | None, int | None]:
    """Returns the free bytes of an accelerator (None = CPU or unknown) and of the host."""
    device = jax.devices()[0] if device is None else device
    stats = None if device.platform == "cpu" else device.memory_stats()
    free = None
    if stats and "bytes_limit" in stats:
        free = int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return free, _free_host()


def automatic_chunk(
    workload: Workload, free_device: int | None, free_host: int | None
) -> int | None:
    """Returns the first of `chunk_candidates` that fits; None = all views at once."""
    for chunk in chunk_candidates(workload):
        trial = dataclasses.replace(workload, chunk=chunk)
        if estimate_memory(trial, free_device, free_host).fits:
            return chunk
    return 1


def chunk_candidates(workload: Workload) -> tuple[int | None, ...]:
    """Returns the chunks to try, largest first; None = all views at once."""
    if workload.model.streams:  # smaller, as each padding view of the last chunk costs a step
        return (None if workload.share <= STREAM_CHUNK else STREAM_CHUNK, 4, 2, 1)
    return (None if workload.share <= 16 else 16, 8, 4, 2, 1)


def memory_remedy(workload: Workload) -> str:
    """Returns the advice for a lack of memory: a smaller chunk, fewer views or smaller ones."""
    if workload.live_chunk > 1:
        return f"use a chunk of {max(1, workload.live_chunk // 2)} (now {workload.live_chunk})"
    if workload.views > 1:
        return f"use at most {max(1, workload.views // 2)} views (now {workload.views})"
    return f"use a network size below {max(workload.network_size)}"


def _suggestion(estimate: MemoryEstimate) -> str:
    """The mildest change that fits."""
    w = estimate.workload

    def fits(trial: Workload) -> bool:
        return dataclasses.replace(
            estimate, workload=trial, device_bytes=device_bytes(trial), host_bytes=host_bytes(trial)
        ).fits

    for chunk in (8, 4, 2, 1):
        if chunk < w.live_chunk and fits(dataclasses.replace(w, chunk=chunk)):
            return f"use a chunk of {chunk} to make it fit"
    low = dataclasses.replace(w, chunk=1)
    count = w.views // 2
    while count >= 1:
        if fits(dataclasses.replace(low, original_sizes=w.original_sizes[:count])):
            return f"use a chunk of 1 and at most {count} views to make it fit"
        count //= 2
    return "use a smaller network size, smaller images or a machine with more memory"


def _free_host(root: Path = Path("/")) -> int | None:
    """The smaller of MemAvailable and the rest of the control group; None if unknown."""
    free = []
    try:
        lines = (root / "proc/meminfo").read_text("ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable"))
        free.append(int(available.split()[1]) * 1024)
    except (OSError, StopIteration, ValueError):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            free.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    group = root / "sys/fs/cgroup"
    with contextlib.suppress(OSError, ValueError):  # no control group, or "max"
        limit = int((group / "memory.max").read_text("ascii"))
        used = int((group / "memory.current").read_text("ascii"))
        free.append(max(0, limit - used + _file_cache(group / "memory.stat")))
    return min(free, default=None)


def _file_cache(stat: Path) -> int:
    """Bytes of cached files, which a control group counts as used but releases on demand."""
    lines = (line.split() for line in stat.read_text("ascii").splitlines())
    return sum(int(line[1]) for line in lines if line[0] in ("active_file", "inactive_file"))


def _below(peak: int, free: int | None) -> bool:
    return free is None or peak <= free


def _gb(amount: int | None) -> str:
    return "an unknown amount" if amount is None else f"{amount / 1e9:.1f} GB"


def free_before_loading(
    free: tuple[int | None, int | None], params: Any
) -> tuple[int | None, int | None]:
    """Returns the free memory before the parameters were loaded, which estimates include.

    Args:
      free: from `free_memory`.
      params: the loaded parameters.
    """
    device, host = free
    loaded = tree_bytes(params)
    if device is not None:
        return device + loaded, host
    return None, None if host is None else host + loaded


def workload_of(
    model: Any,
    params: Any,
    original_sizes: Sequence[tuple[int, int]],
    network_size: tuple[int, int],
    chunk: int | None = None,
    platform: str | None = None,
    devices: int = 1,
) -> Workload:
    """Returns the workload of a model for images of these sizes.

    Args:
      model: the model.
      params: its parameters, or their shapes.
      original_sizes, network_size, chunk, devices: see `Workload`.
      platform: platform of the devices, such as "cpu"; None = the default.
    """
    return Workload(
        model=model,
        parameter_bytes=tree_bytes(params),
        original_sizes=tuple(original_sizes),
        network_size=network_size,
        chunk=chunk,
        devices=devices,
        in_place=(platform or jax.default_backend()) != "cpu",
    )
