"""Version, data files and licence of an installation."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import zipmap_jax

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
GPL_OR_HEAVY = {"evo", "plyfile", "torch", "tensorflow", "opencv-python"}


def requirement_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert match, requirement
    return match[0].lower()


def test_version_is_one_number() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## \[(\d[^]]*)\]", changelog, re.MULTILINE)
    assert "## [Unreleased]" in changelog or released[0] == zipmap_jax.__version__
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "zipmap_jax.__version__"}
    try:
        installed = metadata.version("zipmap-jax")
    except metadata.PackageNotFoundError:
        pytest.skip("running from a source tree that is not installed")
    assert installed == zipmap_jax.__version__


def packages() -> list[Path]:
    """Every folder with Python in it, below the two packages."""
    names = ("zipmap_jax", "pallas_kernels")
    return sorted({path.parent for name in names for path in (ROOT / name).rglob("*.py")})


def test_every_folder_of_code_is_a_package() -> None:
    missing = [str(p.relative_to(ROOT)) for p in packages() if not (p / "__init__.py").exists()]
    assert not missing, "setuptools leaves folders without __init__.py out of the wheel"


def test_data_files_are_packaged() -> None:
    package = ROOT / "zipmap_jax"
    globs = PROJECT["tool"]["setuptools"]["package-data"]["zipmap_jax"]
    packed = {path for pattern in globs for path in package.glob(pattern)}
    present = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    }
    assert present <= packed
    assert (package / "py.typed") in packed


def test_dependencies_stay_free_and_light() -> None:
    core = {requirement_name(text) for text in PROJECT["project"]["dependencies"]}
    extras = PROJECT["project"]["optional-dependencies"].values()
    every = core | {requirement_name(text) for extra in extras for text in extra}
    assert not every & GPL_OR_HEAVY
    assert {"jax", "numpy", "pillow", "safetensors"} <= core


def test_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"
