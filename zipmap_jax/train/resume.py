"""Whether a run may go on with another configuration, and what is different about it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from zipmap_jax.train.config import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zipmap_jax.train.checkpoint import Checkpoints
    from zipmap_jax.train.config import TrainConfig

MAKES_NO_NUMBERS = (
    "name",
    "notes",
    "log",
    "mesh",
    "chunk",
    "compile_ahead",
    "eval_every",
    "eval_scenes",
    "held_out",
    "save_every",
    "save_minutes",
    "keep",
    "keep_every",
    "max_skipped",
    "data/root",
    "data/workers",
    "data/threads",
    "data/prefetch",
)
"""Parts of a configuration that change what is told, kept or how fast it goes, never a number."""
_ABSENT = "nothing"


def config_digest(config: TrainConfig) -> str:
    """16 hexadecimal digits that stand for all of a configuration that determines the numbers."""
    text = json.dumps(_relevant(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: TrainConfig, new: TrainConfig) -> list[str]:
    """`"optim.lr 0.1 -> 0.2"` for every field that determines the numbers and is not the same."""
    before, after = _relevant(old), _relevant(new)
    names = sorted(before.keys() | after.keys())
    return [
        f"{name.replace('/', '.')} {before.get(name, _ABSENT)} -> {after.get(name, _ABSENT)}"
        for name in names
        if before.get(name, _ABSENT) != after.get(name, _ABSENT)
    ]


def check_resumable(checkpoints: Checkpoints, config: TrainConfig) -> str | None:
    """A run can be resumed with another schedule or other data, not with other parameters.

    Args:
      checkpoints: the run's, possibly none.
      config: what it is to go on with.

    Returns:
      One line on what changes, None if nothing does (or if there is nothing to resume).

    Raises:
      ValueError: the model is another one, or other parameters of it are trained.
    """
    if checkpoints.latest is None:
        return None
    changed = differences(checkpoints.config(), config)
    # What Muon updates has other moments, and what is frozen has none.
    kept = ("model.", "optim.muon", "optim.frozen")
    if of_model := [line for line in changed if line.startswith(kept)]:
        raise ValueError(
            f"{checkpoints.directory} holds checkpoints of another model than {config.name} "
            f"({', '.join(of_model)}): choose another --workdir, with --start.path to start from it"
        )
    if not changed:
        return None
    return f"resuming with another configuration than it was saved with: {', '.join(changed)}"


def _relevant(config: TrainConfig) -> dict[str, Any]:
    """Every field that determines the numbers under its path "data/buckets/0/views"."""
    # Through text: what a configuration and its copy in a checkpoint are compared by is JSON.
    tree = json.loads(json.dumps(to_json(config)))
    return {
        name: value
        for name, value in _leaves(tree)
        if not any(name == part or name.startswith(f"{part}/") for part in MAKES_NO_NUMBERS)
    }


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = enumerate(tree) if isinstance(tree, list) else tree.items()
    for key, value in items:
        name = f"{path}/{key}" if path else str(key)
        if isinstance(value, dict | list) and value:
            yield from _leaves(value, name)
        else:
            yield name, value
