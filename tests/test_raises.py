"""All exceptions besides user errors, with the reason why they keep their traceback.

An error that a user can correct is a `UserError`. The others are invariants between parts of the
program, errors of the independent package of kernels, and Python's own protocols.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CALLER = "the arguments come from our own code, so a wrong one is a defect"
KERNELS = "pallas_kernels stands alone; its arguments come from the calling program"
WRAPPED = "the caller adds the file's name and the remedy"

WARNINGS = (UserWarning,)
"""Made to be shown, not raised."""

LEFT = {
    ("pallas_kernels/bench/isolate.py", "describe", "RuntimeError"): (
        "the device does not compute at all, which a traceback must show"
    ),
    ("pallas_kernels/bench/isolate.py", "describe", "AssertionError"): (
        "a worker sends figures or a failure"
    ),
    ("pallas_kernels/bench/resume.py", "earlier_figures", "ValueError"): (
        "the command line turns it into one sentence; the package has no UserError"
    ),
    ("pallas_kernels/dispatch.py", "check_implementation", "ValueError"): KERNELS,
    ("pallas_kernels/h200.py", "compiled_kernels", "RuntimeError"): (
        "the compiler failed; the bench catches it and notes the reason"
    ),
    ("pallas_kernels/newton_schulz/kernel.py", "newton_schulz_kernel", "ValueError"): KERNELS,
    ("pallas_kernels/newton_schulz/op.py", "newton_schulz", "ValueError"): KERNELS,
    ("pallas_kernels/newton_schulz/product.py", "Product._check", "ValueError"): KERNELS,
    ("pallas_kernels/newton_schulz/tiling.py", "Tiling.__post_init__", "ValueError"): KERNELS,
    ("pallas_kernels/newton_schulz/tiling.py", "Tiling.slots", "ValueError"): KERNELS,
    ("zipmap_jax/data/datasets/posed_folder.py", "_read_cameras", "ValueError"): WRAPPED,
    ("zipmap_jax/data/loader.py", "Loader.__next__", "ValueError"): (
        "a closed loader is used, as Python raises for a closed file"
    ),
    ("zipmap_jax/data/overlap_sampling.py", "OverlapGraph.stream_of", "ValueError"): CALLER,
    ("zipmap_jax/data/overlap_sampling.py", "_required", "ValueError"): CALLER,
    ("zipmap_jax/eval/metrics/depth.py", "DepthMetric.from_depth", "ValueError"): CALLER,
    ("zipmap_jax/eval/metrics/pose.py", "pair_errors", "ValueError"): CALLER,
    ("zipmap_jax/geometry/align.py", "umeyama", "ValueError"): CALLER,
    ("zipmap_jax/geometry/pose.py", "homogeneous", "ValueError"): CALLER,
    ("zipmap_jax/geometry/rays.py", "ray_conditions", "ValueError"): CALLER,
    ("zipmap_jax/inference/assemble.py", "_check", "ValueError"): CALLER,
    ("zipmap_jax/losses/normalise.py", "normalise_prediction", "ValueError"): CALLER,
    ("zipmap_jax/losses/total.py", "_camera_terms", "ValueError"): CALLER,
    ("zipmap_jax/losses/total.py", "_query_terms", "ValueError"): CALLER,
    ("zipmap_jax/images/frames.py", "FrameReader.__next__", "StopIteration"): (
        "Python's protocol of iterators"
    ),
    ("zipmap_jax/lazy.py", "lazy_names.get", "AttributeError"): "Python's protocol of modules",
    ("zipmap_jax/lazy.py", "_type_only_imports", "ImportError"): CALLER,
    ("zipmap_jax/scene/store.py", "_write", "OSError"): "the same error, with the file's name",
    ("zipmap_jax/scene/npz.py", "load_scene", "ValueError"): WRAPPED,
    ("zipmap_jax/scene/npz.py", "_scene", "ValueError"): WRAPPED,
    ("zipmap_jax/train/preemption.py", "Stop.__call__", "KeyboardInterrupt"): (
        "the second signal ends the run at once"
    ),
    ("zipmap_jax/viz/colormaps.py", "colormap_table", "ValueError"): CALLER,
}
"""File, function and built-in exception -> why it is not a user error."""


def sources() -> list[Path]:
    folders = ("zipmap_jax", "pallas_kernels", "tools", "configs")
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return [*inside, ROOT / "train.py", ROOT / "eval.py"]


def raises(tree: ast.AST, function: str = "") -> Iterator[tuple[str, str]]:
    """Function and name of every built-in exception that a file makes or raises."""
    for node in ast.iter_child_nodes(tree):
        inner = function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{function}.{node.name}".lstrip(".")
        if isinstance(node, ast.Call) or (isinstance(node, ast.Raise) and node.exc is not None):
            # A call may also return an error that another function raises.
            called = node.func if isinstance(node, ast.Call) else node.exc
            kind = getattr(builtins, called.id, None) if isinstance(called, ast.Name) else None
            if isinstance(kind, type) and issubclass(kind, BaseException) and kind not in WARNINGS:
                yield function, kind.__name__
        yield from raises(node, inner)


def raised() -> set[tuple[str, str, str]]:
    return {
        (path.relative_to(ROOT).as_posix(), function, kind)
        for path in sources()
        for function, kind in raises(ast.parse(path.read_text("utf-8")))
        # Python's protocol of modules, on every API page.
        if (path.name, function, kind) != ("__init__.py", "__getattr__", "AttributeError")
    }


def test_only_the_listed_places_raise_what_is_not_a_user_error() -> None:
    assert not raised() - set(LEFT), "raise UserError, or add the place and the reason to LEFT"


def test_the_list_has_no_obsolete_entries() -> None:
    assert not set(LEFT) - raised()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    raise ValueError('x')", [("f", "ValueError")]),
        ("class A:\n    def f(self):\n        raise RuntimeError", [("A.f", "RuntimeError")]),
        ("try:\n    pass\nexcept OSError as e:\n    raise Exception from e", [("", "Exception")]),
        ("def f():\n    return ValueError('x')", [("f", "ValueError")]),
        ("raise UserError('x')", []),
        ("raise", []),
        ("raise error", []),
    ],
)
def test_the_walk_finds_exceptions(source: str, expected: list[tuple[str, str]]) -> None:
    assert list(raises(ast.parse(source))) == expected
