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

from tools.gpu_suite.attention_probe import probe
from zipmap_jax.bench.matmul import matmul_peak
from zipmap_jax.bench.reconstruction import numbers_of_views, reconstructions
from zipmap_jax.bench.report import write_result
from zipmap_jax.bench.runtime import OUT_OF_TIME, Effort, RuntimeRow
from zipmap_jax.bench.series import Result, RuntimeConfig, machine, run
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
# Seconds to compile are part of what these report, and a program found on disk would falsify them.
# They lose little: what they have measured they do not compile again.
_COMPILE_TIMES = ("runtime", "reconstruction", "training")


def run_item(name: str, config: SuiteConfig, seconds: float) -> None:
    """Run one item in this process.

    Args:
      name: of `suite.ITEMS`.
      config: the suite.
      seconds: after which no further part of it is started.
    """
    end = time.monotonic() + seconds
    file = config.file(name)
    if name in _COMPILE_TIMES:
        # Whatever JAX_COMPILATION_CACHE_DIR says.
        jax.config.update("jax_enable_compilation_cache", False)
    else:
        enable_compilation_cache()

    def save(facts: dict[str, Any]) -> None:
        # Who is killed has not said that it is done.
        write_json(file, {"complete": False, **facts})

    _FUNCTIONS[name](config, save, lambda: end - time.monotonic())


def found_before(file: Path) -> dict[str, Any]:
    """What an earlier command has found out, but not what it had no time for.

    Args:
      file: of an item; none is there before the first command.

    Returns:
      Facts by name, without those that are "missing" and without "complete".
    """
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
    facts = found_before(config.file("attention"))
    # Tokens of a view of 392x518 and of 518x518.
    for tokens in (1041, 1374):
        for backward in (False, True):
            name = f"{tokens} tokens, {'backward' if backward else 'forward'}"
            if name not in facts:
                facts[name] = probe(tokens, backward) if left() > 0 else OUT_OF_TIME
                save(facts)
    save(facts | {"complete": OUT_OF_TIME not in facts.values()})


def _goldens(config: SuiteConfig, save: Save, left: Left) -> None:
    """Recorded arrays in true fp32, and whole models in bf16 besides."""
    jax.config.update("jax_default_matmul_precision", "highest")
    units = sorted(p.name for p in config.golden.glob("unit_*.npz"))
    names = [name for name in (*_FIRST, *units, *_LAST) if (config.golden / name).exists()]
    if not names:
        raise UserError(f"{config.golden} holds no recorded arrays: name their folder, --golden")
    cases = [
        (name, policy)
        for name in dict.fromkeys(names)
        for policy in ((None, BF16) if name.startswith("e2e_") else (None,))
    ]
    facts = found_before(config.file("goldens"))
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
    rows = [from_json(RuntimeRow, row) for row in _rows_before(config.file("runtime"))]
    done = {(row.series, row.views) for row in rows}
    base = RuntimeConfig(
        preset=config.preset,
        size=config.size,
        views=tuple(v for v in config.views if ("fast_weights", v) not in done),
        streaming=("streaming", 1) not in done,
        query=("query", 1) not in done,
        dtype=_dtype(),
    )

    def grown(result: Result) -> None:
        write_result(result, config.out)
        save(result.as_dict() | {"complete": False})

    result = run(base, Effort(row_seconds=_ROW_SECONDS, left=left), grown, rows)
    write_result(result, config.out)
    late = any(row.missing == OUT_OF_TIME for row in result.rows)
    save(result.as_dict() | {"complete": not late})


def _rows_before(file: Path) -> list[dict[str, Any]]:
    """Rows that an earlier command measured, or of which it knows why they cannot be."""
    rows = found_before(file).get("rows", [])
    return [row for row in rows if row["missing"] != OUT_OF_TIME]


def _dtype() -> str:
    return "fp32" if jax.default_backend() == "cpu" else "bf16"


def _reconstruction(config: SuiteConfig, save: Save, left: Left) -> None:
    """Reconstructions of rising numbers of views, from host to host."""
    rows = _rows_before(config.file("reconstruction"))
    done = {row["views"] for row in rows}
    wanted = [v for v in numbers_of_views(config.views) if v not in done]
    model = ZipMap(preset(config.preset, "offline"), POLICIES[_dtype()])
    facts = {
        "machine": machine(),
        "preset": config.preset,
        "size": config.size,
        "dtype": _dtype(),
        "rows": rows,
    }
    save(facts)
    for row in reconstructions(model, config.size, wanted, left):
        rows.append(dataclasses.asdict(row))
        rows.sort(key=lambda row: row["views"])
        save(facts)
    late = any(row["missing"] == OUT_OF_TIME for row in rows)
    save(facts | {"complete": not late})


def _training(config: SuiteConfig, save: Save, left: Left) -> None:
    facts = found_before(config.file("training"))
    for name, rate in training_rates("tiny_procedural", left, known=tuple(facts)):
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
