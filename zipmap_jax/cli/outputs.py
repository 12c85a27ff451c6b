"""What a verb says when its folder is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = "scene.html"
"""What to open first."""


def announce(out: Path, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was done: one JSON object, or one line a fact and the path to open last."""
    page = out / PAGE
    if as_json:
        print(json.dumps({**facts, "out": str(out), "open": str(page)}))
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' ')}: {value}")
    print(page)
