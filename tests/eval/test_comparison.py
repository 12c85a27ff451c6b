"""The truth up to scale has no errors; the trivial prediction has those of its definition."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.scenes import room
from zipmap_jax.eval.comparison import Comparison
from zipmap_jax.eval.report import MEANING, Numbers, table
from zipmap_jax.scene.scene import Scene

PERFECT = {name: 100.0 for name in MEANING} | {
    "AbsRel": 0,
    "delta<1.25": 1,
    "focal": 0,
    "fy/fx": 1,
}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return room(views=4, size=(30, 40))


def truth_of(scene: Scene) -> dict[str, np.ndarray]:
    depth = np.stack(scene.depth)
    return {"depth": depth, "valid": np.ones(depth.shape, bool), "w2c": scene.w2c} | {
        "intrinsics": scene.intrinsics
    }


def compare(scene: Scene, truth: dict[str, np.ndarray]) -> Numbers:
    return (
        Comparison().with_scene(np.stack(scene.depth), scene.w2c, scene.intrinsics, truth).numbers()
    )


def test_truth_at_another_scale_is_perfect(scene: Scene) -> None:
    w2c = scene.w2c.copy()
    w2c[:, :3, 3] *= 3
    scaled = dataclasses.replace(scene, depth=tuple(3 * d for d in scene.depth), w2c=w2c)
    assert compare(scaled, truth_of(scene))["model"] == pytest.approx(PERFECT, abs=1e-5)


def test_the_trivial_prediction_is_the_median_depth_and_no_motion(scene: Scene) -> None:
    numbers = compare(scene, truth_of(scene))["trivial"]
    depth = np.stack(scene.depth)
    median = np.sort(depth.ravel())[(depth.size - 1) // 2]
    assert numbers["AbsRel"] == pytest.approx(np.mean(np.abs(median - depth) / depth), rel=1e-5)
    # A zero baseline has no direction.
    assert numbers["RTA@30"] == 0
    assert numbers["AUC@30"] == 0


def test_non_finite_and_invalid_pixels_do_not_count(scene: Scene) -> None:
    truth = truth_of(scene)
    truth["valid"][:, :5] = False
    truth["depth"] = truth["depth"].copy()
    truth["depth"][:, :5] = 0
    cropped = tuple(d.copy() for d in scene.depth)
    for depth in cropped:
        depth[-5:] = np.nan
    numbers = compare(dataclasses.replace(scene, depth=cropped), truth)["model"]
    assert numbers == pytest.approx(PERFECT, abs=1e-5)


def test_a_wrong_rotation_raises_the_pose_errors(scene: Scene) -> None:
    w2c = scene.w2c.copy()
    w2c[2, :3, :3] = np.diag([-1.0, 1.0, -1.0]) @ w2c[2, :3, :3]
    turned = dataclasses.replace(scene, w2c=w2c)
    # Three of the six pairs contain the rotated view.
    assert compare(turned, truth_of(scene))["model"]["RRA@30"] == pytest.approx(50)


def test_scenes_are_pooled_by_pixels_and_pairs(scene: Scene) -> None:
    truth = truth_of(scene)
    depth = np.stack(scene.depth)
    half = {name: array[:2] for name, array in truth.items()}
    wrong = scene.w2c[:2].copy()
    wrong[1, :3, :3] = np.diag([-1.0, 1.0, -1.0]) @ wrong[1, :3, :3]
    one = Comparison().with_scene(depth, scene.w2c, scene.intrinsics, truth)
    both = one.with_scene(depth[:2] ** 1.5, wrong, scene.intrinsics[:2], half).numbers()["model"]
    # Six correct pairs and a wrong one; twice as many pixels in the first scene as in the second.
    assert both["RRA@30"] == pytest.approx(600 / 7)
    alone = (
        Comparison()
        .with_scene(depth[:2] ** 1.5, wrong, scene.intrinsics[:2], half)
        .numbers()["model"]
    )
    assert both["AbsRel"] == pytest.approx(alone["AbsRel"] / 3, rel=1e-6)


def test_table_has_a_line_per_metric(scene: Scene) -> None:
    numbers = compare(scene, truth_of(scene))
    lines = table(numbers).splitlines()
    assert lines[0].split()[1:3] == ["model", "trivial"]
    assert [line.split()[0] for line in lines[1:]] == list(MEANING)
    assert len(table(numbers, ["AbsRel"]).splitlines()) == 2


def test_focal_lengths_and_the_aspect_of_pixels(scene: Scene) -> None:
    """Half of the views 20 % too long in y: a mean over views and axes of logarithms."""
    intrinsics = scene.intrinsics.copy()
    intrinsics[:2, 1, 1] *= 1.2
    numbers = compare(dataclasses.replace(scene, intrinsics=intrinsics), truth_of(scene))
    assert numbers["model"]["fy/fx"] == pytest.approx(1.2**0.5)
    assert numbers["model"]["focal"] == pytest.approx(100 * (1.2**0.25 - 1))
    # 60 degrees along the longer side of 40 pixels.
    fx, fy = scene.intrinsics[0, 0, 0], scene.intrinsics[0, 1, 1]
    usual = 20 / np.tan(np.pi / 6)
    error = np.exp((abs(np.log(usual / fx)) + abs(np.log(usual / fy))) / 2) - 1
    assert numbers["trivial"]["focal"] == pytest.approx(100 * error)
    assert numbers["trivial"]["fy/fx"] == pytest.approx(fx / fy)
