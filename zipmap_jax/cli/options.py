"""Options that several verbs share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from zipmap_jax.cli.loading import Precision

Chunk = Annotated[
    int | None, arg(metavar="N", help_behavior_hint="(default: what free memory allows)")
]
EvenChunk = Annotated[
    int | None, arg(metavar="N", help_behavior_hint="(default: even chunks of at most 16)")
]
Folder = Annotated[
    Path | None, arg(aliases=("-o",), metavar="DIR", help_behavior_hint="(default: none)")
]
Mode = Literal["crop", "pad"]
Out = Annotated[Path, arg(aliases=("-o",), metavar="OUT", help_behavior_hint="(required)")]
Size = Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the model's own)")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """Options of verbs that reconstruct scenes.

    Attributes:
      model: "tiny" (embedded; also tiny-streaming, tiny-query), a converted folder, or
        hf://owner/repo/file@revision.
      size: width of the network images in pixels.
      mode: crop tall pictures to a square, or pad every picture to a square.
      fps: frames per second of video.
      max_views: maximum number of views of a scene, evenly spaced.
      conf_threshold: percentage of points to leave out, the least confident first.
      chunk: views per chunk; fewer need less memory and give the same result.
      precision: number format; auto is fp32 on the CPU and bf16 elsewhere.
      strict: fail at the first unreadable input instead of leaving it out.
      no_exif: ignore the orientation recorded in photographs and videos.
      json: print one JSON object instead of text.
    """

    out: Out
    model: str = "tiny"
    size: Size = None
    mode: Mode = "crop"
    fps: float = 1.0
    max_views: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None
    conf_threshold: Annotated[float, arg(metavar="PERCENT")] = 50.0
    chunk: Chunk = None
    precision: Precision = "auto"
    strict: bool = False
    no_exif: bool = False
    json: bool = False
