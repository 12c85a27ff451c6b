from __future__ import annotations

import numpy as np
import pytest

from tests.pictures import fit_all
from zipmap_jax.images.resample import EDGE_RATIO, depth_to_original
from zipmap_jax.images.resize import fit


def pixel_map_of(shape, mode="crop", size=56):
    return fit(np.zeros((*shape, 3), np.uint8), size=size, patch=14, mode=mode)[1]


def ramp(pixel_map):
    """Depth on the network grid, linear in original coordinates, and its exact original."""
    v, u = np.mgrid[: pixel_map.network_size[0], : pixel_map.network_size[1]]

    def depth(y, x):
        return 5 + 0.003 * x + 0.002 * y

    network = depth(
        pixel_map.scale_y * v + pixel_map.offset_y, pixel_map.scale_x * u + pixel_map.offset_x
    )
    height, width = pixel_map.original_size
    return network, depth(*np.mgrid[:height, :width])


@pytest.mark.parametrize("mode", ["crop", "pad"])
@pytest.mark.parametrize("shape", [(150, 200), (200, 150), (30, 40), (90, 45), (56, 56)])
def test_linear_depth_is_restored_exactly_away_from_the_border(shape, mode):
    pixel_map = pixel_map_of(shape, mode)
    network, expected = ramp(pixel_map)
    depth, confidence = depth_to_original(network, 1 + network, pixel_map)
    assert depth.shape == confidence.shape == shape
    assert depth.dtype == confidence.dtype == np.float32
    known = np.isfinite(depth)
    # The border repeats within half a network pixel of the outermost centres.
    slack = 0.5 * (0.003 * pixel_map.scale_x + 0.002 * pixel_map.scale_y) + 1e-5
    np.testing.assert_allclose(depth[known], expected[known], atol=slack)
    inner = np.zeros(shape, bool)
    by, bx = (int(np.ceil(s)) for s in (pixel_map.scale_y, pixel_map.scale_x))
    inner[by:-by, bx:-bx] = True
    rows = np.flatnonzero(known.any(1))
    inner[: rows[0] + by] = inner[rows[-1] + 1 - by :] = False
    np.testing.assert_allclose(depth[inner], expected[inner], rtol=1e-6)  # fp32
    np.testing.assert_allclose(confidence[inner], 1 + expected[inner], rtol=1e-6)


def test_cropped_rows_are_nan_without_confidence():
    pixel_map = pixel_map_of((192, 108))
    assert pixel_map.network_size == (56, 56)
    network = np.full((56, 56), 2.0)
    depth, confidence = depth_to_original(network, network, pixel_map)
    rows = np.arange(192)
    resized = (rows + 0.5) * 98 / 192  # 108 x 192 becomes 56 x 98, of which rows 21..76 are kept
    known = (resized >= 21) & (resized <= 77)
    np.testing.assert_array_equal(np.isfinite(depth), np.repeat(known[:, None], 108, 1))
    np.testing.assert_array_equal(confidence[~known], 0)
    np.testing.assert_array_equal(depth[known], 2)
    np.testing.assert_array_equal(confidence[known], 2)


def test_uncropped_image_is_fully_visible_and_padding_has_no_effect():
    images = [np.zeros((40, 100, 3), np.uint8), np.zeros((99, 99, 3), np.uint8)]
    pixel_map = fit_all(images, 56)[1][0]
    network = np.full((56, 56), 1000.0)
    x0, y0, x1, y1 = pixel_map.visible
    network[y0:y1, x0:x1] = 3
    depth, confidence = depth_to_original(network, network, pixel_map)
    np.testing.assert_array_equal(depth, np.full((40, 100), 3))
    np.testing.assert_array_equal(confidence, np.full((40, 100), 3))


def test_no_depth_between_foreground_and_background():
    pixel_map = pixel_map_of((280, 280))
    network = np.full((56, 56), 1.0)
    network[:, 28:] = 4
    depth, confidence = depth_to_original(network, network, pixel_map)
    assert set(np.unique(depth)) == {1, 4}
    np.testing.assert_array_equal(depth[:, :140], 1)
    np.testing.assert_array_equal(depth[:, 140:], 4)
    assert ((confidence > 1) & (confidence < 4)).any()


def test_steps_below_the_edge_ratio_are_interpolated():
    pixel_map = pixel_map_of((280, 280))
    network = np.full((56, 56), 1.0)
    network[:, 28:] = EDGE_RATIO - 0.01
    depth, _ = depth_to_original(network, network, pixel_map)
    assert ((depth > 1.001) & (depth < EDGE_RATIO - 0.011)).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_unknown_depth_stays_local(bad):
    pixel_map = pixel_map_of((280, 280))
    network = np.full((56, 56), 2.0)
    network[10, 20] = bad
    depth, confidence = depth_to_original(network, network, pixel_map)
    unknown = np.zeros((280, 280), bool)
    unknown[50:55, 100:105] = True  # five original pixels per network pixel
    np.testing.assert_array_equal(np.isnan(depth), unknown)
    np.testing.assert_array_equal(confidence == 0, unknown)
    np.testing.assert_array_equal(depth[~unknown], 2)
