"""What is to be done: the scenes of a folder, and this process's share of them."""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from zipmap_jax.errors import UserError
from zipmap_jax.images.decode import IMAGE_SUFFIXES
from zipmap_jax.images.video import VIDEO_SUFFIXES

VARIABLES = ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")


@dataclasses.dataclass(frozen=True)
class SceneInput:
    """One scene to reconstruct.

    Attributes:
      name: of its output folder.
      path: a folder of images, or a video.
    """

    name: str
    path: Path


def list_scenes(folder: Path, out: Path) -> list[SceneInput]:
    """Every folder and video in a folder, by name; hidden ones and `out` itself are left out.

    Raises:
      UserError: no such folder, no scene in it, or two scenes of one name.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give a folder of folders of images, or of videos")
    found: dict[str, SceneInput] = {}
    photos = 0
    for path in sorted(folder.iterdir()):
        is_video = path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
        photos += path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
        if path.name.startswith(".") or not (is_video or path.is_dir()):
            continue
        if path.resolve() == out.resolve():
            continue
        scene = SceneInput(path.stem if is_video else path.name, path)
        if scene.name in found:
            raise UserError(
                f"{found[scene.name].path} and {path} would both be written to "
                f"{out / scene.name}: rename one of them"
            )
        found[scene.name] = scene
    if not found:
        remedy = "use zipmap run for a single scene" if photos else "check the path"
        raise UserError(f"{folder} holds no folders of images and no videos: {remedy}")
    if photos:
        warnings.warn(
            f"{photos} images that lie in {folder} itself are left out: a scene is a folder",
            stacklevel=2,
        )
    return list(found.values())


def share(scenes: Sequence[SceneInput], process: int, processes: int) -> list[SceneInput]:
    """Every `processes`-th scene: those of one process."""
    return list(scenes[process::processes])


def which_process(text: str | None, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """This process's number, from 0, and how many there are.

    Args:
      text: "i/n"; None = the variables that training reads too (see `VARIABLES`), else "0/1".
      environment: where the variables are looked up.

    Raises:
      UserError: not two such numbers.
    """
    given = "--process"
    if text is None:
        values = [environment.get(name, "") for name in VARIABLES]
        if not any(values):
            return 0, 1
        text, given = "/".join(values), " and ".join(VARIABLES)
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise UserError(
            f"{given} must give a number from 0 and how many there are, like 0/4 to 3/4, got {text}"
        )
    return int(match[1]), int(match[2])
