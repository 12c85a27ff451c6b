"""Sampling of videos and animations by the presentation times of their frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64


def sampling_interval(video_fps: float, target_fps: float) -> int:
    """Returns the distance between sampled frames, `max(1, round(video_fps / target_fps))`.

    Source: ZipMap's demonstration, sampling of videos.
    """
    return max(1, round(video_fps / target_fps))


def sampled_frames(
    times: Float64[np.ndarray, " n"], fps: float, rate: float | None = None
) -> Int64[np.ndarray, " m"]:
    """Selects the frames that sampling at `fps` keeps.

    At a constant frame rate these are multiples of the interval, counted from 1 as in the
    reference, or the first frame of a shorter video. At a variable rate they are the frames
    nearest to the times 0, 1/fps, 2/fps and so on, each within half the spacing of its frames.

    Args:
      times: seconds from the first frame, increasing, n >= 1.
      fps: sampled frames per second, > 0.
      rate: stated frames per second; used if the times agree with it within 2 percent.

    Returns:
      At least one number from 0, increasing.
    """
    count = len(times)
    if count == 1:
        return np.zeros(1, np.int64)
    spacing = float(times[-1] - times[0]) / (count - 1)
    even = times[0] + spacing * np.arange(count)
    if np.abs(times - even).max() <= 0.5 * spacing:
        if rate is None or abs(rate * spacing - 1) > 0.02:
            rate = round(1 / spacing, 3)
        interval = sampling_interval(rate, fps)
        return np.arange(interval - 1, count, interval) if interval <= count else np.zeros(1, int)
    # A frame is the nearest one to all times between the midpoints to its neighbours.
    ends = np.append((times[:-1] + times[1:]) / 2, times[-1]) - times[0]
    due = np.floor(ends * fps + 1e-6)
    return np.flatnonzero(np.diff(due, prepend=-1.0) > 0)
