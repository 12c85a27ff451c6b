from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.scenes import room
from zipmap_jax.scene.points import confidence_threshold, depth_edges, point_cloud


def test_points_project_to_their_pixels() -> None:
    scene = room(3, (30, 40), mixed=True, border=2)
    cloud = point_cloud(scene, conf_threshold=0, max_points=None)
    assert cloud.positions.dtype == np.float32
    assert cloud.colors.dtype == np.uint8
    assert cloud.view.dtype == np.uint16
    assert len(cloud) == sum(int(np.isfinite(d).sum()) for d in scene.depth)
    for i in range(3):
        mine = cloud.view == i
        u, v = cloud.pixels[mine].T
        camera = cloud.positions[mine] @ scene.w2c[i, :3, :3].T + scene.w2c[i, :3, 3]
        z = scene.depth[i][v, u]
        np.testing.assert_allclose(camera[:, 2], z, rtol=1e-5, atol=1e-5)
        k = scene.intrinsics[i]
        projected = camera[:, :2] / camera[:, 2:] * [k[0, 0], k[1, 1]] + k[:2, 2]
        np.testing.assert_allclose(projected, cloud.pixels[mine], atol=1e-3)
        np.testing.assert_array_equal(cloud.depth[mine], z)
        np.testing.assert_array_equal(cloud.colors[mine], scene.images[i][v, u])
        np.testing.assert_array_equal(cloud.confidence[mine], scene.confidence[i][v, u])


@pytest.mark.parametrize("percent", [0, 10, 50, 99.5])
def test_confidence_threshold_is_a_percentile_over_the_selected_views(percent: float) -> None:
    scene, chosen = room(4, (24, 32), border=3), [1, 3]
    cloud = point_cloud(scene, conf_threshold=percent, max_points=None, views=chosen)
    known = np.concatenate([scene.confidence[i][np.isfinite(scene.depth[i])] for i in chosen])
    expected = known[known >= np.percentile(known, percent)]
    np.testing.assert_array_equal(np.sort(cloud.confidence), np.sort(expected))
    assert set(cloud.view) <= set(chosen)


def test_equal_confidence_keeps_all_pixels() -> None:
    scene = room(2, (24, 32))
    flat = tuple(np.full_like(c, 1.5) for c in scene.confidence)
    cloud = point_cloud(dataclasses.replace(scene, confidence=flat), conf_threshold=90)
    assert len(cloud) == 2 * 24 * 32


def test_zero_or_unknown_confidence_is_left_out() -> None:
    scene = room(2, (24, 32))
    scene.confidence[0][:5] = 0
    scene.confidence[1][:7] = np.nan
    assert confidence_threshold(scene, 0) == 0
    cloud = point_cloud(scene, conf_threshold=0)
    assert len(cloud) == (24 - 5) * 32 + (24 - 7) * 32


@pytest.mark.parametrize("sampling", ["random", "stride"])
def test_thinning_is_even_distinct_and_repeatable(sampling: str) -> None:
    scene = room(3, (30, 40))
    first = point_cloud(scene, conf_threshold=0, max_points=500, sampling=sampling)  # type: ignore[arg-type]
    again = point_cloud(scene, conf_threshold=0, max_points=500, sampling=sampling)  # type: ignore[arg-type]
    assert len(first) == 500
    np.testing.assert_array_equal(first.positions, again.positions)
    key = np.column_stack([first.view, first.pixels])
    assert len(np.unique(key, axis=0)) == 500
    counts = np.bincount(first.view, minlength=3)
    assert counts.max() - counts.min() <= 2


def test_seed_changes_the_random_choice() -> None:
    scene = room(2, (30, 40))
    one, two = (point_cloud(scene, conf_threshold=0, max_points=300, seed=s) for s in (0, 1))
    assert (one.pixels != two.pixels).any()


def test_edge_filter_drops_both_sides_of_a_jump_only() -> None:
    depth = np.ones((6, 8), np.float32)
    depth[:, 4:] = 2
    depth[0, 0] = np.nan
    edge = depth_edges(depth, 0.1)
    np.testing.assert_array_equal(edge, np.isin(np.arange(8), [3, 4])[None].repeat(6, 0))
    assert depth_edges(depth, 0.1, step=2)[:, 2:6].all()
    assert not depth_edges(depth * np.nan, 0.1).any()


def test_edge_filter_widens_with_interpolated_depth() -> None:
    scene = room(2, (40, 48))
    coarse = dataclasses.replace(scene, network_size=(10, 12))
    options = {"conf_threshold": 0.0, "max_points": None}
    every = point_cloud(scene, **options)
    fine = point_cloud(scene, edge_threshold=0.3, **options)
    wide = point_cloud(coarse, edge_threshold=0.3, **options)
    assert len(wide) < len(fine) < len(every)


def test_unknown_depth_gives_an_empty_cloud() -> None:
    scene = room(2, (24, 32))
    unknown = tuple(np.full_like(d, np.nan) for d in scene.depth)
    cloud = point_cloud(dataclasses.replace(scene, depth=unknown))
    assert len(cloud) == 0
    assert cloud.positions.shape == (0, 3)
    assert cloud.scale() == 1


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"conf_threshold": 101}, "percentage, not 101"),
        ({"max_points": 0}, "at least 1 point, not 0"),
        ({"edge_threshold": 0}, "positive fraction, not 0"),
        ({"views": [2]}, "views 0 to 1, not 2"),
        ({"sampling": "best"}, "not 'best'"),
    ],
)
def test_bad_arguments_are_refused(argument: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        point_cloud(room(2, (12, 16)), **argument)
