"""Digest of a configuration, and the differences of two."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from zipmap_jax.config_io import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zipmap_jax.train.config.schema import TrainConfig


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
"""Fields that change reports, files or speed, and no number."""


_ABSENT = "nothing"


def config_digest(config: TrainConfig) -> str:
    """16 hexadecimal digits of all fields that determine the numbers."""
    text = json.dumps(_relevant(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: TrainConfig, new: TrainConfig) -> list[str]:
    """`"optim.lr 0.1 -> 0.2"` for every field that determines the numbers and differs."""
    before, after = _relevant(old), _relevant(new)
    names = sorted(before.keys() | after.keys())
    return [
        f"{name.replace('/', '.')} {before.get(name, _ABSENT)} -> {after.get(name, _ABSENT)}"
        for name in names
        if before.get(name, _ABSENT) != after.get(name, _ABSENT)
    ]


def _relevant(config: TrainConfig) -> dict[str, Any]:
    """Every field that determines the numbers under its path "data/buckets/0/views"."""
    # Through text: a checkpoint holds its configuration as JSON.
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
