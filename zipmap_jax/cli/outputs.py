"""The final output of verbs that write a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = "scene.html"
"""File to open first."""


def announce(out: Path, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the facts as one JSON object, or as lines followed by the path to open."""
    page = out / PAGE
    if as_json:
        print(json.dumps({**facts, "out": str(out), "open": str(page)}))
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' ')}: {value}")
    print(page)
