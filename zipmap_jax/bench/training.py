"""Training steps per second of a configuration, for each batch shape."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Container, Iterator
from typing import Any

import jax

from zipmap_jax.train.batches.procedural import ProceduralSource
from zipmap_jax.train.compiled_step import CompiledStep
from zipmap_jax.train.config.registry import load
from zipmap_jax.train.initial_weights import new_state, state_shapes
from zipmap_jax.train.sharding import make_mesh, shardings

_WARM_UP, _STEPS = 3, 50
_SECONDS = 10.0


def training_rates(
    name: str, left: Callable[[], float], steps: int = _STEPS, skip: Container[str] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Steps per second for each batch shape, including the rendering of the scenes.

    Args:
      name: configuration whose scenes are rendered on the device.
      left: function that returns the seconds left; without any, shapes are reported as missing.
      steps: maximum number of steps per shape; slow steps reduce it.
      skip: shapes to skip.
    """
    config = load(name)
    for bucket in config.data.buckets:
        shape = f"{bucket.batch} x {bucket.views} views of {bucket.height}x{bucket.width}"
        if shape in skip:
            continue
        if left() <= 0:
            yield shape, {"missing": "no time left"}
            continue
        # Active from start to end, so that every step has this shape.
        always_active = dataclasses.replace(bucket, start=0.0, end=1.0, weight=1.0)
        data = dataclasses.replace(config.data, buckets=(always_active,))
        yield shape, _rate(dataclasses.replace(config, data=data), steps)


def _rate(config: Any, steps: int) -> dict[str, Any]:
    mesh = make_mesh(config.mesh)
    source = ProceduralSource(config.data, config.steps, config.seed, mesh)
    layout = shardings(state_shapes(config), mesh)
    state = jax.jit(functools.partial(new_state, config), out_shardings=layout)()
    program = CompiledStep(config, mesh)
    start = time.perf_counter()
    batch = source(0)
    program.compile(state, batch)
    compile_seconds = time.perf_counter() - start
    flops = program.flops(batch)
    state, metrics = program(state, batch)
    for index in range(1, _WARM_UP):
        state, metrics = program(state, source(index))
    jax.block_until_ready(metrics)
    start, done = time.perf_counter(), 0
    while done < steps and (done == 0 or time.perf_counter() - start < _SECONDS):
        state, metrics = program(state, source(_WARM_UP + done))
        done += 1
        if done % 10 == 0:
            jax.block_until_ready(metrics)
    jax.block_until_ready((state, metrics))
    seconds = (time.perf_counter() - start) / done
    return {
        "steps_per_second": 1 / seconds,
        "steps": done,
        "tflops": flops / seconds / 1e12,
        "compile_seconds": compile_seconds,
        "policy": config.policy,
        "loss": float(metrics["loss"]),
    }
