"""Writers of PLY, GLB, NPZ, cameras.json and depth previews."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.scenes import room
from zipmap_jax.export.cameras import write_cameras
from zipmap_jax.export.depth_images import file_stem, write_depth_images
from zipmap_jax.export.glb import frustum_lines, write_glb
from zipmap_jax.export.ply import read_ply, write_ply
from zipmap_jax.scene.npz import load_scene, save_scene
from zipmap_jax.scene.points import point_cloud
from zipmap_jax.scene.scene import Scene


def test_ply_round_trip(tmp_path: Path) -> None:
    cloud = point_cloud(room(2, (24, 32)), max_points=300)
    path = tmp_path / "points.ply"
    write_ply(cloud, path)
    back = read_ply(path)
    assert back.dtype.names == ("x", "y", "z", "red", "green", "blue", "confidence")
    np.testing.assert_array_equal(np.stack([back[c] for c in "xyz"], -1), cloud.positions)
    rgb = np.stack([back[c] for c in ("red", "green", "blue")], -1)
    np.testing.assert_array_equal(rgb, cloud.colors)
    np.testing.assert_array_equal(back["confidence"], cloud.confidence)


def test_ply_is_read_by_trimesh(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    cloud = point_cloud(room(2, (24, 32)), max_points=300)
    write_ply(cloud, tmp_path / "points.ply")
    mesh = trimesh.load(tmp_path / "points.ply")
    np.testing.assert_array_equal(mesh.vertices.astype(np.float32), cloud.positions)
    np.testing.assert_array_equal(np.asarray(mesh.colors)[:, :3], cloud.colors)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello", "not a binary little-endian PLY"),
        (b"ply\nformat ascii 1.0\nend_header\n", "not a binary little-endian PLY"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\n"
            b"end_header\n1234",
            "ends before its 2 vertices",
        ),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 2\n"
            b"property list uchar int x\nend_header\n1234",
            "only numbers are read",
        ),
        (b"ply\nformat binary_little_endian 1.0\nelement face 2\nend_header\n", "its vertices"),
    ],
)
def test_bad_ply_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "bad.ply"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=words):
        read_ply(path)


Y_UP = np.float32([1, -1, -1])
"""From OpenCV axes to those of glTF."""


def glb_document(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    binary, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0"
    assert size % 4 == 0
    assert 28 + size + binary == len(data)
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def test_glb_accessors_describe_the_points(tmp_path: Path) -> None:
    scene = room(3, (24, 32))
    cloud = point_cloud(scene, max_points=200)
    write_glb(scene, cloud, tmp_path / "scene.glb")
    document, binary = glb_document(tmp_path / "scene.glb")
    assert document["buffers"] == [{"byteLength": len(binary)}]
    position, color = document["accessors"][:2]
    vertices = cloud.positions * Y_UP
    assert position["min"] == pytest.approx(vertices.min(0))
    assert position["max"] == pytest.approx(vertices.max(0))
    view = document["bufferViews"][position["bufferView"]]
    stored = np.frombuffer(binary, "<f4", 600, view["byteOffset"]).reshape(-1, 3)
    np.testing.assert_array_equal(stored, vertices)
    view = document["bufferViews"][color["bufferView"]]
    stored = np.frombuffer(binary, np.uint8, 800, view["byteOffset"]).reshape(-1, 4)
    assert (color["componentType"], color["type"], color["normalized"]) == (5121, "VEC4", True)
    assert (stored[:, 3] == 255).all()
    srgb = cloud.colors / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(stored[:, :3] / 255, linear, atol=0.5001 / 255)
    assert [m["primitives"][0]["mode"] for m in document["meshes"]] == [0, 1]


def test_glb_cameras_are_aligned_with_their_frusta(tmp_path: Path) -> None:
    scene = room(3, (24, 32))
    write_glb(scene, point_cloud(scene), tmp_path / "scene.glb")
    document, _ = glb_document(tmp_path / "scene.glb")
    nodes = [node for node in document["nodes"] if "camera" in node]
    assert [node["name"] for node in nodes] == list(scene.names)
    for node, c2w in zip(nodes, scene.c2w, strict=True):
        c2w = np.diag([*Y_UP, 1]) @ c2w
        matrix = np.reshape(node["matrix"], (4, 4)).T
        np.testing.assert_allclose(matrix[:3, 3], c2w[:3, 3], atol=1e-6)
        np.testing.assert_allclose(-matrix[:3, 2], c2w[:3, 2], atol=1e-6)
        np.testing.assert_allclose(matrix[:3, 1], -c2w[:3, 1], atol=1e-6)
    lens = document["cameras"][0]["perspective"]
    assert np.tan(lens["yfov"] / 2) == pytest.approx(24 / 2 / scene.intrinsics[0, 1, 1])
    assert lens["aspectRatio"] == pytest.approx(32 / 24)
    wide = np.diag([0.5, 1, 1]) @ scene.intrinsics[0]  # the horizontal focal length is half
    write_glb(
        dataclasses.replace(scene, intrinsics=np.stack([wide] * 3)),
        point_cloud(scene),
        tmp_path / "wide.glb",
    )
    lens = glb_document(tmp_path / "wide.glb")[0]["cameras"][0]["perspective"]
    assert np.tan(lens["yfov"] / 2) == pytest.approx(24 / 2 / wide[1, 1])
    assert lens["aspectRatio"] == pytest.approx(2 * 32 / 24)


def test_glb_is_read_by_trimesh_with_y_up(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    scene = room(3, (24, 32))
    cloud = point_cloud(scene, conf_threshold=0, max_points=400)
    write_glb(scene, cloud, tmp_path / "scene.glb")
    loaded = trimesh.load(tmp_path / "scene.glb")
    points = [g for g in loaded.geometry.values() if isinstance(g, trimesh.PointCloud)]
    lines = [g for g in loaded.geometry.values() if isinstance(g, trimesh.path.Path3D)]
    assert len(points) == len(lines) == 1
    np.testing.assert_array_equal(points[0].vertices.astype(np.float32), cloud.positions * Y_UP)
    assert np.asarray(points[0].colors).shape == (400, 4)
    assert (np.asarray(points[0].colors)[:, :3] <= cloud.colors).all(), "linear light is darker"
    turned = np.concatenate(
        [g.vertices for g in loaded.dump() if isinstance(g, trimesh.PointCloud)]
    )
    np.testing.assert_allclose(turned, cloud.positions * [1, -1, -1], atol=1e-5)


def test_glb_has_no_matrix_at_or_above_a_mesh(tmp_path: Path) -> None:
    """MeshLab 2025.7 fails at two meshes below a node with a matrix."""
    scene = room(2, (24, 32))
    write_glb(scene, point_cloud(scene), tmp_path / "scene.glb")
    document, _ = glb_document(tmp_path / "scene.glb")
    nodes = document["nodes"]
    assert document["scenes"] == [{"nodes": list(range(len(nodes)))}]
    assert not any("children" in node for node in nodes)
    assert [node.keys() for node in nodes if "mesh" in node] == [{"name", "mesh"}] * 2


def test_glb_without_points_contains_the_cameras(tmp_path: Path) -> None:
    scene = room(2, (24, 32))
    write_glb(scene, point_cloud(scene, max_points=1).take(np.zeros(0, int)), tmp_path / "e.glb")
    document, _ = glb_document(tmp_path / "e.glb")
    assert [mesh["name"] for mesh in document["meshes"]] == ["camera frusta"]


@pytest.mark.parametrize("views", [1, 2, 3, 4])
def test_glb_lines_are_whole_triangles_for_readers_that_take_them_for_these(
    tmp_path: Path, views: int
) -> None:
    """MeshLab 2025.7 crashes at lines whose number of vertices is no multiple of 3."""
    scene = room(views, (24, 32))
    write_glb(scene, point_cloud(scene, max_points=50), tmp_path / "scene.glb")
    document, binary = glb_document(tmp_path / "scene.glb")
    primitive = document["meshes"][1]["primitives"][0]
    assert primitive["mode"] == 1
    accessors = [document["accessors"][primitive["attributes"][k]] for k in ("POSITION", "COLOR_0")]
    counts = {accessor["count"] for accessor in accessors}
    assert counts == {-(-16 * views // 6) * 6}
    view = document["bufferViews"][accessors[0]["bufferView"]]
    stored = np.frombuffer(binary, "<f4", 3 * counts.pop(), view["byteOffset"]).reshape(-1, 2, 3)
    scale = point_cloud(scene, max_points=50).scale()
    lines = (frustum_lines(scene, 0.05 * scale) * Y_UP).reshape(-1, 2, 3)
    np.testing.assert_allclose(stored[: len(lines)], lines)
    assert all((segment == lines[-1]).all() for segment in stored[len(lines) :])


def test_frustum_corners_project_to_the_image_border() -> None:
    scene = room(3, (24, 32), mixed=True)
    lines = frustum_lines(scene, 0.5)
    for i in range(3):
        camera = lines[i] @ scene.w2c[i, :3, :3].T + scene.w2c[i, :3, 3]
        np.testing.assert_allclose(camera[0:8:2], np.zeros((4, 3)), atol=1e-5)
        corners = camera[1:8:2] @ scene.intrinsics[i].T / 0.5
        height, width = scene.images[i].shape[:2]
        right, bottom = width - 0.5, height - 0.5
        expected = [[-0.5, -0.5, 1], [right, -0.5, 1], [right, bottom, 1], [-0.5, bottom, 1]]
        np.testing.assert_allclose(corners, expected, atol=1e-3)


def assert_same(a: Scene, b: Scene) -> None:
    for field in dataclasses.fields(Scene):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name in ("depth", "confidence", "images"):
            assert len(x) == len(y)
            for p, q in zip(x, y, strict=True):
                assert p.dtype == q.dtype
                np.testing.assert_array_equal(p, q)
        elif isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        else:
            assert x == y


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("times", [False, True])
def test_npz_round_trip_is_exact(tmp_path: Path, mixed: bool, times: bool) -> None:
    scene = room(3, (24, 32), mixed=mixed, times=times, border=2)
    scene = dataclasses.replace(scene, names=("a.jpg", "größe/ü.png", "<c>.jpg"))
    save_scene(scene, tmp_path / "scene.npz")
    assert_same(load_scene(tmp_path / "scene.npz"), scene)
    with np.load(tmp_path / "scene.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["c2w"], scene.c2w)
        assert ("depth" in archive) is not mixed
        assert ("depth_0002" in archive) is mixed
        assert ("times" in archive) is times


def test_npz_of_one_view_keeps_its_axis(tmp_path: Path) -> None:
    scene = room(1, (24, 32))
    save_scene(scene, tmp_path / "scene.npz")
    assert_same(load_scene(tmp_path / "scene.npz"), scene)


def test_bad_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scene.npz"
    with pytest.raises(FileNotFoundError):
        load_scene(path)
    path.write_text("no archive")
    with pytest.raises(ValueError, match="not a NumPy archive"):
        load_scene(path)
    np.savez(path, other=np.ones(3))
    with pytest.raises(ValueError, match=r"its format is not zipmap-scene-1"):
        load_scene(path)
    np.savez(path, format="zipmap-scene-1", names=np.array(["a"]))
    with pytest.raises(ValueError, match="cannot be read as a scene"):
        load_scene(path)


def test_damaged_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scene.npz"
    save_scene(room(2, (24, 32)), path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="cannot be read as a scene"):
        load_scene(path)


def test_cameras_json_states_its_conventions(tmp_path: Path) -> None:
    scene = room(3, (24, 32), mixed=True, times=True)
    write_cameras(scene, tmp_path / "cameras.json")
    document = json.loads((tmp_path / "cameras.json").read_text("utf-8"))
    assert "x right, y down, z forward" in document["axes"]
    assert "arbitrary" in document["units"]
    for i, view in enumerate(document["views"]):
        assert view["name"] == scene.names[i]
        assert (view["height"], view["width"]) == scene.images[i].shape[:2]
        k = [[view["fx"], 0, view["cx"]], [0, view["fy"], view["cy"]], [0, 0, 1]]
        np.testing.assert_array_equal(np.float32(k), scene.intrinsics[i])
        np.testing.assert_array_equal(np.float32(view["w2c"]), scene.w2c[i])
        np.testing.assert_allclose(np.matmul(view["w2c"], view["c2w"]), np.eye(4), atol=1e-5)
        assert view["time"] == 0.5 * i


def test_names_of_depth_previews_state_their_range(tmp_path: Path) -> None:
    scene = room(3, (24, 32), mixed=True, border=2)
    paths = write_depth_images(scene, tmp_path / "depth")
    assert sorted(p.name for p in paths) == sorted(p.name for p in (tmp_path / "depth").iterdir())
    for i, path in enumerate(paths):
        known = np.isfinite(scene.depth[i])
        near, far = np.percentile(scene.depth[i][known], [2, 98])
        stem = path.name.removesuffix(".png")
        scale = stem.split(".near")[1].split("_far")
        assert [float(x) for x in scale] == pytest.approx([near, far], rel=5e-3)
        assert path.name.startswith(f"{i:04d}_IMG_{i}.near")
        pixels = np.asarray(Image.open(path).convert("RGBA"))
        assert pixels.shape[:2] == scene.depth[i].shape
        assert (pixels[~known] == 0).all()
        assert (pixels[known][:, 3] == 255).all()
        light = pixels[..., :3].astype(float).sum(-1)
        nearest, farthest = np.nanargmin(scene.depth[i]), np.nanargmax(scene.depth[i])
        assert light.flat[nearest] > light.flat[farthest] + 200


def test_depth_preview_of_unknown_depth(tmp_path: Path) -> None:
    scene = room(1, (8, 8))
    scene.depth[0][:] = np.nan
    (path,) = write_depth_images(scene, tmp_path)
    assert path.name == "0000_IMG_0.unknown.png"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("IMG 1 (2).jpg", "IMG_1_2_"),
        ("../../etc/passwd", "passwd"),
        ("a\\b\\c.png", "c"),
        ("x" * 300 + ".jpg", "x" * 48),
        ("", "view"),
        ("größe.jpg", "größe"),
    ],
)
def test_file_stem_is_safe(name: str, stem: str) -> None:
    assert file_stem(name) == stem
