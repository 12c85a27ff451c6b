from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from tests.pictures import fit_all
from zipmap_jax.geometry import quaternion_to_matrix, unproject_to_world
from zipmap_jax.images.decode import Frame
from zipmap_jax.inference.assemble import assemble
from zipmap_jax.structs import Prediction

RNG = np.random.default_rng(0)


def cameras(count):
    q = RNG.normal(size=(count, 4)) * 0.1 + (0, 0, 0, 1)
    w2c = np.tile(np.eye(4), (count, 1, 1))
    w2c[:, :3, :3] = quaternion_to_matrix(q)
    w2c[:, :3, 3] = RNG.normal(size=(count, 3))
    return w2c


def setting(shapes=((60, 80), (80, 60), (56, 56)), size=56, mode="crop"):
    frames = [
        Frame(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8), f"{i}.jpg")
        for i, shape in enumerate(shapes)
    ]
    images, maps = fit_all([frame.image for frame in frames], size, mode)
    w2c = cameras(len(frames))
    k = np.array([[50.0, 0, images.shape[2] / 2], [0, 45, images.shape[1] / 2], [0, 0, 1]])
    depth = 3 + RNG.uniform(0, 0.1, images.shape[:3])
    intrinsics = np.broadcast_to(k, (1, len(frames), 3, 3))
    prediction = Prediction(depth[None], 1 + depth[None], w2c[None], intrinsics)
    return frames, maps, w2c, k, prediction


def test_poses_are_relative_to_the_first_view():
    frames, maps, w2c, _, prediction = setting()
    scene = assemble(prediction, frames, maps, model="m")
    np.testing.assert_array_equal(scene.w2c[0], np.eye(4))
    np.testing.assert_allclose(scene.w2c, w2c @ np.linalg.inv(w2c[0]), atol=1e-12)
    raw = assemble(prediction, frames, maps, align_first_view=False)
    np.testing.assert_allclose(raw.w2c, w2c, atol=1e-12)
    assert (scene.model, scene.names, scene.times) == ("m", ("0.jpg", "1.jpg", "2.jpg"), None)
    assert scene.network_size == (56, 56)


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_original_points_equal_those_of_the_network(mode):
    """Depth and intrinsics unproject to one plane, original and network ones alike."""
    frames, maps, _, k, prediction = setting(mode=mode)
    v, u = np.mgrid[:56, :56].astype(np.float64)
    # Inverse depth linear in the pixel: a plane n . x = 1 in each camera frame.
    inverse = (0.3 + 0.001 * u - 0.0005 * v)[None].repeat(3, 0)
    normal = k.T @ [0.001, -0.0005, 0.3]
    prediction = dataclasses.replace(prediction, depth=(1 / inverse)[None])
    scene = assemble(prediction, frames, maps)
    for i in range(3):
        depth = scene.depth[i].astype(np.float64)
        points = unproject_to_world(depth, scene.intrinsics[i], np.eye(4))
        inner = points[3:-3, 3:-3].reshape(-1, 3)
        inner = inner[np.isfinite(inner).all(-1)]
        # Bilinear depth of a plane errs by the curvature of its depth, 1e-5 here; borders repeat.
        error = np.abs(inner @ normal - 1)
        assert np.median(error) < 2e-5
        assert error.max() < 2e-3


def test_world_points_equal_unproject_to_world():
    frames, maps, _, _, prediction = setting()
    scene = assemble(prediction, frames, maps)
    expected = unproject_to_world(
        scene.depth[1].astype(np.float64), scene.intrinsics[1], scene.w2c[1]
    )
    np.testing.assert_allclose(scene.world_points(1), expected, atol=1e-5)


def test_arrays_have_the_original_sizes():
    frames, maps, _, _, prediction = setting()
    scene = assemble(prediction, frames, maps)
    for i, frame in enumerate(frames):
        shape = frame.image.shape[:2]
        assert scene.depth[i].shape == scene.confidence[i].shape == shape
        assert scene.images[i] is frame.image
        known = np.isfinite(scene.depth[i])
        assert (scene.confidence[i][known] > 1).all()
        assert (scene.confidence[i][~known] == 0).all()


