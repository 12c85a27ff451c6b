"""Shapes of the recipe: probabilities, means and numbers of images."""

from __future__ import annotations

import pytest

from zipmap_jax.train.config.batch_shapes import (
    height_probabilities,
    recipe_buckets,
    split_counts,
    spread,
    view_probabilities,
)


def test_published_probabilities() -> None:
    # The numbers of the recipe's own table, three decimals.
    views = [0.021, 0.021, 0.032, 0.043, 0.064, 0.085, 0.128, 0.170, 0.255, 0.181]
    heights = [0.093, 0.160, 0.160, 0.160, 0.164, 0.179, 0.082]
    assert [round(p, 3) for p in view_probabilities(2, 48).values()] == views
    assert [round(p, 3) for p in height_probabilities().values()] == heights


def test_means_are_those_of_the_draws() -> None:
    assert sum(n * p for n, p in view_probabilities(2, 48).items()) == pytest.approx(25.0)
    # 337.6 is the mean of the 26 heights of the reference.
    mean = sum(h * p for h, p in height_probabilities().items())
    assert mean == pytest.approx(337.6, abs=0.05)


def test_spread_keeps_mass_and_mean() -> None:
    out = spread({3: 0.25, 4: 0.25, 6: 0.5}, (3, 7))
    assert out == {3: pytest.approx(0.5625), 7: pytest.approx(0.4375)}
    assert sum(x * p for x, p in out.items()) == pytest.approx(0.75 + 1.0 + 3.0)


@pytest.mark.parametrize(
    ("views", "images", "targets", "programs", "mean"),
    [
        # 43.9 is the recipe's own figure for these buckets.
        ((2, 48), 48, False, 70, 43.9),
        ((12, 12), 36, False, 7, 36.0),
        ((24, 24), 48, False, 7, 48.0),
        ((2, 24), 24, False, 56, None),
        ((5, 44), 44, True, 56, None),
    ],
)
def test_stages(
    views: tuple[int, int], images: int, targets: bool, programs: int, mean: float | None
) -> None:
    buckets = recipe_buckets(views, images, targets=targets)
    assert len(buckets) == programs <= 70
    assert sum(b.weight for b in buckets) == pytest.approx(1, abs=1e-4)
    seen = [(b.weight, b.batch * (b.views + b.targets)) for b in buckets]
    assert max(count for _, count in seen) <= images
    assert all(b.width == 518 and b.height % 14 == 0 for b in buckets)
    assert all((b.targets > 0) == targets for b in buckets)
    if mean is not None:
        assert sum(w * count for w, count in seen) == pytest.approx(mean, abs=0.05)


@pytest.mark.parametrize(
    ("count", "inputs", "targets"),
    [(5, 2, 3), (10, 5, 6), (20, 10, 11), (30, 15, 16), (44, 22, 22)],
)
def test_views_of_the_state_query(count: int, inputs: int, targets: int) -> None:
    assert split_counts(count, 44 // max(1, 44 // count)) == (inputs, targets)


def test_a_range_beyond_the_budget_is_an_error() -> None:
    with pytest.raises(ValueError, match="views 2 to 48 with 36 images per microbatch"):
        recipe_buckets((2, 48), 36)
