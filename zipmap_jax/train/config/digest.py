"""Digest of a configuration, and differences between two."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from zipmap_jax.config_io import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zipmap_jax.train.config.schema import TrainConfig

IRRELEVANT = (
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
"""Fields that affect reports, files or speed but no result."""
_ABSENT = "nothing"


def config_digest(config: TrainConfig) -> str:
    """Hash the fields that determine the results to 16 hexadecimal digits."""
    text = json.dumps(_relevant(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: TrainConfig, new: TrainConfig) -> list[str]:
    """List the differing fields that determine the results, as `"optim.lr 0.1 -> 0.2"`."""
    before, after = _relevant(old), _relevant(new)
    names = sorted(before.keys() | after.keys())
    return [
        f"{name.replace('/', '.')} {before.get(name, _ABSENT)} -> {after.get(name, _ABSENT)}"
        for name in names
        if before.get(name, _ABSENT) != after.get(name, _ABSENT)
    ]


def _relevant(config: TrainConfig) -> dict[str, Any]:
    """The fields that determine the results, by path such as "data/buckets/0/views"."""
    # Through text, because a checkpoint stores its configuration as JSON.
    tree = json.loads(json.dumps(to_json(config)))
    return {
        name: value
        for name, value in _leaves(tree)
        if not any(name == part or name.startswith(f"{part}/") for part in IRRELEVANT)
    }


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = enumerate(tree) if isinstance(tree, list) else tree.items()
    for key, value in items:
        name = f"{path}/{key}" if path else str(key)
        if isinstance(value, dict | list) and value:
            yield from _leaves(value, name)
        else:
            yield name, value
