from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from tests.pictures import fit_all
from zipmap_jax.images.resize import fit, network_shape, reduced, reduced_shape, resized_shape

RNG = np.random.default_rng(0)


def noise(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def pil(image, width, height):
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("height", "width", "mode", "expected"),
    [
        (480, 640, "crop", (392, 518)),
        (480, 640, "pad", (392, 518)),
        (518, 518, "crop", (518, 518)),
        (1000, 1000, "crop", (518, 518)),
        (1920, 1080, "crop", (924, 518)),
        (1920, 1080, "pad", (518, 294)),
        (1080, 1920, "crop", (294, 518)),
        (384, 512, "crop", (392, 518)),  # 27.75 patches round up
        (525, 1036, "crop", (266, 518)),  # 18.75 patches
        (518 + 14, 1036, "crop", (266, 518)),  # 19.0 patches
        (35, 37, "pad", (490, 518)),
    ],
)
def test_known_sizes(height, width, mode, expected):
    assert resized_shape(height, width, mode=mode) == expected


def test_ties_round_to_even():
    # 18.5 patches become 18, 19.5 become 20.
    assert resized_shape(259, 518)[0] == 18 * 14
    assert resized_shape(273, 518)[0] == 20 * 14


def test_landscape_equals_pillows_resize():
    image = noise(480, 640)
    out, pixel_map = fit(image)
    np.testing.assert_array_equal(out, pil(image, 518, 392))
    assert pixel_map.visible == (0, 0, 518, 392)


def test_portrait_loses_rows_at_top_and_bottom():
    image = noise(1920, 1080)
    out, pixel_map = fit(image)
    np.testing.assert_array_equal(out, pil(image, 518, 924)[203 : 203 + 518])
    assert pixel_map.network_size == (518, 518)
    # Network row 0 is resized row 203, whose centre lies at 203.5 resized pixels.
    np.testing.assert_allclose(pixel_map.offset_y, 203.5 * 1920 / 924 - 0.5)


def test_square_of_network_size_is_untouched():
    image = noise(518, 518)
    out, pixel_map = fit(image)
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(pixel_map.matrix, np.eye(3))


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480)])
def test_pad_centres_the_image_on_white(height, width):
    image = noise(height, width)
    out, pixel_map = fit(image, mode="pad")
    assert out.shape == (518, 518, 3)
    x0, y0, x1, y1 = pixel_map.visible
    np.testing.assert_array_equal(out[y0:y1, x0:x1], pil(image, x1 - x0, y1 - y0))
    assert sorted((x0, y0)) == [0, 63]
    rest = out.copy()
    rest[y0:y1, x0:x1] = 255
    assert (rest == 255).all()


def test_mixed_sizes_are_padded_with_white_to_the_largest():
    images = [noise(30, 60), noise(40, 60), noise(90, 60)]
    out, maps = fit_all(images, 56, patch=4)
    assert (out.shape, out.dtype) == ((3, 56, 56, 3), np.uint8)
    assert [m.visible for m in maps] == [(0, 14, 56, 42), (0, 10, 56, 46), (0, 0, 56, 56)]
    assert (out[0, :14] == 255).all()
    assert (out[0, 42:] == 255).all()
    np.testing.assert_array_equal(out[0, 14:42], pil(images[0], 56, 28))
    assert network_shape([image.shape[:2] for image in images], 56, 4) == (56, 56)
    assert network_shape([(30, 60), (40, 60)], 56, 4) == (36, 56)
    assert network_shape([(30, 60)], 56, 4, "pad") == (56, 56)


def test_odd_remainders_go_to_the_bottom():
    _, maps = fit_all([noise(30, 45), noise(45, 45)], 45, patch=5)
    assert maps[0].visible == (0, 7, 45, 37)


SHAPES = [(480, 640), (640, 480), (61, 40), (40, 61), (100, 100), (64, 250), (250, 64)]


