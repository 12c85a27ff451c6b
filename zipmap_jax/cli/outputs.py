"""The final output of verbs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zipmap_jax.streams import print_result

PAGE = "scene.html"
"""File of a reconstruction to open first."""


def announce(facts: Mapping[str, Any], paths: Mapping[str, Path], *, as_json: bool) -> None:
    """Print facts and paths as one JSON object, or as lines that end with the last path."""
    if as_json:
        print_result(json.dumps({**facts, **{name: str(path) for name, path in paths.items()}}))
        return
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in facts.items()]
    print_result("\n".join([*lines, *map(str, list(paths.values())[-1:])]))
