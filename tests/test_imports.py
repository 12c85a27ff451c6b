"""Import rules between the parts of the project, and optional packages."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("pallas_kernels", "zipmap_jax")

LEAVES = {
    "lazy",
    "xla_flags",
    "pallas_kernels",
    "structs",
    "files",
    "errors",
    "streams",
    "tree",
    "compat",
    "config_io",
}
"""Parts that import nothing of ours but each other."""

BASE = LEAVES | {"geometry"}
"""The layers below every model."""

ALLOWED: dict[str, set[str]] = {
    "pallas_kernels": set(),
    **dict.fromkeys(LEAVES - {"pallas_kernels"}, LEAVES - {"pallas_kernels"}),
    "geometry": {"errors"},
    "__main__": {"cli"},
    "nn": BASE,
    "models": BASE | {"nn", "images"},
    "ttt3r": BASE | {"nn", "images", "models"},
    "losses": BASE,
    "procedural": BASE,
    "scene": BASE,
    "images": BASE,
    "compilation": BASE,
    "data": BASE | {"procedural"},
    "convert": BASE | {"nn", "models", "ttt3r"},
    "export": BASE | {"scene", "viz"},
    "viz": BASE | {"scene"},
    "inference": BASE | {"nn", "models", "convert", "images", "scene"},
    "batch": BASE | {"inference", "convert", "images", "export", "scene"},
    "eval": BASE | {"models", "inference", "data", "scene", "procedural", "convert"},
    "train": BASE
    | {"nn", "models", "ttt3r", "losses", "data", "procedural", "convert", "eval", "viz"}
    | {"compilation"},
    "parity": BASE | {"nn", "models", "ttt3r", "losses", "convert", "data"},
    "bench": BASE | {"nn", "models", "inference", "train", "compilation", "data", "__version__"},
}
"""Parts of the project, and the other parts each may import. `cli` may import all."""

EXTRA: dict[str, set[str]] = {
    "zipmap_jax/__init__.py": {
        "lazy",
        "xla_flags",
        "convert",
        "inference",
        "models",
        "structs",
        "scene",
    },
}
"""Single files that may import more than their part."""

PROTOCOL_ONLY = {
    "inference": {"api"},
    "ttt3r": {"api"},
    "eval": {"api"},
    "batch": {"api"},
    "export": set(),
    "bench": {"api", "presets", "config"},  # its tasks are presets of ZipMap
}
"""Parts that serve every model, and the modules of `models` they may import."""

JAX_FREE = {"data", "export", "viz", "scene", "images"}
"""Parts that work on host arrays and never call JAX."""

JAX_ALLOWED = {
    "zipmap_jax/data/loader.py",
    "zipmap_jax/data/datasets/procedural.py",
    "zipmap_jax/images/preparation.py",
}
"""Files of JAX-free parts that may use JAX."""

OPTIONAL = {
    "array_record",
    "av",
    "flatbuffers",
    "grain",
    "huggingface_hub",
    "jaxtyping",
    "matplotlib",
    "pi_heif",
    "pillow_heif",
    "pycolmap",
    "rerun",
    "tensorboardX",
    "tensorflow",
    "tensorflow_datasets",
    "torch",
    "trimesh",
    "viser",
    "wandb",
}
"""Imported only inside the function that needs them."""

PRIVATE_JAX = {"zipmap_jax/compat.py", "pallas_kernels/compat.py"}
"""The files that absorb differences between JAX versions."""


def sources() -> list[Path]:
    return sorted(path for name in OURS for path in (ROOT / name).rglob("*.py"))


def is_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def imports(tree: ast.AST, *, inside_functions: bool, types: bool = False) -> Iterator[str]:
    """Dotted names a file imports, `from a import b` as "a.b"; type-only imports on request."""
    nested = {"inside_functions": inside_functions, "types": types}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which layer is meant"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif is_type_checking(node) and not types:
            assert isinstance(node, ast.If)
            for branch in node.orelse:
                yield from imports(branch, **nested)
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(node, **nested)


def part(module: str) -> str | None:
    """The part of the project a dotted name belongs to; None for other people's packages."""
    names = module.split(".")
    if names[0] == "pallas_kernels":
        return "pallas_kernels"
    if names[0] != "zipmap_jax":
        return None
    return names[1] if len(names) > 1 else "zipmap_jax"


def part_of_file(path: Path) -> str:
    names = path.relative_to(ROOT).with_suffix("").parts
    return names[0] if names[0] == "pallas_kernels" else names[1]