def test_original_intrinsics_of_an_uncropped_view():
    frames, maps, _, _, prediction = setting(shapes=((112, 112),))
    scene = assemble(prediction, frames, maps)
    # Twice the network size: focal lengths double, pixel centres move by half a pixel.
    expected = [[100, 0, 56.5], [0, 90, 56.5], [0, 0, 1]]
    np.testing.assert_allclose(scene.intrinsics[0], expected, rtol=1e-12)


def test_padded_views_are_dropped():
    frames, maps, _, _, prediction = setting()
    scene = assemble(prediction, frames[:2], maps[:2])
    assert len(scene) == len(scene.depth) == len(scene.w2c) == 2


def test_times_are_kept_for_videos_only():
    frames, maps, _, _, prediction = setting()
    timed = [dataclasses.replace(f, time=float(i)) for i, f in enumerate(frames)]
    assert assemble(prediction, timed, maps).times == (0, 1, 2)
    assert assemble(prediction, [frames[0], *timed[1:]], maps).times is None


@pytest.mark.parametrize("aspect", [0.8, 0.93, 1.0, 1.08, 1.44])
def test_pixels_that_are_not_square_are_told_once(aspect):
    """Of the original images; the median counts, so one strange view is no reason."""
    frames, maps, _, k, prediction = setting(shapes=((60, 80), (60, 80), (60, 80)))
    stretch = maps[0].to_original(np.eye(3))
    k[1, 1] = k[0, 0] * aspect * stretch[0, 0] / stretch[1, 1]
    intrinsics = np.tile(k, (1, 3, 1, 1))
    intrinsics[0, 2, 1, 1] *= 3
    prediction = dataclasses.replace(prediction, intrinsics=intrinsics)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scene = assemble(prediction, frames, maps, model="m")
    np.testing.assert_allclose(scene.intrinsics[0, 1, 1] / scene.intrinsics[0, 0, 0], aspect)
    told = [f"fy/fx is {aspect:.2f} (median of 3 views)"] if abs(aspect - 1) > 0.1 else []
    assert [str(w.message).split(",")[0] for w in caught] == told


def test_impossible_cameras_are_replaced_and_named():
    frames, maps, _, _, prediction = setting()
    w2c, intrinsics = np.array(prediction.w2c), np.array(prediction.intrinsics)
    w2c[0, 1, :3, :3] = 0
    intrinsics[0, 1, 0, 0] = np.inf
    broken = dataclasses.replace(prediction, w2c=w2c, intrinsics=intrinsics)
    with pytest.warns(UserWarning, match="impossible rotation and field of view for view 1"):
        scene = assemble(broken, frames, maps)
    assert np.isfinite(scene.w2c).all()
    assert np.isfinite(scene.intrinsics).all()


def test_depth_that_is_not_finite_becomes_unknown_with_a_warning():
    frames, maps, _, _, prediction = setting()
    depth = np.array(prediction.depth)
    depth[0, 2, 10, 10] = np.inf
    with pytest.warns(UserWarning, match=r"depth of view 2\.jpg is not finite"):
        scene = assemble(dataclasses.replace(prediction, depth=depth), frames, maps)
    assert np.isnan(scene.depth[2][10, 10])
    assert scene.confidence[2][10, 10] == 0


def test_incomplete_predictions_are_refused():
    frames, maps, _, _, prediction = setting()
    with pytest.raises(ValueError, match="needs camera poses"):
        assemble(dataclasses.replace(prediction, w2c=None), frames, maps)
    with pytest.raises(ValueError, match="3 frames and 2 pixel maps"):
        assemble(prediction, frames, maps[:2])
    with pytest.raises(ValueError, match="0 frames"):
        assemble(prediction, [], [])
