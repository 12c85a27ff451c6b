from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.scenes import room
from zipmap_jax.errors import UserError
from zipmap_jax.export import FORMATS, OutputError, load_scene, write_all
from zipmap_jax.export.options import (
    ExportOptions,
    check_formats,
    check_free_space,
    megabytes,
    output_bytes,
)
from zipmap_jax.scene.scene import Scene


def noise(views: int, height: int, width: int) -> Scene:
    """A scene that no file format compresses."""
    rng = np.random.default_rng(0)
    shape = (views, height, width)
    return dataclasses.replace(
        room(views, (height, width)),
        depth=rng.uniform(1, 9, shape).astype(np.float32),
        confidence=rng.uniform(1, 9, shape).astype(np.float32),
        images=rng.integers(0, 256, (*shape, 3), np.uint8),
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("views", "options"),
    [
        (1, ExportOptions()),
        (3, ExportOptions(0.0, 20_000)),
        (3, ExportOptions(20.0, 100, depth_dtype="float16")),
    ],
)
def test_files_are_no_larger_than_announced(
    tmp_path: Path, name: str, views: int, options: ExportOptions
) -> None:
    options = dataclasses.replace(options, formats=(name,))
    paths = write_all(noise(views, 96, 128), tmp_path / "out", **options.arguments)
    written = sum(path.stat().st_size for path in paths[:-1])  # the last one is README.txt
    announced = output_bytes([(96, 128)] * views, options)
    assert written <= announced
    # Half a byte of the random depth is compressible.
    assert announced < 1.6 * written + 250_000


def test_all_formats_are_the_sum_of_the_formats() -> None:
    sizes = [(30, 40), (50, 20)]
    each = [output_bytes(sizes, ExportOptions(formats=(name,))) for name in FORMATS]
    assert output_bytes(sizes, ExportOptions()) == sum(each)


def test_formats_are_checked_and_ordered() -> None:
    assert check_formats(None) == list(FORMATS)
    assert check_formats(["npz", "html", "npz"]) == ["html", "npz"]
    with pytest.raises(UserError, match="'obj' is no output format; choose among html, ply"):
        check_formats(["html", "obj"])
    with pytest.raises(UserError, match="No output format is chosen"):
        check_formats([])


def test_too_little_space_is_an_error_before_the_work(tmp_path: Path) -> None:
    check_free_space(tmp_path / "a" / "b", 1000)
    with pytest.raises(
        OutputError, match=r"needs up to 1000000 GB, and the disk .* lower --output"
    ):
        check_free_space(tmp_path / "a" / "b", 10**15)
    assert [megabytes(n) for n in (10, 2.54e6, 8e8, 3e10)] == [
        "0.1 MB",
        "2.54 MB",
        "800 MB",
        "30 GB",
    ]


def test_half_precision_halves_depth_and_confidence(tmp_path: Path) -> None:
    scene = noise(2, 24, 32)
    scene.depth[0][0, :2] = 1e6, np.nan
    for dtype in ("float32", "float16"):
        write_all(scene, tmp_path / dtype, formats=["npz"], depth_dtype=dtype)  # pyright: ignore
    with np.load(tmp_path / "float16" / "scene.npz") as half:
        assert half["depth"].dtype == half["confidence"].dtype == np.float16
    whole, half = (load_scene(tmp_path / dtype / "scene.npz") for dtype in ("float32", "float16"))
    np.testing.assert_array_equal(np.stack(whole.depth), scene.depth)
    assert half.depth[0].dtype == np.float32
    assert half.depth[0][0, 0] == 65504
    assert np.isnan(half.depth[0][0, 1])
    np.testing.assert_allclose(half.depth[1], scene.depth[1], rtol=2**-11)
    np.testing.assert_allclose(half.confidence[1], scene.confidence[1], rtol=2**-11)
    np.testing.assert_array_equal(np.stack(half.images), scene.images)