def complaints(name: str, source: str) -> list[str]:
    """Every broken import rule of one file, `name` being its path below the root."""
    here = part_of_file(ROOT / name)
    tree = ast.parse(source)
    imported = list(imports(tree, inside_functions=True))
    out = []
    if here != "cli":
        allowed = ALLOWED.get(here, set()) | EXTRA.get(name, set()) | {here}
        every = list(imports(tree, inside_functions=True, types=True))
        out += [f"{here} must not import {m}" for m in every if (p := part(m)) and p not in allowed]
    if here in PROTOCOL_ONLY:
        of_models = {m.split(".")[2] for m in every if m.startswith("zipmap_jax.models.")}
        out += [
            f"{here} serves every model and must not import models.{m}"
            for m in of_models - PROTOCOL_ONLY[here]
        ]
    out += [
        f"{m} belongs inside the function that needs it"
        for m in imports(tree, inside_functions=False)
        if m.split(".")[0] in OPTIONAL
    ]
    if here != "cli":
        out += [f"{m} belongs to cli" for m in imported if m.split(".")[0] == "tyro"]
    if name not in PRIVATE_JAX:
        out += [f"{m} is private to JAX" for m in imported if m.startswith("jax._src")]
    if here in JAX_FREE and name not in JAX_ALLOWED:
        out += [f"{here} must not use {m}" for m in imported if m.split(".")[0] in ("jax", "flax")]
    if here == "pallas_kernels":
        foreign = {m.split(".")[0] for m in imported} - {"jax", "numpy", "pallas_kernels"}
        out += [
            f"pallas_kernels knows JAX only, not {m}" for m in foreign - sys.stdlib_module_names
        ]
    return out


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_the_import_rules(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert not complaints(name, path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("zipmap_jax/geometry/pose.py", "from zipmap_jax.structs import Scene"),
        ("zipmap_jax/nn/layers.py", "import zipmap_jax.models.config"),
        ("zipmap_jax/models/zipmap.py", "def f():\n    from zipmap_jax import ttt3r"),
        ("zipmap_jax/inference/compile.py", "from zipmap_jax.models.zipmap import ZipMap"),
        ("zipmap_jax/export/ply.py", "import jax.numpy as jnp"),
        ("zipmap_jax/images/decode.py", "import av"),
        ("zipmap_jax/nn/layers.py", "from jax._src import core"),
        ("zipmap_jax/eval/report.py", "def f():\n    import tyro"),
        ("pallas_kernels/dispatch.py", "import zipmap_jax"),
        ("pallas_kernels/dispatch.py", "import flax"),
        (
            "zipmap_jax/data/roots.py",
            "if TYPE_CHECKING:\n    from zipmap_jax.train.config.schema import TrainConfig",
        ),
    ],
)
def test_the_rules_detect_violations(name: str, source: str) -> None:
    assert complaints(name, source)


def import_graph() -> dict[str, set[str]]:
    """Files of the project, and the files each imports anywhere, for types as well."""
    files = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
        for path in sources()
    }
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text("utf-8"))
        imported = set(imports(tree, inside_functions=True, types=True))
        graph[name] = {m if m in modules else m.rpartition(".")[0] for m in imported} & set(modules)
        graph[name].discard(name)
    return graph


def test_no_file_and_no_part_imports_itself_in_a_circle() -> None:
    graph = import_graph()
    assert sum(map(len, graph.values())) > 500
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
    parts: dict[str, set[str]] = {}
    for name, imported in graph.items():
        here = parts.setdefault(part(name) or "", set())
        here |= {part(m) or "" for m in imported} - {part(name)}
    graphlib.TopologicalSorter(parts).prepare()


def test_every_part_has_its_rules() -> None:
    parts = {part_of_file(path) for path in sources()} - {"cli", "__init__"}
    assert parts <= set(ALLOWED), "say in ALLOWED what a new part may import"


BLOCKER = """
import importlib, importlib.abc, pkgutil, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
import zipmap_jax, pallas_kernels
for package in (zipmap_jax, pallas_kernels):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith("zipmap_jax.cli"):
            importlib.import_module(module.name)
for name in zipmap_jax.__all__:
    getattr(zipmap_jax, name)
"""


def test_core_imports_without_the_optional_packages() -> None:
    code = BLOCKER.format(blocked=OPTIONAL | {"tyro"})
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["zipmap_jax", "zipmap_jax.images", "zipmap_jax.inference"])
def test_importing_a_package_does_not_start_jax(package: str) -> None:
    code = f"import sys, {package}; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_unknown_name_is_an_attribute_error() -> None:
    import zipmap_jax

    with pytest.raises(AttributeError, match="reconstrukt"):
        _ = zipmap_jax.reconstrukt
    assert "reconstruct" in dir(zipmap_jax)
