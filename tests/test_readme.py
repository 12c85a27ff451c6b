"""The Python code of the README and the guides runs unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*see card.json:UserWarning")
ROOT = Path(__file__).parents[1]
GUIDES = ("python-api.md", "serving.md", "conventions.md", "training.md")
"""Guides whose Python blocks form one program each."""


def python_of(page: Path) -> str:
    """All Python blocks of a page as one program, at the lines where the page has them."""
    lines = page.read_text("utf-8").splitlines()
    inside = False
    for i, line in enumerate(lines):
        fence = line.startswith("```")
        if fence:
            inside = line == "```python"
        if fence or not inside:
            lines[i] = ""
    return "\n".join(lines)


def run(page: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(python_of(page), str(page), "exec"), names)
    return names


def test_python_of_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(ROOT / "README.md")
    assert names["scene"].w2c.shape == (4, 4, 4)
    assert names["points"].shape == (112, 154, 3)
    written = set(re.findall(r"^\| `([\w.]+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"scene.html", "scene.npz", "cameras.json"} <= written
    assert all((tmp_path / "out" / name).exists() for name in written if "." in name)


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
def test_python_of_guides_runs(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert python_of(ROOT / "docs" / guide).strip()
    run(ROOT / "docs" / guide)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150
