"""The lists of batch shapes keep the recipe's means and odds."""

from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.data.buckets import (
    HEIGHTS,
    VIEWS,
    height_odds,
    offline_buckets,
    query_buckets,
    rounded,
    view_odds,
)
from zipmap_jax.train.config import Bucket


def test_odds_of_the_recipe() -> None:
    # Training recipe, section 8.1, three decimals.
    views = [0.021, 0.021, 0.032, 0.043, 0.064, 0.085, 0.128, 0.170, 0.255, 0.181]
    heights = [0.093, 0.160, 0.160, 0.160, 0.164, 0.179, 0.082]
    np.testing.assert_allclose(list(view_odds(VIEWS).values()), views, atol=5e-4)
    np.testing.assert_allclose(list(height_odds(HEIGHTS).values()), heights, atol=5e-4)


@pytest.mark.parametrize("heights", [HEIGHTS, (168, 280, 392, 518)])
def test_means_are_those_of_the_unrounded_draw(heights: tuple[int, ...]) -> None:
    rows = offline_buckets(heights=heights)
    weights = np.array([row.weight for row in rows])
    assert len(rows) == 10 * len(heights)
    assert weights.sum() == pytest.approx(1)
    assert weights @ [row.views for row in rows] == pytest.approx(25.0)
    # Mean over the 26 heights of the recipe: 337.6.
    assert weights @ [row.height for row in rows] == pytest.approx(337.567, abs=1e-3)
    # 43.9 images per device and step.
    assert weights @ [row.views * row.batch for row in rows] == pytest.approx(43.915, abs=1e-3)


def test_rows_are_buckets_of_the_configuration() -> None:
    buckets = [Bucket(**row._asdict()) for row in offline_buckets((12,), images=36)]
    assert len(buckets) == 7
    assert {(b.views, b.batch, b.width, b.targets) for b in buckets} == {(12, 3, 518, 0)}
    assert all(b.height % 14 == 0 for b in buckets)


def test_query_buckets_split_views_into_input_and_targets() -> None:
    split = {(row.views, row.targets, row.batch) for row in query_buckets()}
    # Recipe, section 3.2: 5 views of 8 scenes are 2 + 3, 44 of one scene 22 + 22.
    assert {(2, 3, 8), (22, 22, 1)} <= split
    assert all((inputs + targets) * batch <= 44 for inputs, targets, batch in split)


def test_rounding_keeps_the_mean_and_refuses_what_it_cannot_reach() -> None:
    assert rounded({3: 0.5, 4: 0.5}, (2, 4)) == {2: 0.25, 4: 0.75}
    with pytest.raises(ValueError, match="168 is not within 224 to 518"):
        height_odds((224, 518))
