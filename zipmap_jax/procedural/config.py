"""Configuration of procedural scenes."""

from __future__ import annotations

import dataclasses

from zipmap_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class ProceduralConfig:
    """Ranges of random scenes; lengths in metres, angles in degrees.

    A compiled program has one image size. Training on several aspect ratios uses a few
    configurations that differ in (height, width) only; each compiles once.

    Attributes:
      views: views per scene.
      height, width: image size in pixels.
      boxes, spheres, cylinders: objects per scene, besides the ground or the room.
      indoor: probability of a closed room; the other scenes are on open ground under a sky.
      room_half: half side of a room. room_height: floor to ceiling.
      arena_half: half side of the square that contains outdoor cameras.
      camera_height: height of the cameras above the floor.
      clearance: minimum distance between a camera and an object.
      fov: field of view along the longer image side.
      zoom: maximum relative change of focal length between the views of a scene.
      roll: standard deviation of the rotation about the viewing axis.
      path_weights: relative frequencies of the camera paths orbit, walk-through, hand-held,
        unordered.
      far: outdoor surfaces beyond this depth have no depth (`valid` is False).
      density: probability that an object is present.
      exposure: maximum relative change of exposure between the views of a scene.
      shadows: cast hard shadows of the main light (one more ray per pixel).
      supersample: colour rays per pixel along each axis; depth has one exact ray.
    """

    views: int = 8
    height: int = 168
    width: int = 224
    boxes: int = 12
    spheres: int = 5
    cylinders: int = 5
    indoor: float = 0.65
    room_half: tuple[float, float] = (1.6, 4.0)
    room_height: tuple[float, float] = (2.4, 3.6)
    arena_half: tuple[float, float] = (2.5, 7.0)
    camera_height: tuple[float, float] = (0.5, 2.2)
    clearance: float = 0.3
    fov: tuple[float, float] = (40.0, 95.0)
    zoom: float = 0.1
    roll: float = 3.0
    path_weights: tuple[float, float, float, float] = (0.35, 0.25, 0.2, 0.2)
    far: float = 60.0
    density: float = 0.85
    exposure: float = 0.15
    shadows: bool = True
    supersample: int = 1

    def __post_init__(self) -> None:
        for name in ("views", "height", "width", "spheres", "cylinders", "supersample"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"{name} must be at least 1, got {getattr(self, name)}: set density=0 for a "
                    "scene without objects"
                )
        if self.boxes < 6:
            raise UserError(
                f"boxes must be at least 6, got {self.boxes}: lower density for emptier scenes"
            )

    @property
    def counts(self) -> tuple[int, int, int]:
        """Numbers of boxes, spheres and cylinders, in the order of the objects."""
        return self.boxes, self.spheres, self.cylinders
