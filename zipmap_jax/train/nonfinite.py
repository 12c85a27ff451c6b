"""Ends a run after many non-finite steps and stores the batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.files import replacing

if TYPE_CHECKING:
    from zipmap_jax.train.config.schema import TrainConfig
    from zipmap_jax.train.step import Batch, Metrics


def require_finite(
    metrics: Metrics, batch: Batch, step: int, config: TrainConfig, directory: Path
) -> None:
    """Check that one of the last `config.max_skipped` steps was finite.

    Args:
      metrics: of the newest step.
      batch: of the newest step.
      step: its number, from 0.
      config: the run.
      directory: folder for the batch.

    Raises:
      UserError: none was finite; the message names the file with the batch.
    """
    row = int(metrics["skipped_in_row"])
    if row < config.max_skipped:
        return
    path = dump_batch(batch, metrics, step, config.seed, directory)
    raise UserError(
        f"{row} steps in a row were not finite: inspect the batch in {path}, or lower optim.lr; "
        "the last checkpoint is valid"
    )


def dump_batch(batch: Batch, metrics: Metrics, step: int, seed: int, directory: Path) -> Path:
    """Write a batch to `broken_step_N.npz`; returns the file.

    The file contains the arrays of the batch, "step", "seed" and every metric as "metric/NAME". Of
    several processes each writes its own part, one array per device as "NAME/0", "NAME/1", ...
    """
    suffix = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
    path = directory / f"broken_step_{step}{suffix}.npz"
    arrays = {"step": np.array(step), "seed": np.array(seed)}
    for name, array in batch.items():
        if not isinstance(array, jax.Array) or array.is_fully_addressable:
            arrays[name] = np.asarray(array)
        else:
            parts = enumerate(array.addressable_shards)
            arrays |= {f"{name}/{i}": np.asarray(part.data) for i, part in parts}
    arrays |= {f"metric/{name}": np.asarray(value) for name, value in metrics.items()}
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    return path
