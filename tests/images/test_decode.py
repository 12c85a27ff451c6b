from __future__ import annotations

import base64
import struct
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from zipmap_jax.errors import UserError
from zipmap_jax.images.decode import (
    UniqueNames,
    from_array,
    image_size,
    read_image,
    to_rgb,
)

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_rgb_png_is_read_exactly(tmp_path):
    frame = read_image(save(tmp_path / "a.png", Image.fromarray(RGB)))
    np.testing.assert_array_equal(frame.image, RGB)
    assert frame.image.dtype == np.uint8
    assert (frame.name, frame.time) == ("a.png", None)


def test_rgba_is_composited_on_white():
    rgba = np.dstack([RGB, np.zeros((6, 8), np.uint8)])
    rgba[0, 0, 3], rgba[0, 1, 3] = 255, 128
    out = to_rgb(Image.fromarray(rgba))
    np.testing.assert_array_equal(out[0, 0], RGB[0, 0])
    assert (out[1:] == 255).all()
    mixed = RGB[0, 1] * (128 / 255) + 255 * (127 / 255)
    np.testing.assert_allclose(out[0, 1], mixed, atol=1)  # 8-bit rounding


def test_grey_with_alpha_and_transparent_palette_are_composited_on_white(tmp_path):
    la = Image.new("LA", (4, 4), (10, 0))
    assert (to_rgb(la) == 255).all()
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    np.testing.assert_array_equal(to_rgb(palette)[0, 0], [9, 8, 7])
    path = save(tmp_path / "p.png", palette, transparency=1)
    assert (read_image(path).image == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled(tmp_path, suffix):
    grey = np.array([[0, 257, 300, 32768, 65535]], np.uint16).repeat(3, 0)
    frame = read_image(save(tmp_path / f"g.{suffix}", Image.fromarray(grey)))
    expected = np.rint(grey / 257).astype(np.uint8)
    np.testing.assert_array_equal(frame.image, np.repeat(expected[..., None], 3, -1))


def test_big_endian_16_bit_grey(tmp_path):
    pixels = np.array([[0, 514, 65535]], ">u2")
    header = b"P5 3 1 65535\n"
    path = tmp_path / "g.pgm"
    path.write_bytes(header + pixels.tobytes())
    np.testing.assert_array_equal(read_image(path).image[0, :, 0], [0, 2, 255])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-3.0, 0.0, 65535.0], [0, 0, 255]),
        ([0.0, 1e6, 2e6], [0, 128, 255]),
    ],
)
def test_range_of_float_grey_follows_its_values(values, expected):
    out = to_rgb(Image.fromarray(np.array([values], np.float32)))
    np.testing.assert_array_equal(out[0, :, 1], expected)


def test_float_image_with_nan_is_refused(tmp_path):
    image = Image.fromarray(np.array([[0, np.nan]], np.float32))
    path = save(tmp_path / "n.tif", image)
    with pytest.raises(ValueError, match=r"n\.tif cannot be read.*NaN"):
        read_image(path)


def test_bilevel_grey_and_cmyk():
    assert (to_rgb(Image.new("1", (4, 4), 1)) == 255).all()
    assert (to_rgb(Image.new("L", (4, 4), 77)) == 77).all()
    np.testing.assert_array_equal(to_rgb(Image.new("CMYK", (4, 4), (0, 255, 255, 0)))[0, 0],
                                  [255, 0, 0])  # fmt: skip


def test_cmyk_jpeg_keeps_its_colour(tmp_path):
    path = save(tmp_path / "c.jpg", Image.new("CMYK", (16, 16), (255, 0, 255, 0)), quality=95)
    np.testing.assert_allclose(read_image(path).image[8, 8], [0, 255, 0], atol=4)  # JPEG loss


def test_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue")]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(path).image, np.array(frames[0]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "o.png", Image.fromarray(RGB), exif=exif)
    upright = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.swapaxes(0, 1),
        6: np.rot90(RGB, -1),
        7: RGB[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(RGB),
    }[orientation]
    np.testing.assert_array_equal(read_image(path).image, upright)
    np.testing.assert_array_equal(read_image(path, exif=False).image, RGB)
    assert image_size(path) == upright.shape[:2]
    assert image_size(path, exif=False) == RGB.shape[:2]


def broken_files() -> dict[str, bytes]:
    return {
        "text.jpg": b"this is no picture",
        "empty.png": b"",
        "page.html": b"<html></html>",
        "header.png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 13, b"IHDR"),
    }


@pytest.mark.parametrize("name", broken_files())
def test_file_that_is_no_image_is_refused_in_one_sentence(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(broken_files()[name])
    with pytest.raises(ValueError, match=name) as error:
        read_image(path)
    assert "leave it out" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
def test_truncated_image_is_refused(tmp_path, suffix):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"t.{suffix}", Image.fromarray(noise))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=rf"t\.{suffix} .*leave it out"):
        read_image(path)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2])
