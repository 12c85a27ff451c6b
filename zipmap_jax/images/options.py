"""Options for reading images and videos."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Selection of the frames and their fit to the network.

    Attributes:
      size: network image size in pixels, a multiple of the patch size; None = the model's own.
      mode: "crop" makes the width `size` and crops taller images; "pad" makes the longer side
        `size` and pads to a square with white.
      fps: frames taken per second of a video or an animation, by the times of its frames.
      max_views: evenly spaced subset of the views; None = all.
      strict: fail on an unreadable image, a damaged video, or fewer frames than `max_views` of a
        video, instead of a warning.
      exif: apply the orientation recorded in images and videos.
      output_size: maximum width and height of the images of the scene, and thereby of its depth and
        confidence; larger pictures are reduced after their network image is made. None = original
        size.
    """

    size: int | None = None
    mode: str = "crop"
    fps: float = 1.0
    max_views: int | None = None
    strict: bool = False
    exif: bool = True
    output_size: int | None = None
