"""Names and sizes of pytree leaves."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zipmap_jax.tree import path_name, tree_bytes


def test_tree_bytes_of_arrays_and_shapes() -> None:
    tree = {"a": jnp.zeros((3, 4)), "b": jax.ShapeDtypeStruct((5,), jnp.bfloat16)}
    assert tree_bytes(tree) == 48 + 10


def test_path_names() -> None:
    leaves = jax.tree_util.tree_leaves_with_path({"a": [1, {"b": 2}]})
    assert [path_name(path) for path, _ in leaves] == ["a/0", "a/1/b"]
