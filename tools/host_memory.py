"""Peak memory of the host while `zipmap run` reconstructs synthetic videos.

    python -m tools.host_memory --frames 300 3000 --size 320x240 640x480

A new process reconstructs each video. The table lists its largest resident set, which includes the
resident pages of memory-mapped files.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FPS = 30


def write_video(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Writes a video of a texture that moves by one pixel per frame.

    Args:
      path: the file.
      frames: number of frames.
      size: (width, height) in pixels.
    """
    import av

    width, height = size
    row, column = np.mgrid[:height, :width]
    waves = [np.sin(row / 7 + column / (9 + 4 * channel)) for channel in range(3)]
    texture = (127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            image = np.roll(texture, i, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def peak_of_run(video: Path, out: Path, model: str) -> tuple[int, float]:
    """Runs `zipmap run` on every frame of a video in a new process.

    Returns:
      The largest resident set in bytes, and the duration in seconds.

    Raises:
      CalledProcessError: the process failed.
    """
    command = [sys.executable, "-m", "zipmap_jax.cli.main", "run", str(video), "-o", str(out)]
    command += ["--fps", str(FPS), "--model", model, "--force"]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit, time.monotonic() - began


def main() -> None:
    """Prints one row of a Markdown table per video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--size", nargs="+", default=["320x240"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--model", default="tiny-streaming")
    options = parser.parse_args()
    print("| frames | size | peak GB | seconds |\n|---|---|---|---|", flush=True)
    for size in options.size:
        width, height = (int(x) for x in size.split("x"))
        for frames in options.frames:
            with tempfile.TemporaryDirectory() as folder:
                video = Path(folder) / "video.mp4"
                write_video(video, frames, (width, height))
                peak, seconds = peak_of_run(video, Path(folder) / "out", options.model)
            print(f"| {frames} | {size} | {peak / 1e9:.2f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
