"""From pictures of any shape to points: all files hold the true geometry."""

from __future__ import annotations

import base64
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.viz.test_html import Elements
from zipmap_jax.export import load_scene, read_ply, write_all
from zipmap_jax.geometry.pose import quaternion_to_matrix
from zipmap_jax.images.frames import network_frames, stacked
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.preparation import CropOrPad
from zipmap_jax.images.sources import list_sources
from zipmap_jax.inference.assemble import SceneBuilder
from zipmap_jax.scene.store import SceneStore
from zipmap_jax.structs import Prediction

STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""From the upright picture to the stored one, by EXIF orientation."""
SIZE, PATCH = 56, 14

views = st.tuples(
    st.integers(60, 260),  # height
    st.integers(60, 260),  # width
    st.sampled_from(list(STORED)),
    st.floats(0.6, 1.8),  # focal length over width
    st.floats(0.7, 1.4),  # fy / fx
).filter(lambda view: max(view[:2]) <= 1.9 * min(view[:2]))  # longer ones are refused


def ramps(height: int, width: int) -> np.ndarray:
    """A picture whose red and green grow with the column and the row."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return np.rint(255 * np.stack([x, y, 0 * x], -1)).astype(np.uint8)


def glb_points(path: Path) -> np.ndarray:
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    document, binary = json.loads(data[20 : 20 + size]), data[28 + size :]
    accessor = document["accessors"][0]
    view = document["bufferViews"][accessor["bufferView"]]
    points = np.frombuffer(binary, "<f4", 3 * accessor["count"], view["byteOffset"])
    return points.reshape(-1, 3) * np.float32([1, -1, -1])


