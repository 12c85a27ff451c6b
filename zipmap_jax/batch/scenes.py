"""The scenes of a folder, and the share of one process."""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from zipmap_jax.errors import UserError
from zipmap_jax.files import natural_order
from zipmap_jax.images.file_kinds import IMAGE_SUFFIXES
from zipmap_jax.images.video import VIDEO_SUFFIXES

VARIABLES = ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")


@dataclasses.dataclass(frozen=True)
class SceneInput:
    """One scene to reconstruct.

    Attributes:
      name: name of the output folder.
      path: folder of images, or video.
    """

    name: str
    path: Path


def list_scenes(folder: Path, out: Path) -> list[SceneInput]:
    """Folders and videos in a folder, in natural order of names, except for hidden ones and `out`.

    Raises:
      UserError: the folder does not exist, has no scenes, or two scenes of one name.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give a folder of folders of images, or of videos")
    scenes: dict[str, SceneInput] = {}
    photos = 0
    for path in sorted(folder.iterdir(), key=natural_order):
        is_video = path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
        photos += path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
        if path.name.startswith(".") or not (is_video or path.is_dir()):
            continue
        if path.resolve() == out.resolve():
            continue
        scene = SceneInput(path.stem if is_video else path.name, path)
        if scene.name in scenes:
            raise UserError(
                f"{scenes[scene.name].path} and {path} would both be written to "
                f"{out / scene.name}: rename one of them"
            )
        scenes[scene.name] = scene
    if not scenes:
        remedy = "use zipmap run for a single scene" if photos else "check the path"
        raise UserError(f"{folder} holds no folders of images and no videos: {remedy}")
    if photos:
        warnings.warn(
            f"{photos} images directly in {folder} are left out: a scene is a folder",
            stacklevel=2,
        )
    return list(scenes.values())


def share(scenes: Sequence[SceneInput], process: int, processes: int) -> list[SceneInput]:
    """The scenes of one process: every `processes`-th one."""
    return list(scenes[process::processes])


def which_process(text: str | None, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Index of this process, from 0, and number of processes.

    Args:
      text: "i/n"; None = the variables `VARIABLES`, which training also reads, else "0/1".
      environment: environment variables.

    Raises:
      UserError: the text is no such pair of numbers.
    """
    source = "--process"
    if text is None:
        values = [environment.get(name, "") for name in VARIABLES]
        if not any(values):
            return 0, 1
        text, source = "/".join(values), " and ".join(VARIABLES)
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise UserError(
            f"{source} must be an index from 0 and a number of processes, like 0/4, got {text}: "
            "correct it"
        )
    return int(match[1]), int(match[2])
