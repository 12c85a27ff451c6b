"""Test settings: eight fake CPU devices, full fp32 precision, no silent rank promotion.

Workers, child processes and tests share compiled programs through JAX's persistent cache, in a
folder that exists during the test run or, as in `.ci/run`, in one chosen by the caller.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests import shape_checks
from tests.quick import QUICK

# Read once, when JAX starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    (os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8", QUICK)
).strip()
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    programs = tempfile.mkdtemp(prefix="zipmap-test-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# The packages are loaded by the conftest files of folders already, before options are parsed;
# workers have the variable from the process that starts them.
words = (*sys.argv, *os.environ.get("PYTEST_ADDOPTS", "").split())
CHECKED = "--check-shapes" in words or "ZIPMAP_CHECK_SHAPES" in os.environ
if CHECKED:
    os.environ["ZIPMAP_CHECK_SHAPES"] = "1"
    shape_checks.install()

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--check-shapes",
        action="store_true",
        help="check the arrays of every annotated call with jaxtyping and beartype",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--check-shapes") and not CHECKED:
        raise pytest.UsageError("--check-shapes must be on the command line or in PYTEST_ADDOPTS")


@pytest.fixture(autouse=True)
def unchecked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run tests of errors about wrong arguments without --check-shapes."""
    if not CHECKED or request.node.get_closest_marker("wrong_types") is None:
        yield
        return
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Writes frames whose grey level, at the lower right, is ten times their count from 1."""
    av = pytest.importorskip("av")

    def make(
        name: str = "clip.mp4",
        count: int = 12,
        fps: int = 4,
        size=(32, 64),
        milliseconds: Sequence[int] | None = None,  # times; None = at a constant rate
        codec: str = "mpeg4",
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps, options={"g": "4"})
            stream.height, stream.width = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            if milliseconds is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            stream.bit_rate = 4_000_000
            stream.codec_context.thread_count = 1  # else the bytes depend on the number of cores
            container.start_encoding()  # writes the header even if no frame follows
            for i in range(1, count + 1):
                image = np.full((*size, 3), 10 * i, np.uint8)
                image[:, : size[1] // 3] += 100
                image[: size[0] // 4] += 20
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                if milliseconds is not None:
                    frame.pts, frame.time_base = milliseconds[i - 1], Fraction(1, 1000)
                for packet in stream.encode(frame):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return path

    return make
