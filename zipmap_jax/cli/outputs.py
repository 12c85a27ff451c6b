"""The final output of verbs that write a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zipmap_jax.streams import print_result

PAGE = "scene.html"
"""File to open first."""


def announce(out: Path, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the facts as one JSON object, or as lines followed by the path to open."""
    page = out / PAGE
    if as_json:
        print_result(json.dumps({**facts, "out": str(out), "open": str(page)}))
        return
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in facts.items()]
    print_result("\n".join([*lines, str(page)]))
