"""How much memory a reconstruction will take, before it starts."""

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
_DOUBT = 1.5
RESULTS_IN_MEMORY = 512 * 2**20
"""Bytes of a scene at its original size that are held in memory at most; the rest goes to files."""
STREAMED = 8
"""Views that a model that streams takes at a time, if they fit."""


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Expected peak memory in bytes beside what is free; None = unknown.

    Attributes:
      workload: what was estimated.
      device_bytes: of each device: weights, views, token stream, tapped features, temporaries,
        outputs.
      host_bytes: original images, and depth and confidence at their size.
      free_device: free memory of the accelerator; None on the CPU, which shares the host's.
      free_host: free memory of the host.
      suggestion: what to change when it does not fit; empty when it does.
    """

    workload: Workload
    device_bytes: int
    host_bytes: int
    free_device: int | None
    free_host: int | None
    suggestion: str = ""

    @property
    def fits(self) -> bool:
        """True unless one of the two needs is known to exceed what is free."""
        if self.free_device is None:
            return _below(self._on_host, self.free_host)
        return _below(self.device_bytes, self.free_device) and _below(
            self.host_bytes, self.free_host
        )

    @property
    def hopeless(self) -> bool:
        """Whether the host's memory is exceeded by more than the estimate can err.

        An operating system that runs out of memory ends the program without a word.
        """
        need = self._on_host if self.free_device is None else self.host_bytes
        return not _below(int(need / _DOUBT), self.free_host)

    @property
    def text(self) -> str:
        """One line for people."""
        w = self.workload
        views = f"{w.views} view{'s' * (w.views != 1)} at {w.network_size[1]}x{w.network_size[0]}"
        if self.free_device is None:
            need = f"{_gb(self._on_host)} of {_gb(self.free_host)} free"
        else:
            each = "the device" if w.devices == 1 else f"each of {w.devices} devices"
            need = (
                f"{_gb(self.device_bytes)} of {_gb(self.free_device)} free on {each}, "
                f"{_gb(self.host_bytes)} of {_gb(self.free_host)} free on the host"
            )
        advice = f"; {self.suggestion}" if self.suggestion else ""
        return f"memory for {views}, {w.live_chunk} at a time: about {need}{advice}"

    @property
    def _on_host(self) -> int:
        """What the host needs if its memory is also that of the devices."""
        return self.host_bytes + self.workload.devices * self.device_bytes

    @property
    def parts(self) -> str:
        """What the device's share is made of, in one line."""
        return self.workload.plan.text


def estimate_memory(
    workload: Workload, free_device: int | None = None, free_host: int | None = None
) -> MemoryEstimate:
    """Estimate of peak memory, with a suggestion if it exceeds what is free.

    See `Model.memory` for the device's share.

    Args:
      workload: the model and the views.
      free_device: free bytes of the accelerator, see `free_memory`; None = on the CPU.
      free_host: free bytes of the host; None = unknown.
    """
    estimate = MemoryEstimate(
        workload, device_bytes(workload), host_bytes(workload), free_device, free_host
    )
    if estimate.fits:
        return estimate
    return dataclasses.replace(estimate, suggestion=_suggestion(estimate))


def device_bytes(w: Workload) -> int:
    """Expected peak bytes where the network runs."""
    return w.plan.total


def host_bytes(w: Workload) -> int:
    """Expected peak bytes of the originals and the results at their size, and of the runtime.

    What exceeds `RESULTS_IN_MEMORY` of a scene goes to files. A stream holds network images and
    predictions of two chunks, other models those of all views.
    """
    pixels = sum(height * width for height, width in w.original_sizes)
    # 3 bytes of colour, two floats of depth and confidence.
    results = min(pixels * (3 + 4 + 4), RESULTS_IN_MEMORY)
    views = min(w.views, 2 * w.live_chunk) if w.model.streams else w.views
    # Images of 8 bits, before and after they are padded, and two floats.
    network = views * math.prod(w.network_size) * (2 * 3 + 4 + 4)
    largest = max((height * width for height, width in w.original_sizes), default=0)
    decoded = min(AHEAD + 1, w.views) * largest * 3
    # The point cloud's sampled confidences, and a bit for each pixel that may be in it.
    cloud = min(pixels, PERCENTILE_SAMPLES) * 4 + pixels // 8
    total = results + network + decoded + cloud + largest * 24
    return int(_MARGIN * total + _RUNTIME_BYTES)


