from __future__ import annotations

import base64
import dataclasses
import html.parser
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.scenes import room
from zipmap_jax.export import write_html
from zipmap_jax.scene.points import point_cloud
from zipmap_jax.viz.html import encode_points, page_data, render_page, start_view

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Elements(html.parser.HTMLParser):
    """The text of every element with an id, and all tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str | None] = []
        self.text: dict[str, str] = {}
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.stack.append(dict(attrs).get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1]:
            self.text[self.stack[-1]] = self.text.get(self.stack[-1], "") + data


def test_page_decodes_to_the_points_of_the_scene(tmp_path: Path) -> None:
    scene = room(3, (30, 40), mixed=True, border=2)
    write_html(scene, tmp_path / "scene.html", conf_threshold=25, max_points=900)
    text = Elements((tmp_path / "scene.html").read_text("utf-8")).text
    data = json.loads(text["scene"])
    packed = base64.b64decode(text["points"])
    n = data["count"]
    assert n == 900
    assert len(packed) == 11 * n
    u, v, level, view = np.frombuffer(packed, "<u2", 4 * n).reshape(4, n)
    colors = np.frombuffer(packed, np.uint8, 3 * n, 8 * n).reshape(n, 3)
    near, far = data["depth_range"]
    z = near * (far / near) ** (level / 65535)
    for i, entry in enumerate(data["views"]):
        mine = view == i
        assert mine.any()
        truth = scene.world_points(i)[v[mine], u[mine]]
        fx, fy, cx, cy = entry["k"]
        c2w = np.reshape(entry["c2w"], (4, 4))
        camera = np.stack([(u - cx) * z / fx, (v - cy) * z / fy, z], -1)[mine]
        world = camera @ c2w[:3, :3].T + c2w[:3, 3]
        assert np.linalg.norm(world - truth, axis=-1).max() < 1e-4 * far
        np.testing.assert_array_equal(colors[mine], scene.images[i][v[mine], u[mine]])


def test_slider_draws_the_points_a_percentile_keeps() -> None:
    scene = room(3, (30, 40))
    cloud = point_cloud(scene, conf_threshold=0, max_points=1000)
    cloud = cloud.take(np.argsort(-cloud.confidence))
    data = page_data(scene, cloud, conf_threshold=40)
    assert data["start_percent"] == 40
    for percent in (0, 1, 40, 99):
        threshold = np.percentile(cloud.confidence, percent)
        assert data["drawn"][percent] == (cloud.confidence >= threshold).sum()


def test_equal_confidence_is_drawn_at_every_percent() -> None:
    scene = room(2, (30, 40))
    flat = tuple(np.full_like(c, 1.7) for c in scene.confidence)
    cloud = point_cloud(dataclasses.replace(scene, confidence=flat), conf_threshold=0)
    assert set(page_data(scene, cloud, conf_threshold=0)["drawn"]) == {2 * 30 * 40}


def test_depth_is_exact_to_a_hundredth_of_a_percent_beside_far_points() -> None:
    scene = room(1, (30, 40))
    scene.depth[0][0, 0] = 5000
    cloud = point_cloud(scene, conf_threshold=0)
    near, far = float(cloud.depth.min()), float(cloud.depth.max())
    level = np.frombuffer(encode_points(cloud, near, far), "<u2", 3 * len(cloud))[2 * len(cloud) :]
    decoded = near * (far / near) ** (level / 65535)
    np.testing.assert_allclose(decoded, cloud.depth, rtol=1e-4)


def test_page_needs_no_network() -> None:
    scene = room(2, (30, 40))
    page = render_page(scene, point_cloud(scene))
    assert not re.search(r"(https?:)?//\w+\.\w", page.split('id="points"')[0])
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert not re.search(r"\b(src|href)\s*=\s*[\"'](?!data:)", page)
    assert "{{" not in page
    assert "default-src 'none'" in page


def test_names_cannot_break_the_page() -> None:
    evil = "</script><img src=x onerror=alert(1)>{{points}}\u2028'\".jpg"
    scene = dataclasses.replace(room(2, (30, 40)), names=(evil, "b.jpg"), model=evil)
    cloud = point_cloud(scene)
    plain = Elements(render_page(room(2, (30, 40)), cloud))
    page = Elements(render_page(scene, cloud, title=evil, notes=evil))
    assert page.tags == plain.tags
    assert page.text["title"].strip() == evil
    data = json.loads(page.text["scene"])
    assert data["views"][0]["name"] == data["title"] == data["notes"] == evil


def test_thumbnails_are_small_and_thinned_in_long_videos() -> None:
    scene = room(2, (120, 160))
    entry = page_data(scene, point_cloud(scene), conf_threshold=0)["views"][0]
    data = base64.b64decode(entry["thumbnail"].removeprefix("data:image/jpeg;base64,"))
    assert max(Image.open(io.BytesIO(data)).size) <= 192
    count = 300
    tiny = room(1, (8, 8))
    long = dataclasses.replace(
        tiny,
        **{key: getattr(tiny, key) * count for key in ("depth", "confidence", "images", "names")},
        w2c=tiny.w2c.repeat(count, 0),
        intrinsics=tiny.intrinsics.repeat(count, 0),
    )
    views = page_data(long, point_cloud(long), conf_threshold=0)["views"]
    assert len(views) == count
    assert sum(view["thumbnail"] is not None for view in views) == 240


def test_first_viewpoint_is_behind_and_above_the_first_camera() -> None:
    scene = room(5, (30, 40))
    cloud = point_cloud(scene, conf_threshold=0)
    start = {key: np.array(value) for key, value in start_view(scene, cloud, 5.0).items()}
    np.testing.assert_allclose(start["target"], np.median(cloud.positions, 0))
    offset = start["eye"] - scene.c2w[0, :3, 3]
    assert offset @ start["up"] > 0
    assert offset @ (start["target"] - scene.c2w[0, :3, 3]) < 0
    assert np.linalg.norm(start["up"]) == pytest.approx(1)
    assert start["up"] @ -scene.c2w[0, :3, 1] > 0.7


def test_scene_without_points_has_a_page() -> None:
    scene = room(1, (8, 8))
    scene.depth[0][:] = np.nan
    data = page_data(scene, point_cloud(scene), conf_threshold=50)
    assert data["count"] == 0
    assert set(data["drawn"]) == {0}
    assert "Scene of 1 view<" in render_page(scene, point_cloud(scene))


def browse(url: str, profile: Path, *options: str) -> str:
    """Opens a page in headless Chromium with software rendering; returns what it printed."""
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu-sandbox",
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        "--window-size=800,600",
        "--virtual-time-budget=6000",
        *options,
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on the PATH")
def test_browser_draws_the_points(tmp_path: Path) -> None:
    scene = room(4, (120, 160))
    page = tmp_path / "scene.html"
    write_html(scene, page, conf_threshold=50, max_points=20_000)
    picture = tmp_path / "page.png"
    browse(f"{page.as_uri()}#view=0&confidence=0", tmp_path / "one", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    # The left half above the thumbnails shows the scene alone, seen from the first camera.
    part = pixels[100:400, 60:400]
    background = np.abs(part - [14, 16, 20]).max(-1) < 8
    assert background.mean() < 0.5, "most of the picture is covered by points"
    assert part.reshape(-1, 3).std(0).min() > 10, "the points have the colours of the images"
    dom = browse(f"{page.as_uri()}#confidence=75", tmp_path / "two", "--dump-dom")
    body = re.search(r"<body[^>]*>", dom)
    assert body
    assert 'data-ready="true"' in body[0]
    assert "data-error" not in body[0]
    drawn = re.search(r'data-drawn="(\d+)"', body[0])
    assert drawn
    assert int(drawn[1]) == pytest.approx(5_000, abs=5)
