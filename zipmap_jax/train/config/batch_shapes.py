"""Batch shapes of the recipe, reduced to few compiled programs.

The reference draws the number of views S uniformly and the aspect ratio a from U(0.33, 1), which
gives 46 x 26 shapes. Here every value is rounded at random to one of its two neighbours among a
few anchors, which preserves the mean.

Source: ZipMap, released training configurations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zipmap_jax.data.config import BatchShape
from zipmap_jax.errors import UserError

VIEWS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
HEIGHTS = (168, 224, 280, 336, 392, 448, 518)
WIDTH, PATCH = 518, 14
_DIGITS = 6
"""Decimals of a weight."""


def recipe_buckets(
    views: tuple[int, int], images: int, *, targets: bool = False
) -> tuple[BatchShape, ...]:
    """Return every batch shape of a stage, weighted by its probability.

    Args:
      views: minimum and maximum number of views of a scene.
      images: budget of a microbatch, which has `max(1, images // S)` scenes of S views.
      targets: split the views as the state query does: `max(2, S // 2)` input views, and target
        views up to the budget and to one more than the remaining views.

    Raises:
      UserError: the range is empty or exceeds the budget.
    """
    minimum, maximum = views
    if not 2 <= minimum <= maximum <= images:
        raise UserError(
            f"views {minimum} to {maximum} with {images} images per microbatch: "
            "choose 2 <= minimum <= maximum <= images"
        )
    return tuple(
        _bucket(count, height, images, targets, p * q)
        for count, p in view_probabilities(minimum, maximum).items()
        for height, q in height_probabilities().items()
    )


def view_probabilities(minimum: int, maximum: int) -> dict[int, float]:
    """Return the probability of each number of views: uniform, then rounded to anchors."""
    anchors = {minimum, *(n for n in VIEWS if minimum < n < maximum), maximum}
    count = maximum - minimum + 1
    return spread({n: 1 / count for n in range(minimum, maximum + 1)}, anchors)


def height_probabilities() -> dict[int, float]:
    """Return the probability of each height.

    The height is 518 a, with a rounded to two decimals, rounded down to whole patches and then to
    anchors.
    """
    probabilities: dict[int, float] = {}
    for cents in range(33, 101):
        # Rounding gives the two ends half the probability of the values between them.
        share = (0.5 if cents in (33, 100) else 1.0) / 67
        height = WIDTH * cents // 100 // PATCH * PATCH
        probabilities[height] = probabilities.get(height, 0.0) + share
    return spread(probabilities, HEIGHTS)


def spread(probabilities: Mapping[int, float], anchors: Iterable[int]) -> dict[int, float]:
    """Move the probability of every value to its two neighbouring anchors, preserving the mean.

    `x` between anchors a < b moves to b with probability `(x - a) / (b - a)`, else to a.
    """
    points = sorted(anchors)
    out = dict.fromkeys(points, 0.0)
    for value, share in probabilities.items():
        below = max(point for point in points if point <= value)
        above = min(point for point in points if point >= value)
        up = (value - below) / (above - below) if above > below else 0.0
        out[above] += share * up
        out[below] += share * (1 - up)
    return out


def _bucket(count: int, height: int, images: int, targets: bool, weight: float) -> BatchShape:
    batch = max(1, images // count)
    inputs, queried = (count, 0) if not targets else split_counts(count, images // batch)
    drawn = count if targets else 0
    return BatchShape(inputs, height, WIDTH, batch, queried, drawn, round(weight, _DIGITS))


def split_counts(count: int, budget: int) -> tuple[int, int]:
    """Return the numbers of input and target views for `count` views and `budget` images."""
    inputs = max(2, count // 2)
    targets = min(budget - inputs, count + 1 - inputs)
    return inputs, min(max(targets, 1), count)
