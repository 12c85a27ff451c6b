"""The items of the GPU suite, each a function that saves partial results."""

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

from tools.gpu_suite.attention_probe import probe
from zipmap_jax.bench.matmul import matmul_peak
from zipmap_jax.bench.reconstruction import numbers_of_views, reconstructions
from zipmap_jax.bench.report import write_result
from zipmap_jax.bench.runtime import OUT_OF_TIME, Effort, RuntimeRow
from zipmap_jax.bench.series import RuntimeConfig, RuntimeResult, machine, run
from zipmap_jax.bench.training import training_rates
from zipmap_jax.config_io import from_json
from zipmap_jax.errors import UserError
from zipmap_jax.files import write_json
from zipmap_jax.inference.compile import enable_compilation_cache
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import BF16, POLICIES
from zipmap_jax.parity.check import check

if TYPE_CHECKING:
    from tools.gpu_suite.suite import SuiteConfig

Save = Callable[[dict[str, Any]], None]
"""Writes the results of an item so far; "complete" marks the end."""
Left = Callable[[], float]
"""Returns the seconds left."""

# Files that compile longest come last.
_FIRST = ("e2e_offline_aff1_b1_s3_70x98.npz", "unit_ttt_real.npz", "unit_newton_schulz.npz")
_LAST = (
    "loss_plain.npz",
    "e2e_streaming_twocall_w2_s5_70x98.npz",
    "e2e_state_query_s3_t2_70x98.npz",
    "e2e_large_aff1_s2_56x70.npz",
)
_ROW_SECONDS = 20.0
# These report compilation times, which cached programs would falsify. They compile little twice, as
# they skip earlier results.
_COMPILE_TIMES = ("runtime", "reconstruction", "training")


def run_item(name: str, config: SuiteConfig, seconds: float) -> None:
    """Run one item in this process.

    Args:
      name: name in `suite.ITEMS`.
      config: configuration of the suite.
      seconds: time after which no further part starts.
    """
    end = time.monotonic() + seconds
    file = config.file(name)
    if name in _COMPILE_TIMES:
        # Takes precedence over JAX_COMPILATION_CACHE_DIR.
        jax.config.update("jax_enable_compilation_cache", False)
    else:
        enable_compilation_cache()

    def save(facts: dict[str, Any]) -> None:
        write_json(file, {"complete": False, **facts})

    _FUNCTIONS[name](config, save, lambda: end - time.monotonic())


def earlier_results(file: Path) -> dict[str, Any]:
    """Results of earlier commands in an item's file, without missing ones and "complete"."""
    try:
        facts = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    facts.pop("complete", None)
    return {name: fact for name, fact in facts.items() if not _is_missing(fact)}


def _is_missing(fact: Any) -> bool:
    return fact == OUT_OF_TIME or (isinstance(fact, dict) and "missing" in fact)


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
    facts = earlier_results(config.file("attention"))
    # Tokens of a view of 392x518 and of 518x518.
    for tokens in (1041, 1374):
        for backward in (False, True):
            name = f"{tokens} tokens, {'backward' if backward else 'forward'}"
            if name not in facts:
                facts[name] = probe(tokens, backward) if left() > 0 else OUT_OF_TIME
                save(facts)
    save(facts | {"complete": OUT_OF_TIME not in facts.values()})


def _goldens(config: SuiteConfig, save: Save, left: Left) -> None:
    """Recorded tensors in true fp32, and whole models also in bf16."""
    jax.config.update("jax_default_matmul_precision", "highest")
    units = sorted(p.name for p in config.golden.glob("unit_*.npz"))
    names = [name for name in (*_FIRST, *units, *_LAST) if (config.golden / name).exists()]
    if not names:
        raise UserError(f"{config.golden} holds no recorded tensors: give their folder, --golden")
    cases = [
        (name, policy)
        for name in dict.fromkeys(names)
        for policy in ((None, BF16) if name.startswith("e2e_") else (None,))
    ]
    facts = earlier_results(config.file("goldens"))
    for name, policy in cases:
        key = f"{name}, {'bf16' if policy else 'fp32'}"
        if key in facts:
            continue
        if left() <= 0:
            facts[key] = OUT_OF_TIME
            continue
        start = time.monotonic()
        facts[key] = _golden(config.golden / name, policy)
        facts[key]["seconds"] = time.monotonic() - start
        save(facts)
    save(facts | {"complete": OUT_OF_TIME not in facts.values()})


def _golden(file: Path, policy: Any) -> dict[str, Any]:
    """Comparison of one file; errors are results, so that the other files are compared."""
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
    """One streamed frame, one queried view, then several numbers of views."""
    rows = [from_json(RuntimeRow, row) for row in _earlier_rows(config.file("runtime"))]
    done = {(row.series, row.views) for row in rows}
    base = RuntimeConfig(
        preset=config.preset,
        size=config.size,
        views=tuple(v for v in config.views if ("fast_weights", v) not in done),
        streaming=("streaming", 1) not in done,
        query=("query", 1) not in done,
        dtype=_dtype(),
    )

    def on_result(result: RuntimeResult) -> None:
        write_result(result, config.out)
        save(result.as_dict() | {"complete": False})

    result = run(base, Effort(row_seconds=_ROW_SECONDS, left=left), on_result, rows)
    write_result(result, config.out)
    out_of_time = any(row.missing == OUT_OF_TIME for row in result.rows)
    save(result.as_dict() | {"complete": not out_of_time})


def _earlier_rows(file: Path) -> list[dict[str, Any]]:
    """Rows of earlier commands, except for those without time."""
    rows = earlier_results(file).get("rows", [])
    return [row for row in rows if row["missing"] != OUT_OF_TIME]


def _dtype() -> str:
    return "fp32" if jax.default_backend() == "cpu" else "bf16"


def _reconstruction(config: SuiteConfig, save: Save, left: Left) -> None:
    """Reconstructions of ascending numbers of views, from host to host."""
    rows = _earlier_rows(config.file("reconstruction"))
    done = {row["views"] for row in rows}
    missing = [v for v in numbers_of_views(config.views) if v not in done]
    model = ZipMap(preset(config.preset, "offline"), POLICIES[_dtype()])
    facts = {
        "machine": machine(),
        "preset": config.preset,
        "size": config.size,
        "dtype": _dtype(),
        "rows": rows,
    }
    save(facts)
    for row in reconstructions(model, config.size, missing, left):
        rows.append(dataclasses.asdict(row))
        rows.sort(key=lambda row: row["views"])
        save(facts)
    out_of_time = any(row["missing"] == OUT_OF_TIME for row in rows)
    save(facts | {"complete": not out_of_time})


def _training(config: SuiteConfig, save: Save, left: Left) -> None:
    facts = earlier_results(config.file("training"))
    for name, rate in training_rates("tiny_procedural", left, skip=tuple(facts)):
        facts[name] = rate
        save(facts)
    save(facts | {"complete": not any(_is_missing(rate) for rate in facts.values())})


_FUNCTIONS: dict[str, Callable[[SuiteConfig, Save, Left], None]] = {
    "machine": _machine,
    "attention": _attention,
    "goldens": _goldens,
    "runtime": _runtime,
    "reconstruction": _reconstruction,
    "training": _training,
}