@pytest.mark.parametrize("mode", ["crop", "pad"])
@pytest.mark.parametrize("shape", SHAPES)
def test_intrinsics_round_trip_and_keep_rays(shape, mode):
    images = [np.zeros((*shape, 3), np.uint8), noise(200, 200)]
    pixel_map = fit_all(images, 112, mode)[1][0]
    k = np.array([[100.0, 0, 57], [0, 90, 41], [0, 0, 1]])
    original = pixel_map.to_original(k)
    np.testing.assert_allclose(pixel_map.to_network(original), k, rtol=1e-12)
    # A network pixel and the original position at its centre have the same ray.
    pixel = np.array([33.0, 20, 1])
    ray = np.linalg.inv(k) @ pixel
    np.testing.assert_allclose(np.linalg.inv(original) @ (pixel_map.matrix @ pixel), ray)
    np.testing.assert_array_equal(pixel_map.to_original(np.stack([k, k]))[1], original)


@pytest.mark.parametrize("mode", ["crop", "pad"])
@pytest.mark.parametrize("shape", SHAPES)
def test_pixel_map_matches_resized_coordinates(shape, mode):
    """The colours of a resized image of coordinates equal the mapped coordinates."""
    height, width = shape
    rows, cols = np.mgrid[:height, :width]
    image = np.stack([rows * (255 / height), cols * (255 / width), 0 * rows], -1)
    out, pixel_map = fit(np.rint(image).astype(np.uint8), size=112, patch=14, mode=mode)
    x0, y0, x1, y1 = pixel_map.visible
    v, u = np.mgrid[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]  # bicubic differs at borders
    y = pixel_map.scale_y * v + pixel_map.offset_y
    x = pixel_map.scale_x * u + pixel_map.offset_x
    # Two roundings to 8 bits, half a level each, and the overshoot of bicubic on rounded steps.
    np.testing.assert_allclose(out[v, u, 0], y * (255 / height), atol=1.25)
    np.testing.assert_allclose(out[v, u, 1], x * (255 / width), atol=1.25)


def test_visible_region_covers_the_original_exactly():
    for shape in SHAPES:
        _, m = fit(np.zeros((*shape, 3), np.uint8), size=112, patch=14, mode="pad")
        x0, y0, x1, y1 = m.visible
        corners = m.matrix @ np.array([[x0 - 0.5, y0 - 0.5, 1], [x1 - 0.5, y1 - 0.5, 1]]).T
        expected = [[-0.5, -0.5], [shape[1] - 0.5, shape[0] - 0.5]]
        np.testing.assert_allclose(corners[:2].T, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resized_shape(1, 1), "at least 28x28 pixels, got 1x1"),
        (lambda: resized_shape(500, 27), "at least 28x28 pixels, got 27x500"),
        (lambda: resized_shape(40, 1000), "too elongated for the network, resized to 518x14"),
        (lambda: resized_shape(100, 100, 500), "multiple of the patch size 14 .* got 500: try 504"),
        (lambda: resized_shape(100, 100, 14), "at least 28, got 14: try 28"),
        (lambda: resized_shape(100, 100, -14), "got -14: try 28"),
        (lambda: resized_shape(100, 100, mode="fill"), "mode must be .* got 'fill'"),  # type: ignore[arg-type]
    ],
)
def test_unusable_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_equal_pixel_maps_compare_equal():
    _, pixel_map = fit(noise(40, 60), size=56)
    assert dataclasses.replace(pixel_map) == pixel_map


def test_reduced_images_keep_their_area_and_small_ones_their_pixels():
    image = np.zeros((60, 90, 3), np.uint8)
    image[:, 45:] = 200
    image[:20, :, 1] = 100
    small = reduced(image, 30)
    assert small.shape == (20, 30, 3)
    np.testing.assert_allclose(small[:, [5, 24], 0].mean(0), [0, 200], atol=1)
    np.testing.assert_allclose(small[[2, 15], 3, 1], [100, 0], atol=1)
    np.testing.assert_allclose(small.mean((0, 1)), image.mean((0, 1)), atol=1)
    assert reduced(image, 90) is image
    assert reduced(image, None) is image
    assert reduced_shape((3000, 4), 100) == (100, 1)
