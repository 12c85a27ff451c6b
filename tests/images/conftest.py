"""Small videos, made on the spot, and a stand-in model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.echo import echo_model
from zipmap_jax.convert.hub import LoadedModel


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Writes frames (left third brighter) whose grey level is ten times their count from 1."""
    av = pytest.importorskip("av")

    def make(name: str = "clip.mp4", count: int = 12, fps: int = 4, size=(32, 64)) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=fps)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 4_000_000
            stream.codec_context.thread_count = 1  # else the bytes depend on the number of cores
            container.start_encoding()  # writes the header even if no frame follows
            for i in range(1, count + 1):
                image = np.full((*size, 3), 10 * i, np.uint8)
                image[:, : size[1] // 3] += 100
                for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return path

    return make


@pytest.fixture
def echo() -> Callable[..., LoadedModel]:
    return echo_model