def test_jpeg_without_its_end_marker_is_read_with_a_warning(tmp_path, progressive, missing):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "t.jpg"
    Image.fromarray(noise).save(path, progressive=progressive)
    whole = read_image(path).image
    data = path.read_bytes()
    path.write_bytes(data[:-missing])
    with pytest.warns(UserWarning, match=r"t\.jpg lacks its end marker, but all rows are there"):
        np.testing.assert_array_equal(read_image(path).image, whole)
    path.write_bytes(data[:-60])  # some blocks of the last row
    with pytest.raises(UserError, match=r"t\.jpg .*leave it out"):
        read_image(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.jpg does not exist"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match=r"gone\.jpg does not exist"):
        image_size(tmp_path / "gone.jpg")


HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAa1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAAA5waXRtAAAAAAACAAAAEGlkYXQAAAAAAEAAMAAAADhpbG9jAQAAAERAAAIAAQAAAAAAAAHRAAEA"
    "AAAAAAAAwwACAAEAAAAAAAAAAQAAAAAAAAAIAAAAOGlpbmYAAAAAAAIAAAAVaW5mZQIAAAEAAQAAaHZjMQAAAAAV"
    "aW5mZQIAAAAAAgAAZ3JpZAAAAADYaXBycAAAALZpcGNvAAAAdmh2Y0MBA3AAAAAAAAAAAAAe8AD8/fj4AAAPAyAA"
    "AQAYQAEMAf//A3AAAAMAkAAAAwAAAwAeugJAIQABACpCAQEDcAAAAwCQAAADAAADAB6gIIEFlurkprm4EBAwIAAA"
    "AwAgAAADACEiAAEABkQBwXPAiQAAABRpc3BlAAAAAAAAAEAAAABAAAAAFGlzcGUAAAAAAAAAQAAAADAAAAAQcGl4"
    "aQAAAAADCAgIAAAAGmlwbWEAAAAAAAAAAgABAoECAAICA4QAAAAaaXJlZgAAAAAAAAAOZGltZwACAAEAAQAAAMtt"
    "ZGF0AAAAvygBrwngITip//M8b/78nZe0xyeVp79Y//y3r7y4H/36G3R+ja83/xqjv0Aa/4Q7EwsnxdpjlJh41p7y"
    "Ka/vLpY1g6JkIKrmFu1n5iF5DEpQAPeOxXPENLVldopPqBe5bN/L7btAGTAEOCbh0cpCN7LXkdjXGD0AAXeAIZQt"
    "SdX5JpzrtRyenlmncnjqD6hK2ymLrHQM6UnsdpJzWjduPnP6eewonU0qffdVA7yH4s4g/VogT835bh62PJ/BhOkg"
)
"""64x48 pixels: red and green above blue and grey."""


def test_heic_is_read_by_the_optional_package(tmp_path):
    pytest.importorskip("pi_heif")
    for name in ("IMG_0001.HEIC", "renamed.jpg"):
        path = tmp_path / name
        path.write_bytes(base64.b64decode(HEIC))
        image = read_image(path).image
        assert image.shape == (48, 64, 3)
        assert image_size(path) == (48, 64)
        corners = image[[8, 8, 40, 40], [8, 56, 8, 56]].astype(int)
        expected = [[200, 30, 30], [30, 200, 30], [30, 30, 200], [200, 200, 200]]
        np.testing.assert_allclose(corners, expected, atol=12)


@pytest.mark.parametrize("name", ["a.heic", "b.jpg"])
def test_heic_without_its_reader_names_the_extra(tmp_path, name, monkeypatch):
    monkeypatch.setattr("zipmap_jax.images.file_kinds.can_read_heic", lambda: False)
    path = tmp_path / name
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64)
    with pytest.raises(UserError, match=r"HEIC image, .* pip install 'zipmap-jax\[heic\]'"):
        read_image(path)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["grey.png", "grey.tif", "rgb.png", "rgb.tif"])
def test_ranges_of_fewer_than_16_bits_fill_8_bits(tmp_path, bits, kind):
    ramp = np.linspace(0, 2**bits - 1, 40 * 30).round().astype(np.uint16).reshape(30, 40)
    path = tmp_path / kind
    if kind.startswith("grey"):
        Image.fromarray(ramp).save(path)
    else:
        write_rgb48(path, np.stack([ramp, ramp[::-1], ramp], -1))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        image = read_image(path).image.astype(int)
    # Pillow keeps the upper 8 bits of RGB.
    np.testing.assert_allclose(image[..., 0], ramp / (2**bits - 1) * 255, atol=1.01)
    texts = [str(one.message) for one in shown]
    assert len(texts) == (bits < 16)
    assert all(f"{kind} has values up to {2**bits - 1} in numbers of 16" in text for text in texts)


