"""Real photographs and videos from the folder ZIPMAP_MEDIA."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.echo import echo_model
from tests.pictures import read_frames
from zipmap_jax.inference.reconstruct import reconstruct

MEDIA = Path(os.environ.get("ZIPMAP_MEDIA", "/nonexistent"))


def media(name: str) -> str:
    if not MEDIA.is_dir():
        pytest.skip("set ZIPMAP_MEDIA to a folder of photographs and videos")
    return str(MEDIA / name)


def test_portrait_photographs():
    scene = reconstruct(echo_model(), media("fox/images"), max_views=3)
    assert [depth.shape for depth in scene.depth] == [(1920, 1080)] * 3
    # 32 of 57 rows (1920 * 32 / 1080, a multiple of 4) are visible.
    known = np.isfinite(scene.depth[0]).mean()
    assert 0.55 < known < 0.59


def test_sequence_of_frames():
    scene = reconstruct(echo_model(), media("seven_scenes/seq/*.color.jpg"), max_views=20)
    assert len(scene) == 20
    assert scene.names[0] == "frame-000000.color.jpg"
    assert all(np.isfinite(depth).all() for depth in scene.depth)


@pytest.mark.parametrize("name", ["room", "great_wall", "drift-straight", "single_cartoon"])
def test_video(name):
    path = media(f"video/{name}.mp4")
    frames = read_frames(path, fps=1)
    assert len(frames) >= 1
    times = [frame.time for frame in frames]
    np.testing.assert_allclose(np.diff(times), 1, atol=0.05)
