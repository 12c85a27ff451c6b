"""Commands, options, paths and modules in the documents exist."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from zipmap_jax.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/results").glob("*.md")),
]
TOP = "zipmap_jax|pallas_kernels|configs|tests|tools|docs"


def commands(page: Path) -> list[list[str]]:
    """Words of every line of a shell block, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def verbs() -> dict[tuple[str, ...], set[str]]:
    """Options of each verb of `zipmap` in the documents."""
    options: dict[tuple[str, ...], set[str]] = {}
    for page in PAGES:
        for words in commands(page):
            if words[0] != "zipmap":
                continue
            verb = tuple(words[1:3] if words[1] == "bench" else words[1:2])
            flags = {word for word in words if word.startswith("-") and word != "-o"}
            options.setdefault(verb, set()).update(flags)
    return options


@pytest.mark.parametrize("verb", sorted(verbs()), ids=" ".join)
def test_verbs_have_the_options(verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*verb, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert not [flag for flag in verbs()[verb] if flag not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_exist(page: Path) -> None:
    paths = re.findall(rf"`((?:{TOP})/[\w./-]*|train\.py|eval\.py)`", page.read_text("utf-8"))
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_names_exist(page: Path) -> None:
    names = re.findall(
        r"`((?:zipmap_jax|pallas_kernels|tools)(?:\.\w+)+)`", page.read_text("utf-8")
    )
    for name in names:
        resolve(name)


def resolve(name: str) -> object:
    """The module or attribute of a dotted name."""
    module, *rest = name.split(".")
    value: object = importlib.import_module(module)
    for part in rest:
        if not hasattr(value, part):
            importlib.import_module(f"{value.__name__}.{part}")  # pyright: ignore
        value = getattr(value, part)
    return value