def results_in_memory(free_host: int | None) -> int:
    """Bytes of a scene at its original size that are held in memory: a quarter of what is free."""
    return RESULTS_IN_MEMORY if free_host is None else min(RESULTS_IN_MEMORY, free_host // 4)


@contextlib.contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turn a lack of memory into a sentence.

    Args:
      advice: what to do.

    Raises:
      UserError: memory ran out.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"memory ran out: {advice}") from error


def free_memory(device: Any = None) -> tuple[int | None, int | None]:
    """Free bytes of an accelerator (None on the CPU or if it does not tell), and of the host."""
    device = jax.devices()[0] if device is None else device
    stats = None if device.platform == "cpu" else device.memory_stats()
    free = None
    if stats and "bytes_limit" in stats:
        free = int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return free, _free_host()


def automatic_chunk(
    workload: Workload, free_device: int | None, free_host: int | None
) -> int | None:
    """The first of `chunks` that fits; None = all views at once."""
    for chunk in chunks(workload):
        trial = dataclasses.replace(workload, chunk=chunk)
        if estimate_memory(trial, free_device, free_host).fits:
            return chunk
    return 1


def chunks(workload: Workload) -> tuple[int | None, ...]:
    """Views at a time, in the order in which they are tried; None = all.

    As many as 16, and as many as fit. Of a stream 8: every view that fills up the last chunk costs
    a step of its own.
    """
    if workload.model.streams:
        return (None if workload.share <= STREAMED else STREAMED, 4, 2, 1)
    return (None if workload.share <= 16 else 16, 8, 4, 2, 1)


def smaller(workload: Workload) -> str:
    """What to try after memory ran out: a smaller chunk, else fewer views, else smaller ones."""
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
    """MemAvailable, or what the control group leaves if that is less; None if unknown."""
    free = []
    try:
        lines = (root / "proc/meminfo").read_text("ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable"))
        free.append(int(available.split()[1]) * 1024)
    except (OSError, StopIteration, ValueError):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            free.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    group = root / "sys/fs/cgroup"
    with contextlib.suppress(OSError, ValueError):  # no groups, or the word "max": no limit
        limit = int((group / "memory.max").read_text("ascii"))
        used = int((group / "memory.current").read_text("ascii"))
        free.append(max(0, limit - used + _file_cache(group / "memory.stat")))
    return min(free, default=None)


def _file_cache(stat: Path) -> int:
    """Bytes of cached files, which a control group counts as used but gives up when asked."""
    lines = (line.split() for line in stat.read_text("ascii").splitlines())
    return sum(int(line[1]) for line in lines if line[0] in ("active_file", "inactive_file"))


def _below(need: int, free: int | None) -> bool:
    return free is None or need <= free


def _gb(amount: int | None) -> str:
    return "an unknown amount" if amount is None else f"{amount / 1e9:.1f} GB"


def beside(free: tuple[int | None, int | None], params: Any) -> tuple[int | None, int | None]:
    """Free memory (see `free_memory`) as it was before the parameters were loaded.

    Estimates count parameters as part of the work, and what is loaded is no longer free.
    """
    device, host = free
    held = tree_bytes(params)
    if device is not None:
        return device + held, host
    return None, None if host is None else host + held


def workload_of(
    model: Any,
    params: Any,
    original_sizes: Sequence[tuple[int, int]],
    network_size: tuple[int, int],
    chunk: int | None = None,
    platform: str | None = None,
) -> Workload:
    """The workload of running a model on images of these sizes.

    Args:
      model, params: the model.
      original_sizes, network_size, chunk: see `Workload`.
      platform: that it runs on, "cpu" or another; None = the default.
    """
    return Workload(
        model=model,
        parameter_bytes=tree_bytes(params),
        original_sizes=tuple(original_sizes),
        network_size=network_size,
        chunk=chunk,
        in_place=(platform or jax.default_backend()) != "cpu",
    )
