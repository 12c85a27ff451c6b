from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.convert.rules import (
    Layout,
    Rule,
    collapse,
    convert_leaves,
    flatten,
    from_state,
    our_shapes,
    to_state,
    torch_shapes,
)

TABLE = [
    Rule("token", "token", (1, 2, 3)),
    Rule("head.weight", "head/kernel", (4, 3), "linear"),
    Rule("blocks.{i}.fc.weight", "blocks/fc/kernel", (5, 3), "linear", layers=3),
    Rule("blocks.{i}.fc.bias", "blocks/fc/bias", (5,), layers=3),
]


def random_state(table: list[Rule]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = torch_shapes(table)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_layers_are_stacked_and_kernels_transposed() -> None:
    state = random_state(TABLE)
    params = from_state(state, TABLE)
    assert params["blocks"]["fc"]["kernel"].shape == (3, 3, 5)
    np.testing.assert_array_equal(
        params["blocks"]["fc"]["kernel"][2], state["blocks.2.fc.weight"].T
    )
    np.testing.assert_array_equal(params["head"]["kernel"], state["head.weight"].T)
    np.testing.assert_array_equal(params["token"], state["token"])


@pytest.mark.parametrize(
    ("layout", "shape", "torch_index", "our_index"),
    [
        # [out, in, row, column] -> [row, column, in, out]
        ("conv", (2, 3, 4, 5), (1, 2, 3, 4), (3, 4, 2, 1)),
        # [in, out, row, column] -> [row, column, in, out]
        ("transposed_conv", (2, 3, 4, 5), (1, 2, 3, 4), (3, 4, 1, 2)),
        ("linear", (2, 3), (1, 2), (2, 1)),
    ],
)
def test_layout(
    layout: Layout, shape: tuple[int, ...], torch_index: tuple[int, ...], our_index: tuple[int, ...]
) -> None:
    table = [Rule("w", "w", shape, layout)]
    state = {"w": np.zeros(shape, np.float32)}
    state["w"][torch_index] = 1
    assert from_state(state, table)["w"][our_index] == 1


def test_round_trip_is_bit_exact_even_for_nan_payloads() -> None:
    state = random_state(TABLE)
    state["token"].view(np.uint32)[0, 0] = [0x7FC12345, 0x80000000, 0x00000001]
    back = to_state(from_state(state, TABLE), TABLE)
    assert {n: a.tobytes() for n, a in back.items()} == {n: a.tobytes() for n, a in state.items()}


def test_strided_sources_and_other_dtypes() -> None:
    state = random_state(TABLE)
    state["head.weight"] = np.asfortranarray(state["head.weight"]).astype(np.float16, order="K")
    leaf = from_state(state, TABLE)["head"]["kernel"]
    assert leaf.dtype == np.float32
    assert leaf.flags.c_contiguous
    np.testing.assert_array_equal(leaf, state["head.weight"].T.astype(np.float32))


def test_leaves_share_no_memory_and_match_the_announced_shapes() -> None:
    state = random_state(TABLE)
    leaves = dict(convert_leaves(state, TABLE))
    assert {name: leaf.shape for name, leaf in leaves.items()} == our_shapes(TABLE)
    assert not np.shares_memory(leaves["token"], state["token"])


def test_one_error_lists_all_problems() -> None:
    state = random_state(TABLE)
    del state["token"], state["blocks.0.fc.bias"], state["blocks.1.fc.bias"]
    state["extra.0.w"] = state["extra.2.w"] = np.zeros(1)
    state["head.weight"] = np.zeros((3, 4))
    with pytest.raises(ValueError, match="does not fit") as error:
        from_state(state, TABLE, subject="the file")
    text = str(error.value)
    assert "3 missing (token, blocks.{0-1}.fc.bias)" in text
    assert "2 unexpected (extra.{0,2}.w)" in text
    assert "1 wrongly shaped (head.weight is 3x4 instead of 4x3)" in text


def test_the_way_back_names_our_leaves() -> None:
    params = from_state(random_state(TABLE), TABLE)
    del params["blocks"]["fc"]["bias"]
    params["head"]["kernel"] = params["head"]["kernel"].T
    with pytest.raises(ValueError, match=r"1 missing \(blocks/fc/bias\).*head/kernel is 4x3"):
        to_state(params, TABLE)


def test_collapse_keeps_different_remarks_apart() -> None:
    entries = {"b.0.x": "", "b.1.x": "", "b.3.x": "", "b.2.x": " is 1", "c": "", "d.7": ""}
    assert collapse(entries) == ["b.{0-1,3}.x", "b.2.x is 1", "c", "d.7"]


def test_flatten() -> None:
    assert flatten({"a": {"b": 1}, "c": 2}) == {"a/b": 1, "c": 2}
