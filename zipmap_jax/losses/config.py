"""Configuration of the training losses."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zipmap_jax.errors import UserError
from zipmap_jax.losses.patch_rays import RaysFrame

CameraKind = Literal["absolute", "pairwise"]
"""Camera loss on absolute poses (with a reference view) or on relative poses (without one)."""

POSE_WEIGHTS: dict[CameraKind, tuple[float, float, float]] = {
    "absolute": (1.0, 1.0, 0.5),
    "pairwise": (10.0, 0.2, 0.5),
}
"""Weights of translation, rotation and field of view within the camera loss."""


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the objective; the defaults are the published ones.

    `parity` selects between the behaviour of the reference, given first, and a corrected one:

    - pixels further than 100 units: clamped to 100, or left out;
    - angle between rotations: a clipped arccos, or exact (`camera.rotation_angle`);
    - normals: divided by the size of the image, with holes treated as edges, or the mean over all
      corners between valid pixels (`points.normal_loss`);
    - unit of a prediction without a valid pixel: 1e-6, or 1 and its rendered views are left out;
    - cameras: supervised only if the first view has valid pixels, or if any view has.

    Attributes:
      camera_kind: "absolute" for models with a reference view, "pairwise" for those without.
      camera, depth, points, normals: weights of the terms of the input views.
      colour, query_depth: weights of the terms of the queried views.
      matching, rays, views: weights of `matching.matching_loss`, `patch_rays.patch_ray_loss` and,
        for queried views, `patch_views.patch_view_loss`. They help training from random weights on
        little data and are not part of the published objective.
      rays_frame: see `patch_rays.patch_rays`; "first" for streaming models and state queries.
      perceptual: weight of LPIPS relative to the squared error within the colour loss.
      perceptual_weights: folder of the LPIPS weights (`zipmap convert`); empty = no LPIPS.
      pose: weights of translation, rotation and field of view; None = those of `camera_kind`.
      conf_gamma, conf_alpha: factors in the confidence term `gamma e C - alpha log C`.
      quantile: share of the pixels kept by the depth terms, between 0 and 1.
      parity: whether the losses behave as the reference, see above.
    """

    camera_kind: CameraKind = "pairwise"
    camera: float = 5.0
    depth: float = 1.0
    points: float = 1.0
    normals: float = 1.0
    colour: float = 10.0
    query_depth: float = 1.0
    matching: float = 0.0
    rays: float = 0.0
    rays_frame: RaysFrame = "mean"
    views: float = 0.0
    perceptual: float = 0.5
    perceptual_weights: str = ""
    pose: tuple[float, float, float] | None = None
    conf_gamma: float = 1.0
    conf_alpha: float = 0.2
    quantile: float = 0.98
    parity: bool = True

    def __post_init__(self) -> None:
        if self.camera_kind not in POSE_WEIGHTS:
            raise UserError(
                f"camera_kind must be 'absolute' or 'pairwise', got {self.camera_kind!r}: "
                "choose one of them"
            )
        if not 0 < self.quantile < 1:
            raise UserError(
                f"quantile must be between 0 and 1, got {self.quantile}: set it for example to 0.98"
            )
