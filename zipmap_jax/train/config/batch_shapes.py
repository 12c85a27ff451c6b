"""The batch shapes of the recipe: its two draws per batch, rounded to shapes that are compiled.

The reference draws the number of views S uniformly and the aspect ratio a from U(0.33, 1), and has
46 x 26 shapes. Here every drawn value is rounded at random to one of its two neighbours among a
few, such that its mean stays what it was.

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
    """Every shape of a stage, weighted by how often it is drawn.

    Args:
      views: smallest and largest number of views of a scene.
      images: budget of a microbatch; it holds `max(1, images // S)` scenes of S views.
      targets: cut the views into input and target views, as the state query does: the input views
        are `max(2, S // 2)`, and the rest of the budget are targets, no more than there are views
        left plus one (one target may be an input view).

    Raises:
      UserError: if the range is empty or larger than the budget.
    """
    least, most = views
    if not 2 <= least <= most <= images:
        raise UserError(
            f"views {least} to {most} with {images} images per microbatch: "
            "choose 2 <= least <= most <= images"
        )
    return tuple(
        _bucket(count, height, images, targets, p * q)
        for count, p in view_probabilities(least, most).items()
        for height, q in height_probabilities().items()
    )


def view_probabilities(least: int, most: int) -> dict[int, float]:
    """Probability of each number of views: uniform over `least .. most`, then rounded."""
    anchors = [least, *(n for n in VIEWS if least < n < most), *([most] if most > least else [])]
    count = most - least + 1
    return spread({n: 1 / count for n in range(least, most + 1)}, anchors)


def height_probabilities() -> dict[int, float]:
    """Probability of each height: 518 a to the patch below, a to two decimals, then rounded."""
    drawn: dict[int, float] = {}
    for cents in range(33, 101):
        # Rounding gives the two ends half of what the values between them get.
        share = (0.5 if cents in (33, 100) else 1.0) / 67
        height = WIDTH * cents // 100 // PATCH * PATCH
        drawn[height] = drawn.get(height, 0.0) + share
    return spread(drawn, HEIGHTS)


def spread(drawn: Mapping[int, float], anchors: Iterable[int]) -> dict[int, float]:
    """Move the probability of every value to its two neighbouring anchors, keeping the mean.

    `x` between anchors a < b goes to b with probability `(x - a) / (b - a)`, else to a.
    """
    points = sorted(anchors)
    out = dict.fromkeys(points, 0.0)
    for value, share in drawn.items():
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
    """Input and target views of `count`, with `budget` images per scene."""
    inputs = max(2, count // 2)
    targets = min(budget - inputs, count + 1 - inputs)
    return inputs, min(max(targets, 1), count)
