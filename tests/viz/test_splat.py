"""Pictures of points: positions and occlusion."""

from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.viz.splat import look_at, overview, splat

RED, BLUE = np.uint8([[255, 0, 0]]), np.uint8([[0, 0, 255]])
STILL = np.eye(4)


def test_a_point_ahead_is_in_the_middle() -> None:
    picture = splat(np.array([[0.0, 0.0, 2.0]]), RED, STILL, (20, 30), dot=4)
    row, column = np.nonzero(picture.any(-1))
    assert (row.min(), row.max()) == (9, 10)
    assert (column.min(), column.max()) == (14, 15)
    assert (picture[9:11, 14:16] == RED).all()


def test_right_is_right_and_down_is_down() -> None:
    points = np.array([[0.5, 0.0, 2.0], [0.0, 0.5, 2.0]])
    picture = splat(points, np.concatenate([RED, BLUE]), STILL, (40, 40))
    row, column = np.nonzero(picture[..., 0])
    assert abs(row.mean() - 19.5) < 1
    assert column.mean() > 25
    row, column = np.nonzero(picture[..., 2])
    assert abs(column.mean() - 19.5) < 1
    assert row.mean() > 25


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearer_point_hides_the_farther_one(order: list[int]) -> None:
    points, colors = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 3.0]]), np.concatenate([RED, BLUE])
    picture = splat(points[order], colors[order], STILL, (20, 20))
    assert picture[..., 0].max() == 255
    assert picture[..., 2].max() == 0


def test_points_out_of_view_are_not_drawn() -> None:
    points = np.array([[0.0, 0.0, -2.0], [np.nan, 0.0, 2.0], [90.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    picture = splat(points, RED.repeat(4, 0), STILL, (20, 20), background=(7, 8, 9))
    assert (picture == (7, 8, 9)).all()


def test_cameras_are_drawn_in_their_colours() -> None:
    camera = np.eye(4)
    camera[2, 3] = -3.0  # it stands three units ahead
    picture = splat(
        np.zeros((0, 3)),
        np.zeros((0, 3), np.uint8),
        STILL,
        (60, 60),
        cameras=camera[None],
        camera_colors=BLUE,
        camera_size=0.5,
    )
    assert picture[..., 2].max() == 255
    assert not picture[..., :2].any()


def test_a_viewer_looks_at_its_target() -> None:
    eye, target = np.array([1.0, -2.0, 3.0]), np.array([0.0, 0.5, 7.0])
    w2c = look_at(eye, target)
    np.testing.assert_allclose(w2c[:3, :3] @ w2c[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(w2c[:3, :3]) == pytest.approx(1)
    seen = w2c @ np.append(target, 1)
    np.testing.assert_allclose(seen[:2], 0, atol=1e-12)
    assert seen[2] == pytest.approx(np.linalg.norm(target - eye))
    above = w2c @ np.append(target + np.array([0, -1, 0]), 1)
    assert above[1] < seen[1]
    assert np.isfinite(look_at(np.zeros(3), np.array([0.0, 1.0, 0.0]))).all()


def test_the_overview_shows_the_points_and_the_first_camera() -> None:
    points = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (200, 3))
    viewer = overview(points)
    for where in (points.mean(0), np.zeros(3)):
        x, y, z = (viewer @ np.append(where, 1))[:3]
        assert z > 0
        assert abs(x / z) < np.tan(np.radians(25))
        assert abs(y / z) < np.tan(np.radians(25)) * 1.1