def page_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The points of the page, and (view, row, column) of each."""
    text = Elements(path.read_text("utf-8")).text
    data = json.loads(text["scene"])
    n = data["count"]
    packed = np.frombuffer(base64.b64decode(text["points"]), "<u2", 4 * n).reshape(4, n)
    u, v, level, view = packed.astype(int)
    near, far = data["depth_range"]
    z = near * (far / near) ** (level / 65535)
    fx, fy, cx, cy = np.array([entry["k"] for entry in data["views"]])[view].T
    c2w = np.array([entry["c2w"] for entry in data["views"]]).reshape(-1, 4, 4)[view]
    camera = np.stack([(u - cx) * z / fx, (v - cy) * z / fy, z], -1)
    world = np.einsum("nij,nj->ni", c2w[:, :3, :3], camera) + c2w[:, :3, 3]
    return world, np.stack([view, v, u], -1)


@given(
    st.lists(views, min_size=2, max_size=2),
    st.sampled_from(["crop", "pad"]),
    st.none() | st.integers(40, 200),
)
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
def test_all_files_hold_the_true_points(
    pictures: list[tuple[int, int, int, float, float]], mode: str, output_size: int | None
) -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth, upright = [], []
        for i, (height, width, orientation, focal, aspect) in enumerate(pictures):
            picture, exif = ramps(height, width), Image.Exif()
            exif[0x0112] = orientation
            stored = np.ascontiguousarray(STORED[orientation](picture))
            Image.fromarray(stored).save(folder / f"{i}.png", exif=exif)
            fx = focal * width
            truth.append(
                np.array([[fx, 0, (width - 1) / 2], [0, aspect * fx, (height - 1) / 2], [0, 0, 1]])
            )
            upright.append(picture)

        # The network's view of the truth: cameras in its pixels, and a wall in front of each.
        options = ReadOptions(SIZE, mode, output_size=output_size)
        preparation, builder = CropOrPad(PATCH), SceneBuilder(SceneStore())
        networks = []
        with network_frames(list_sources(folder, options), options, preparation) as reader:
            for frame, network in reader:
                builder.add_frame(frame)
                networks.append(network)
        images, maps = stacked(preparation, networks)
        intrinsics, distances = [], np.array([2.0, 3.5])
        for picture, pixel_map, image, k in zip(upright, maps, images, truth, strict=True):
            height, width = picture.shape[:2]
            left, top, right, bottom = pixel_map.visible
            x, y = (np.arange(n) for n in (pixel_map.original_size[::-1]))
            # The pictures that the network sees agree with the map.
            x = (np.arange(left, right) * pixel_map.scale_x + pixel_map.offset_x + 0.5) / len(x)
            y = (np.arange(top, bottom) * pixel_map.scale_y + pixel_map.offset_y + 0.5) / len(y)
            seen = image[top:bottom, left:right, :2].astype(int)
            inside = np.s_[2:-2, 2:-2]  # filters differ at the border
            expected = 255 * np.stack(np.meshgrid(x, y), -1)
            np.testing.assert_allclose(seen[inside], expected[inside], atol=1.6)
            scale = np.array(pixel_map.original_size) / (height, width)
            shrink = np.diag([scale[1], scale[0], 1.0])
            shrink[:2, 2] = (scale[::-1] - 1) / 2
            intrinsics.append(pixel_map.to_network(shrink @ k))
        w2c = np.eye(4)[None].repeat(2, 0)
        w2c[1, :3, :3] = quaternion_to_matrix(rng.normal(size=4))
        w2c[1, :3, 3] = rng.normal(size=3)
        depth = np.broadcast_to(distances[:, None, None], images.shape[:3])[None]
        builder.add_predictions(
            Prediction(depth, depth + 1.0, w2c[None], np.stack(intrinsics)[None]),  # pyright: ignore
            maps,
        )
        scene = builder.scene()
        write_all(scene, folder / "out", conf_threshold=0, max_points=10**7)

        # From the files alone.
        out = folder / "out"
        cameras = json.loads((out / "cameras.json").read_text("utf-8"))["views"]
        loaded = load_scene(out / "scene.npz")
        points, pixels = [], []
        for i, (camera, k, picture) in enumerate(zip(cameras, truth, upright, strict=True)):
            height, width = picture.shape[:2]
            assert (camera["height"], camera["width"]) == (height, width)
            stated = [camera[key] for key in ("fx", "fy", "cx", "cy")]
            np.testing.assert_allclose(stated, [k[0, 0], k[1, 1], k[0, 2], k[1, 2]], rtol=1e-9)
            rows, columns = np.nonzero(np.isfinite(loaded.depth[i]))
            scale_y, scale_x = (height, width) / np.array(loaded.depth[i].shape)
            u, v = (columns + 0.5) * scale_x - 0.5, (rows + 0.5) * scale_y - 0.5
            z = loaded.depth[i][rows, columns]
            np.testing.assert_allclose(z, distances[i], rtol=1e-6)
            fx, fy, cx, cy = stated
            local = np.stack([(u - cx) * z / fx, (v - cy) * z / fy, z], -1)
            c2w = np.array(camera["c2w"])
            points.append(local @ c2w[:3, :3].T + c2w[:3, 3])
            pixels.append(np.stack([np.full(len(rows), i), rows, columns], -1))
            # Nothing but rows that mode "crop" cuts off is unknown.
            whole = mode == "pad" or height / width < 1.0
            assert len(rows) == loaded.depth[i].size or not whole
            assert (np.ptp(columns) + 1) == loaded.depth[i].shape[1]
        expected, pixels = np.concatenate(points), np.concatenate(pixels)
        tolerance = dict(rtol=0, atol=2e-5 * np.abs(expected).max())
        vertices = read_ply(out / "points.ply")
        np.testing.assert_allclose(
            np.stack([vertices[key] for key in "xyz"], -1), expected, **tolerance
        )
        np.testing.assert_allclose(glb_points(out / "scene.glb"), expected, **tolerance)
        shown, of_page = page_points(out / "scene.html")
        numbers = {tuple(pixel): i for i, pixel in enumerate(pixels.tolist())}
        chosen = [numbers[tuple(pixel)] for pixel in of_page.tolist()]
        np.testing.assert_allclose(
            shown, expected[chosen], rtol=0, atol=1e-4 * np.abs(expected).max()
        )
