"""Declarations of the arrays of a batch: axes, shapes, views."""

from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.data.batch_arrays import (
    LOADED,
    POSED_VIEWS,
    TRAINING,
    arrays_of_views,
    take_views,
    view_axis,
)

SIZES = dict(b=2, v=5, q=3, h=4, w=6)


def test_shapes_follow_the_axes() -> None:
    assert LOADED["images"].shape(**SIZES) == (2, 5, 4, 6, 3)
    assert LOADED["ids"].shape(**SIZES) == (2, 5)
    assert TRAINING["detailed"].shape(**SIZES) == (2,)
    assert TRAINING["target_w2c"].shape(**SIZES) == (2, 3, 4, 4)


def test_arrays_of_scenes_have_no_view_axis() -> None:
    scenes = {name for name in {**LOADED, **TRAINING} if view_axis(name) is None}
    assert scenes == {"detailed", "source", "sequence", "failures"}
    assert {view_axis(name) for name in {**LOADED, **TRAINING}} == {None, 1}
    assert arrays_of_views(TRAINING) == list(POSED_VIEWS)
    with pytest.raises(KeyError, match="colour"):
        view_axis("colour")


def test_views_are_taken_from_arrays_that_have_them() -> None:
    ids = np.arange(10).reshape(2, 5)
    np.testing.assert_array_equal(take_views(ids, "ids", [4, 0]), [[4, 0], [9, 5]])
    np.testing.assert_array_equal(take_views(ids, "ids", slice(1, None, 2)), [[1, 3], [6, 8]])
    assert take_views(ids, "detailed", [0]) is ids
