"""Crops and resizing: golden numbers of the recipe, and pixels that stay on their rays."""

from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.data.frame import BrokenFrameError, PosedFrame, check_frame
from zipmap_jax.data.transforms import (
    MARGIN,
    crop_to_principal_point,
    fit_frame,
    resize_and_cut,
    resized_size,
)


def coded(height: int, width: int, k: tuple[float, float, float, float]) -> PosedFrame:
    """A frame whose pixels encode their position: depth exactly, colour as a ramp."""
    v, u = np.mgrid[:height, :width]
    ramp = np.stack([u / width, v / height, np.zeros_like(u)], -1)
    fx, fy, cx, cy = k
    return PosedFrame(
        np.round(255 * ramp).astype(np.uint8),
        (1 + u + 1000 * v).astype(np.float32),
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]),
        np.eye(4),
        7,
    )


def parameters(frame: PosedFrame) -> np.ndarray:
    """fx, fy, cx, cy."""
    return frame.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]


RNG = np.random.default_rng(0)
FIRST = (500.0, 505.0, 322.3, 236.8)
SECOND = (600.0, 610.0, 320.5, 239.2)
THIRD = (600.0, 610.0, 300.25, 250.75)


def test_golden_steps_of_the_recipe() -> None:
    frame = crop_to_principal_point(coded(480, 640, FIRST), (480, 640))
    assert frame.depth.shape == (472, 634)
    np.testing.assert_allclose(parameters(frame)[2:], (317.3, 236.8), atol=1e-9)
    assert resized_size((472, 634), (392, 518), MARGIN) == (396, 531)
    result = resize_and_cut(frame, (396, 531), (392, 518))
    expected = (419.4915, 423.6864, 259.1288, 196.5907)
    np.testing.assert_allclose(parameters(result), expected, atol=5e-5)
    # Before the last crop, by hand: (259.1288 + 7, 196.5907 + 2).
    margin = np.floor(parameters(result)[2:]) - np.floor([266.1288, 198.5907])
    np.testing.assert_array_equal(margin, [-7, -2])


@pytest.mark.parametrize(
    ("shape", "k", "size", "expected"),
    [
        ((480, 640), FIRST, (392, 518), (419.4915, 423.6864, 259.1288, 196.5907)),
        ((480, 640), SECOND, (518, 518), (655.230126, 666.150628, 259.956067, 259.264435)),
        ((480, 640), SECOND, (378, 518), (490.909091, 499.090909, 259.318182, 189.618182)),
        ((480, 640), SECOND, (252, 518), (490.909091, 499.090909, 259.318182, 126.618182)),
        # SceneNet's camera: f = 160 / tan 30, 120 / tan 22.5 degrees.
        (
            (240, 320),
            (277.128129, 289.705627, 160.0, 120.0),
            (378, 518),
            (452.065261, 472.582305, 259.315625, 189.065625),
        ),
        # By hand: nothing to crop; 104 / 100 on both axes; (50.5) 1.04 - 0.5 = 52.02; cut 52 - 50.
        ((100, 100), (80.0, 90.0, 50.0, 50.0), (100, 100), (83.2, 93.6, 50.02, 50.02)),
    ],
)
def test_golden_cameras(
    shape: tuple[int, int], k: tuple[float, ...], size: tuple[int, int], expected: tuple[float, ...]
) -> None:
    result = fit_frame(coded(*shape, k), size, RNG)  # type: ignore[arg-type]
    assert result.image.shape == (*size, 3)
    assert result.depth.shape == size
    assert result.id == 7
    np.testing.assert_allclose(parameters(result), expected, atol=5e-5)


@pytest.mark.parametrize(
    ("size", "shape", "centre"),
    [((480, 640), (458, 600), (300.25, 229.75)), ((400, 600), (400, 600), (300.25, 200.75))],
)
def test_golden_crops_around_a_principal_point_off_the_middle(
    size: tuple[int, int], shape: tuple[int, int], centre: tuple[float, float]
) -> None:
    frame = crop_to_principal_point(coded(480, 640, THIRD), size)
    assert frame.depth.shape == shape
    np.testing.assert_allclose(parameters(frame)[2:], centre, atol=1e-9)


def test_golden_resize_and_cut_off_the_middle() -> None:
    frame = crop_to_principal_point(coded(480, 640, THIRD), (400, 600))
    assert resized_size((400, 600), (378, 518), MARGIN) == (382, 573)
    result = resize_and_cut(frame, (382, 573), (378, 518))
    expected = (573.0, 582.55, 259.71625, 189.69375)
    np.testing.assert_allclose(parameters(result), expected, atol=1e-9)


