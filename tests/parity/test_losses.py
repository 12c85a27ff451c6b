"""Recordings may name any data set of the table."""

from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.data.datasets.table import DATA_SETS
from zipmap_jax.errors import UserError
from zipmap_jax.parity.losses import detailed_depth


def test_the_table_of_data_sets_tells_whose_depth_supervises_normals() -> None:
    names = np.array(list(DATA_SETS))
    flags = detailed_depth(names)
    assert dict(zip(names, flags, strict=True))["hypersim"]
    assert not dict(zip(names, flags, strict=True))["co3d"]
    assert flags.tolist() == [row.detailed for row in DATA_SETS.values()]


def test_an_unknown_data_set_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"data set hyper_sim, which .* hypersim is the nearest"):
        detailed_depth(np.array(["hyper_sim"]))
