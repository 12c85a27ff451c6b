"""Wall-clock time of a compiled function, and the matmul rate of the device as a yardstick."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

SAMPLE_SECONDS = 0.02
"""Calls are queued until a sample lasts about this long: a GPU runs them back to back."""

MAX_REPEATS = 100


@dataclasses.dataclass(frozen=True)
class CallTiming:
    """Milliseconds of one call.

    Attributes:
      ms: median over the samples.
      low, high: fastest and slowest sample.
      samples, repeats: how many, and calls in each.
      compile_s: seconds to trace, lower and compile.
    """

    ms: float
    low: float
    high: float
    samples: int
    repeats: int
    compile_s: float


def measure(f: Callable[..., Any], *args: Any, samples: int) -> tuple[CallTiming, Any]:
    """Time `f(*args)` after compiling it and warming up; also returns its result."""
    start = time.perf_counter()
    compiled = jax.jit(f).lower(*args).compile()
    compile_s = time.perf_counter() - start
    result = jax.block_until_ready(compiled(*args))
    once = _sample(compiled, args, 1)
    repeats = max(1, min(MAX_REPEATS, math.ceil(SAMPLE_SECONDS / once)))
    _sample(compiled, args, repeats)
    times = [1e3 * _sample(compiled, args, repeats) for _ in range(samples)]
    timing = CallTiming(
        statistics.median(times), min(times), max(times), samples, repeats, compile_s
    )
    return timing, result


def _sample(f: Callable[..., Any], args: Any, repeats: int) -> float:
    """Seconds of one call, when `repeats` are queued."""
    start = time.perf_counter()
    for _ in range(repeats - 1):
        f(*args)
    jax.block_until_ready(f(*args))
    return (time.perf_counter() - start) / repeats


def matmul_peak(samples: int) -> dict[str, Any]:
    """Rate of one large product of random matrices: bf16 on a GPU, fp32 on a CPU."""
    gpu = jax.devices()[0].platform == "gpu"
    n, form = (8192, jnp.bfloat16) if gpu else (1024, jnp.float32)
    a, b = (jax.random.normal(jax.random.key(seed), (n, n), form) for seed in (0, 1))
    timing, _ = measure(jnp.matmul, a, b, samples=samples)
    return {
        "n": n,
        "format": jnp.dtype(form).name,
        "tflops": 2 * n**3 / timing.ms / 1e9,
        **dataclasses.asdict(timing),
    }