def came_from(got: PosedFrame, source: PosedFrame) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows at which the ray of every pixel meets the original image plane."""
    (fx, fy, cx, cy), (f0, g0, x0, y0) = parameters(got), parameters(source)
    v, u = np.mgrid[: got.depth.shape[0], : got.depth.shape[1]]
    return (u - cx) / fx * f0 + x0, (v - cy) / fy * g0 + y0


@pytest.mark.parametrize("shape", [(480, 640), (120, 160), (300, 200)])
@pytest.mark.parametrize("size", [(112, 154), (154, 154)])
def test_pixels_stay_on_their_rays(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """Colour and depth of a ray are the same before and after any random crop."""
    height, width = shape
    rng = np.random.default_rng(1)
    source = coded(height, width, (1.1 * width, 1.1 * width, 0.51 * width, 0.48 * height))
    for _ in range(10):
        got = fit_frame(source, size, rng, scales=(0.8, 1.2), zoom=0.3)
        centre = parameters(got)[2:] - np.array(size[::-1]) / 2
        assert (centre >= 0).all()
        assert (centre < 1).all()
        columns, rows = came_from(got, source)
        exact_rows, exact_columns = np.divmod(got.depth.astype(int) - 1, 1000)
        # Both axes share one factor, off by up to one resized pixel (a step) over the image; the
        # nearest pixel is rounded down from the edge: at most half a step and half a pixel.
        step = parameters(source)[0] / parameters(got)[0]
        assert np.abs(exact_columns - columns).max() <= 0.5 + 1.5 * step
        assert np.abs(exact_rows - rows).max() <= 0.5 + 1.5 * step
        # The ramps are rounded to 1 / 255 of the side; filters extend no ramp beyond the border.
        inner = (slice(8, -8), slice(8, -8))
        for channel, truth, side in ((0, columns, width), (1, rows, height)):
            seen = got.image[..., channel][inner] * (side / 255)
            assert np.abs(seen - truth[inner]).max() <= step + side / 255


@pytest.mark.parametrize(("divide", "times"), [(1, 1), (2, 1), (4, 1), (1, 2)])
def test_resizing_by_an_exact_factor_is_exact(divide: int, times: int) -> None:
    source = coded(320, 480, (400.0, 400.0, 240.3, 160.6))
    resized = (320 // divide * times, 480 // divide * times)
    got = resize_and_cut(source, resized, (70, 84))
    columns, rows = came_from(got, source)
    for channel, truth, side in ((0, columns, 480), (1, rows, 320)):
        seen = got.image[..., channel] * (side / 255)
        # Steps of the ramp are 1 / 255 of the side; without half pixels it would be shifted by
        # (1 - divide / times) / 2 pixels.
        assert abs((seen - truth).mean()) < 0.15
    exact_rows, exact_columns = np.divmod(got.depth.astype(int) - 1, 1000)
    for exact, truth in ((exact_columns, columns), (exact_rows, rows)):
        # Rounded down from the edge of the pixel, not its centre.
        shift = (1 - divide / times) / 2
        assert np.abs(exact - truth - shift).max() < 0.5 + 1e-4


def test_augmentation_follows_the_recipe() -> None:
    rng = np.random.default_rng(2)
    source = coded(100, 140, (100.0, 100.0, 70.0, 50.0))
    plain = fit_frame(source, (56, 70), rng)
    np.testing.assert_array_equal(fit_frame(source, (56, 70), rng).depth, plain.depth)
    zooms = np.array(
        [parameters(fit_frame(source, (56, 70), rng, zoom=0.3))[0] for _ in range(400)]
    )
    # 4 + t 70 pixels beyond the target, t triangular on [0, 0.3] of mean 0.1: f = 60 to 81 of 100.
    assert zooms.min() >= 60 - 1e-9
    assert 76 < zooms.max() <= 81 + 1e-9
    assert abs(zooms.mean() - 67) < 1.5
    crops = [fit_frame(source, (56, 70), rng, scales=(0.8, 1.2)) for _ in range(300)]
    focal = np.array([parameters(crop)[0] for crop in crops])
    # Half of the draws of an axis keep all of it; a crop to 0.8 magnifies by 1 / 0.8.
    assert focal.min() == pytest.approx(60)
    assert 70 < focal.max() <= 60 / 0.8 * 1.03
    unchanged = (np.abs(focal - 60) < 1e-9).mean()
    assert 0.15 < unchanged < 0.65


def test_frames_smaller_than_the_target_are_padded() -> None:
    result = resize_and_cut(coded(100, 100, (80.0, 80.0, 50.0, 50.0)), (60, 60), (80, 80))
    assert result.depth.shape == (80, 80)
    assert (result.depth[:60, :60] > 0).all()
    assert not result.depth[60:].any()
    assert not result.image[:, 60:].any()


def test_a_principal_point_outside_is_a_broken_frame() -> None:
    with pytest.raises(BrokenFrameError, match=r"principal point -3\.0 is not inside"):
        fit_frame(coded(100, 100, (80.0, 80.0, -3.0, 50.0)), (56, 56), RNG)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"depth": np.zeros((4, 5), np.float32)}, "its depth has shape"),
        ({"image": np.zeros((4, 4), np.uint8)}, "not RGB"),
        ({"image": np.zeros((4, 4, 3), np.float32)}, "not RGB"),
        ({"w2c": np.full((4, 4), np.nan)}, "not finite"),
        ({"w2c": np.eye(3)}, "its camera has shapes"),
        ({"intrinsics": -np.eye(3)}, "focal length"),
    ],
)
def test_errors_of_unusable_frames_state_the_reason(
    change: dict[str, np.ndarray], reason: str
) -> None:
    good = {
        "image": np.zeros((4, 4, 3), np.uint8),
        "depth": np.zeros((4, 4), np.float32),
        "intrinsics": np.eye(3),
        "w2c": np.eye(4),
    }
    check_frame(PosedFrame(**good, id=0))
    with pytest.raises(BrokenFrameError, match=reason):
        check_frame(PosedFrame(**(good | change), id=0))