def test_stated_ranges_are_believed(tmp_path):
    """A dark picture of 16 bits stays dark where the file states its range."""
    dark = np.full((30, 40), 1000, np.uint16)
    save(tmp_path / "t.tif", Image.fromarray(dark), tiffinfo={281: 65535})
    (tmp_path / "g.pgm").write_bytes(b"P5 40 30 4095\n" + dark.astype(">u2").tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "t.tif").image[0, 0, 0] == round(1000 / 65535 * 255)
        black = Image.fromarray(np.zeros_like(dark))
        save(tmp_path / "zero.tif", black, tiffinfo={281: 0})
        assert not read_image(tmp_path / "zero.tif").image.any()
        assert read_image(tmp_path / "g.pgm").image[0, 0, 0] == round(1000 / 4095 * 255)


def test_raw_files_and_jpeg_xl_are_named(tmp_path):
    """A raw file in the TIFF format is not mistaken for its preview."""
    preview = Image.fromarray(RGB)
    path = tmp_path / "IMG_1.NEF"
    preview.save(path, "TIFF")
    with pytest.raises(UserError, match=r"IMG_1\.NEF is a camera raw file.*develop it to JPEG"):
        read_image(path)
    save(tmp_path / "renamed.tif", preview, tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(UserError, match=r"^\S*renamed\.tif is a camera raw file"):
        image_size(tmp_path / "renamed.tif")
    (tmp_path / "a.cr3").write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1" + b"\0" * 50)
    with pytest.raises(UserError, match=r"a\.cr3 is a camera raw file"):
        read_image(tmp_path / "a.cr3")
    for head in (b"\xff\x0a\xfa\x7f", b"\0\0\0\x0cJXL \r\n\x87\n"):
        (tmp_path / "a.jxl").write_bytes(head + b"\0" * 50)
        with pytest.raises(UserError, match=r"a\.jxl is a JPEG XL image"):
            read_image(tmp_path / "a.jxl")


def write_rgb48(path: Path, pixels: np.ndarray) -> None:
    """Write a picture of three times 16 bits, as PNG or as TIFF."""
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png" if path.suffix == ".png" else "tiff", rate=1)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "rgb48be" if path.suffix == ".png" else "rgb48le"
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
        container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))


def test_damaged_orientation_is_ignored_with_a_warning(tmp_path, monkeypatch):
    path = save(tmp_path / "e.png", Image.fromarray(RGB))

    def fail(image):
        raise struct.error("unpack requires a buffer")

    monkeypatch.setattr("zipmap_jax.images.decode.ImageOps.exif_transpose", fail)
    with pytest.warns(UserWarning, match=r"e\.png is damaged"):
        frame = read_image(path)
    np.testing.assert_array_equal(frame.image, RGB)


def test_array_becomes_a_frame():
    np.testing.assert_array_equal(from_array(RGB, 3).image, RGB)
    assert from_array(RGB, 3).name == "view_003"
    for dtype in (np.float16, np.float32, np.float64):
        # float16 holds 255ths with an error below half a step
        np.testing.assert_array_equal(from_array((RGB / 255).astype(dtype)).image, RGB)


def test_array_frames_do_not_alias_the_input():
    mine = RGB.copy()
    frame = from_array(mine)
    mine[:] = 0
    np.testing.assert_array_equal(frame.image, RGB)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((8, 8, 3), np.nan), "NaN"),
        (np.full((8, 8, 3), np.inf), "infinity"),
        (np.full((8, 8, 3), 200.0), r"\[0, 1\].*200.*divide by 255"),
        (np.full((8, 8, 3), -0.5), "-0.5"),
        (np.zeros((8, 8)), r"shape \(8, 8\)"),
        (np.zeros((3, 8, 8)), r"channels first"),
        (np.zeros((0, 8, 3)), r"shape \(0, 8, 3\)"),
        (np.zeros((8, 8, 3), np.uint16), "uint16"),
        (np.zeros((8, 8, 3), bool), "bool"),
    ],
)
def test_bad_arrays_are_named_by_index(array, message):
    with pytest.raises(ValueError, match=message) as error:
        from_array(array, 7)
    assert "image 7 " in str(error.value)


def test_repeated_names_become_unique():
    taken = UniqueNames()
    names = [taken.unique(name) for name in ("a.jpg", "a.jpg", "b.jpg", "a-2.jpg", "a.jpg")]
    assert names[:3] == ["a.jpg", "a-2.jpg", "b.jpg"]
    assert len(set(names)) == 5
