"""Runtime checks of jaxtyping annotations in the packages, with beartype.

The packages import jaxtyping under `TYPE_CHECKING` only, so it stays optional for users. Here a
loader compiles their sources with that condition true and with a decorator on every function whose
annotations name a shape. Records are not checked: pytree operations fill them with other leaves.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType
from typing import Any

PACKAGES = (
    "zipmap_jax.geometry",
    "zipmap_jax.nn",
    "zipmap_jax.models",
    "zipmap_jax.losses",
    "zipmap_jax.scene",
)
SHAPED = frozenset(
    {"Array", "Bool", "Float", "Int", "Key", "Num", "Real", "Shaped", "UInt8", "UInt16"}
)
DECORATOR = "__import__('tests.shape_checks').shape_checks.checked"


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, checking its arrays; integers are floats, as for type checkers."""
    from beartype import BeartypeConf, beartype
    from jaxtyping import jaxtyped

    typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
    return jaxtyped(function, typechecker=typechecker)


def names_a_shape(annotation: ast.expr | None) -> bool:
    """Whether an annotation contains a subscripted type such as `Float[Array, "n 3"]`."""
    return annotation is not None and any(
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in SHAPED
        for node in ast.walk(annotation)
    )


class CheckedSource(ast.NodeTransformer):
    """Imports types for real and decorates the functions whose annotations name a shape."""

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse:
            node.test = ast.copy_location(ast.Constant(True), node.test)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        arguments = node.args
        named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        annotations = [argument.annotation for argument in named]
        if any(map(names_a_shape, (*annotations, node.returns))):
            decorator = ast.parse(DECORATOR, mode="eval").body
            # Innermost: `property`, `jax.jit` and `custom_vjp` receive the checked function.
            node.decorator_list.append(decorator)
            for child in ast.walk(decorator):
                ast.copy_location(child, node)
        return self.generic_visit(node)


class CheckedLoader(SourceFileLoader):
    """Compiles from source each time, so that no bytecode with checks is left behind."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = CheckedSource().visit(ast.parse(self.get_data(path), path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class CheckedFinder(MetaPathFinder):
    """Finds the modules of `PACKAGES` and loads them with checks."""

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        if not f"{fullname}.".startswith(tuple(f"{name}." for name in PACKAGES)):
            return None
        spec = PathFinder.find_spec(fullname, path)  # type: ignore[arg-type]
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = CheckedLoader(fullname, spec.loader.path)
        return spec


def install() -> None:
    """Load the packages with checks from now on.

    Raises:
      RuntimeError: one of their modules is imported already.
    """
    loaded = [name for name in sys.modules if f"{name}.".startswith(tuple(PACKAGES))]
    if loaded:
        raise RuntimeError(f"{loaded[0]} is imported before its annotations can be checked")
    sys.meta_path.insert(0, CheckedFinder())
