"""Batch shapes: the recipe's random (views, aspect) rounded to a short list, each with its odds.

The recipe draws views and aspect anew for every batch, up to 26 heights x 47 view counts, and every
shape is a compiled program. Here a draw is rounded at random to one of its two neighbours in a
list, in proportion to how near they are: the means stay what they were.

Source: training recipe, sections 2.1 and 8.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

WIDTH, PATCH = 518, 14
VIEWS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
"""View counts of the offline stages."""
QUERY_VIEWS = (5, 8, 12, 16, 24, 32, 44)
"""View counts of the state query, before the split into input and target."""
HEIGHTS = (168, 224, 280, 336, 392, 448, 518)
ASPECTS = (33, 100)
"""Smallest and largest height in hundredths of the width."""


class BucketRow(NamedTuple):
    """One batch shape; the fields are those of the configuration's buckets.

    Attributes:
      views: input views of a scene.
      batch: scenes per slot.
      targets: views to be rendered besides; one of them is an input view, too.
      weight: probability.
    """

    views: int
    height: int
    width: int
    batch: int
    targets: int
    weight: float


def offline_buckets(
    views: Sequence[int] = VIEWS, heights: Sequence[int] = HEIGHTS, images: int = 48
) -> tuple[BucketRow, ...]:
    """Buckets of the stages that draw the number of views uniformly from the range of `views`.

    Args:
      views: view counts to round to; the first and the last are the range of the draw. One count
        for all batches is a list of one, as in the online stages.
      heights: heights to round to; they must span those of the aspects 0.33 and 1.
      images: of a slot, at most (but at least one scene).
    """
    return tuple(
        BucketRow(count, height, WIDTH, max(1, images // count), 0, p_views * p_height)
        for count, p_views in view_odds(views).items()
        for height, p_height in height_odds(heights).items()
    )


def query_buckets(
    views: Sequence[int] = QUERY_VIEWS, heights: Sequence[int] = HEIGHTS, images: int = 44
) -> tuple[BucketRow, ...]:
    """Buckets of the state query: half of the views are input, the others and one input targets.

    Source: training recipe, section 3.2.
    """
    rows = []
    for row in offline_buckets(views, heights, images):
        inputs = max(2, row.views // 2)
        targets = max(1, min(images // row.batch - inputs, row.views + 1 - inputs))
        rows.append(row._replace(views=inputs, targets=targets))
    return tuple(rows)


def view_odds(views: Sequence[int]) -> dict[int, float]:
    """Odds of view counts after rounding the integers of their range, all equally likely."""
    every = range(views[0], views[-1] + 1)
    return rounded({count: 1 / len(every) for count in every}, views)


def height_odds(heights: Sequence[int]) -> dict[int, float]:
    """Odds of heights after rounding those that a uniform aspect of two decimals gives."""
    low, high = ASPECTS
    odds: dict[int, float] = {}
    for hundredths in range(low, high + 1):
        # Rounding to two decimals leaves half an interval for the first and the last.
        share = (0.5 if hundredths in ASPECTS else 1.0) / (high - low)
        height = WIDTH * hundredths // 100 // PATCH * PATCH
        odds[height] = odds.get(height, 0.0) + share
    return rounded(odds, heights)


def rounded(odds: Mapping[int, float], grid: Sequence[int]) -> dict[int, float]:
    """Odds after every value went to one of its two neighbours in `grid`, keeping the mean.

    Raises:
      ValueError: a value lies outside of the grid.
    """
    out = dict.fromkeys(grid, 0.0)
    for value, share in odds.items():
        if value in out:
            out[value] += share
            continue
        if not grid[0] < value < grid[-1]:
            raise ValueError(
                f"a list of sizes must span what is rounded to it: {value} is not within "
                f"{grid[0]} to {grid[-1]}"
            )
        above = next(size for size in grid if size > value)
        below = max(size for size in grid if size < value)
        out[above] += share * (value - below) / (above - below)
        out[below] += share * (above - value) / (above - below)
    return out
