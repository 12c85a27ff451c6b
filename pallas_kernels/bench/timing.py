"""Wall-clock time of compiled functions, and the matmul rate of the device as a reference."""

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
"""Target duration of a sample, for which short calls are queued repeatedly."""

MAX_REPEATS = 100
"""Maximum number of calls in a sample."""


@dataclasses.dataclass(frozen=True)
class CallTiming:
    """Time of one call.

    Attributes:
      ms: median over the samples, in milliseconds.
      low, high: minimum and maximum over the samples, in milliseconds.
      samples: number of samples.
      repeats: number of calls in each sample.
      compile_s: seconds to trace, lower and compile.
    """

    ms: float
    low: float
    high: float
    samples: int
    repeats: int
    compile_s: float


def measure(f: Callable[..., Any], *args: Any, samples: int) -> tuple[CallTiming, Any]:
    """Compiles a function and times it after warm-up.

    Args:
      f: the function.
      *args: its arguments.
      samples: timed samples.

    Returns:
      The timing, and the result of the function.
    """
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
    """Mean seconds of a call over `repeats` queued calls."""
    start = time.perf_counter()
    for _ in range(repeats - 1):
        f(*args)
    jax.block_until_ready(f(*args))
    return (time.perf_counter() - start) / repeats


def matmul_peak(samples: int) -> dict[str, Any]:
    """Rate of one large product of random matrices, bf16 on a GPU and fp32 on a CPU.

    Args:
      samples: timed samples.

    Returns:
      The side "n", the "format", the rate "tflops" and the fields of `CallTiming`.
    """
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
