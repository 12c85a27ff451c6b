"""The items of the GPU suite, each a function that keeps its file up to date as it goes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from zipmap_jax.bench.attention_probe import probe
from zipmap_jax.bench.matmul import matmul_peak
from zipmap_jax.bench.output import write_result, write_whole
from zipmap_jax.bench.runtime import OUT_OF_TIME, Effort, Row
from zipmap_jax.bench.series import Result, RuntimeConfig, machine, run
from zipmap_jax.bench.training import training_rates
from zipmap_jax.models.config import BF16
from zipmap_jax.parity.check import check
from zipmap_jax.plain_json import dumps

if TYPE_CHECKING:
    from zipmap_jax.bench.suite import SuiteConfig

Save = Callable[[dict[str, Any]], None]
"""Writes what is known of an item so far; with "complete" once it is done."""
Left = Callable[[], float]
"""Seconds left."""

# What compiles longest comes last.
_FIRST = ("e2e_offline_aff1_b1_s3_70x98.npz", "unit_ttt_real.npz", "unit_newton_schulz.npz")
_LAST = (
    "loss_plain.npz",
    "e2e_streaming_twocall_w2_s5_70x98.npz",
    "e2e_state_query_s3_t2_70x98.npz",
    "e2e_large_aff1_s2_56x70.npz",
)
_ROW_SECONDS = 20.0


def run_item(name: str, config: SuiteConfig, seconds: float) -> None:
    """Run one item in this process.

    Args:
      name: of `suite.ITEMS`.
      config: the suite.
      seconds: after which no further part of it is started.
    """
    end = time.monotonic() + seconds
    file = config.file(name)

    def save(facts: dict[str, Any]) -> None:
        write_whole(file, dumps(facts, indent=1) + "\n")

    _FUNCTIONS[name](config, save, lambda: end - time.monotonic())


def _machine(config: SuiteConfig, save: Save, left: Left) -> None:
    del config, left
    facts: dict[str, Any] = {"machine": machine(), "nvidia-smi": _nvidia_smi()}
    save(facts)
    device = jax.devices()[0]
    facts["memory"] = device.memory_stats()
    facts["environment"] = {k: v for k, v in os.environ.items() if k.startswith(("XLA_", "JAX_"))}
    for dtype, precision in (("bfloat16", "default"), ("float32", "default")):
        peak = matmul_peak(dtype, precision)
        facts[f"matmul {dtype}"] = dataclasses.asdict(peak)
    save(facts | {"complete": True})


def _nvidia_smi() -> str:
    try:
        done = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not available: {error}"
    return done.stdout


def _attention(config: SuiteConfig, save: Save, left: Left) -> None:
    del config
    facts: dict[str, Any] = {}
    # Tokens of a view of 392x518 and of 518x518.
    for tokens in (1041, 1374):
        for backward in (False, True):
            name = f"{tokens} tokens, {'backward' if backward else 'forward'}"
            facts[name] = probe(tokens, backward) if left() > 0 else OUT_OF_TIME
            save(facts)
    save(facts | {"complete": OUT_OF_TIME not in facts.values()})


def _goldens(config: SuiteConfig, save: Save, left: Left) -> None:
    """Recorded arrays in true fp32, and whole models in bf16 besides."""
    jax.config.update("jax_default_matmul_precision", "highest")
    units = sorted(p.name for p in config.golden.glob("unit_*.npz"))
    names = [name for name in (*_FIRST, *units, *_LAST) if (config.golden / name).exists()]
    if not names:
        raise ValueError(f"{config.golden} holds no recorded arrays: name their folder, --golden")
    cases = [
        (name, policy)
        for name in dict.fromkeys(names)
        for policy in ((None, BF16) if name.startswith("e2e_") else (None,))
    ]
    facts: dict[str, Any] = {}
    for name, policy in cases:
        key = f"{name}, {'bf16' if policy else 'fp32'}"
        if left() <= 0:
            facts[key] = OUT_OF_TIME
            continue
        start = time.monotonic()
        facts[key] = _golden(config.golden / name, policy)
        facts[key]["seconds"] = time.monotonic() - start
        save(facts)
    save(facts | {"complete": OUT_OF_TIME not in facts.values()})


def _golden(file: Path, policy: Any) -> dict[str, Any]:
    """How a file compares; whatever goes wrong with one must not cost the others."""
    try:
        rows = check(file, policy)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:500]}
    return {
        "tensors": len(rows),
        "beyond tolerance": [str(row) for row in rows if not row.ok],
        "relative_l2": {row.name: row.relative_l2 for row in rows},
    }


def _runtime(config: SuiteConfig, save: Save, left: Left) -> None:
    """One streamed frame, one queried view, then rising numbers of views."""
    known = _rows_before(config.file("runtime"))
    done = {(row.series, row.views) for row in known if row.missing != OUT_OF_TIME}
    on_cpu = jax.default_backend() == "cpu"
    base = RuntimeConfig(
        preset=config.preset,
        size=config.size,
        views=tuple(v for v in config.views if ("fast_weights", v) not in done),
        streaming=("streaming", 1) not in done,
        query=("query", 1) not in done,
        dtype="fp32" if on_cpu else "bf16",
    )
    rows = [row for row in known if (row.series, row.views) in done]

    def grown(result: Result) -> None:
        write_result(result, config.out)
        save(result.as_dict() | {"complete": False})

    result = run(base, Effort(row_seconds=_ROW_SECONDS, left=left), grown, rows)
    write_result(result, config.out)
    late = any(row.missing == OUT_OF_TIME for row in result.rows)
    save(result.as_dict() | {"complete": not late})


def _rows_before(file: Path) -> list[Row]:
    """Rows that an earlier command measured."""
    try:
        rows = json.loads(file.read_text("utf-8"))["rows"]
    except (OSError, ValueError, KeyError):
        return []
    return [Row.from_dict(row) for row in rows]


def _training(config: SuiteConfig, save: Save, left: Left) -> None:
    del config
    facts: dict[str, Any] = {}
    for name, rate in training_rates("tiny_procedural", left):
        facts[name] = rate
        save(facts)
    save(facts | {"complete": not any("missing" in rate for rate in facts.values())})


_FUNCTIONS: dict[str, Callable[[SuiteConfig, Save, Left], None]] = {
    "machine": _machine,
    "attention": _attention,
    "goldens": _goldens,
    "runtime": _runtime,
    "training": _training,
}
