"""Export of a reconstruction as one `jax.export` program of images to cameras, depth and points.

Weights are arguments instead of constants: 1.4 billion of them do not fit into an artefact, and
programs of several shapes share them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.convert.base import digest
from zipmap_jax.convert.checkpoint import DTYPES, created_by
from zipmap_jax.convert.rules import flatten, nest, shapes_of
from zipmap_jax.convert.safetensors_file import write_safetensors
from zipmap_jax.errors import UserError
from zipmap_jax.files import new_file, replacing
from zipmap_jax.geometry.depth import unproject_to_world
from zipmap_jax.geometry.plausible import plausible_cameras
from zipmap_jax.geometry.pose import rebase_poses
from zipmap_jax.inference.program_file import BINARY, FACTS, FORMAT, require_flatbuffers
from zipmap_jax.structs import Views

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.convert.hub import LoadedModel

InputType = Literal["uint8", "float32"]
OUTPUTS = {
    "w2c": "[views, 4, 4] world-to-camera, OpenCV axes, the first camera's frame is the world",
    "intrinsics": "[views, 3, 3] in pixels of the images",
    "depth": "[views, height, width] along the optical axis, arbitrary unit",
    "confidence": "[views, height, width] of the depth, above 1",
    "points": "[views, height, width, 3] in the world",
}
_OF_SCENES = {name: text.replace("[", "[scenes, ", 1) for name, text in OUTPUTS.items()}
_WHOLE_CHUNK = 16


def reconstruction(model: Any, chunk: int | None, scenes: int = 1) -> Callable[..., dict[str, Any]]:
    """Returns the function `(weights, images, valid) -> outputs` to export.

    Args:
      model: any model.
      chunk: views at a time; None = all.
      scenes: number of scenes; several add a leading axis to images, mask and outputs.

    Returns:
      A function of a flat dictionary of weights, images [v, h, w, 3] (uint8, or float in [0, 1])
      and a mask [v] of the real images, which returns the arrays of `OUTPUTS` in fp32.
    """

    def reconstruct(weights: dict[str, Any], images: Array, valid: Array) -> dict[str, Any]:
        params = nest(weights)
        images = model.preparation.normalise(images)
        views = Views(images, valid) if scenes > 1 else Views(images[None], valid[None])
        _, p = model.update(params, model.init_state(params), views, chunk=chunk)
        parts = (p.w2c, p.intrinsics, p.depth, p.depth_conf)
        if scenes > 1:
            return jax.vmap(_outputs)(*parts)
        return _outputs(*(part[0] for part in parts))

    return reconstruct


def _outputs(
    w2c: Float[Array, "v 4 4"],
    intrinsics: Float[Array, "v 3 3"],
    depth: Float[Array, "v h w"],
    confidence: Float[Array, "v h w"],
) -> dict[str, Array]:
    """The arrays of `OUTPUTS` of one scene."""
    depth = depth.astype(jnp.float32)
    w2c, intrinsics, _ = plausible_cameras(
        w2c.astype(jnp.float32), intrinsics.astype(jnp.float32), depth.shape[1:]
    )
    w2c = rebase_poses(w2c)
    return {
        "w2c": w2c,
        "intrinsics": intrinsics,
        "depth": depth,
        "confidence": confidence.astype(jnp.float32),
        "points": unproject_to_world(depth, intrinsics, w2c),
    }


def export_program(
    loaded: LoadedModel,
    path: str | Path,
    *,
    views: int,
    size: tuple[int, int],
    scenes: int = 1,
    input_type: InputType = "uint8",
    chunk: int | None = None,
    platforms: Sequence[str] = ("cpu", "cuda"),
) -> tuple[dict[str, Any], Path]:
    """Writes a program file and its weights; see `zipmap_jax.inference.program_file`.

    The name of the weights' file is their checksum, so that programs of other shapes share it.

    Args:
      loaded: from `zipmap_jax.load`.
      path: the program file, replaced if it exists.
      views: maximum number of images.
      size: (height, width) of the images.
      scenes: maximum number of scenes; several add a leading axis to images and outputs.
      input_type: "uint8", or "float32" in [0, 1].
      chunk: views of each scene at a time; None = at most 16.
      platforms: platforms of the program.

    Returns:
      The contents of `program.json`, and the file of the weights.

    Raises:
      UserError: the shape does not fit the model, or a platform is unknown.
      MissingPackageError: the package flatbuffers is not installed.
    """
    require_flatbuffers()
    path = Path(path)
    model = loaded.model.portable()
    _check(views, scenes, size, chunk, model.preparation.patch, platforms)
    chunk = chunk or _WHOLE_CHUNK
    flat = flatten(loaded.params)
    shape = (scenes, views) if scenes > 1 else (views,)
    arguments = (
        {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in flat.items()},
        jax.ShapeDtypeStruct((*shape, *size, 3), jnp.dtype(input_type)),
        jax.ShapeDtypeStruct(shape, jnp.bool_),
    )
    program = reconstruction(model, None if chunk >= views else chunk, scenes)
    exported = jax.export.export(jax.jit(program), platforms=tuple(platforms))(*arguments)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = _write_weights(path.parent, flat, loaded.card)
    facts = {
        "format": FORMAT,
        "created_by": created_by(),
        "jax": jax.__version__,
        "model": str(loaded.card.get("name", model.name)),
        "variant": loaded.card.get("variant", ""),
        "licence": loaded.card.get("licence", ""),
        "views": views,
        "scenes": scenes,
        "height": size[0],
        "width": size[1],
        "input": input_type,
        "chunk": min(chunk, views),
        "compute": jnp.dtype(model.policy.compute).name,
        "platforms": list(platforms),
        "weights": weights.name,
        "outputs": OUTPUTS if scenes == 1 else _OF_SCENES,
    }
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FACTS, json.dumps(facts, indent=2))
        archive.writestr(BINARY, bytes(exported.serialize()))
    return facts, weights


def _check(
    views: int,
    scenes: int,
    size: tuple[int, int],
    chunk: int | None,
    patch: int,
    platforms: Sequence[str],
) -> None:
    for name, value, hint in (("views", views, 16), ("scenes", scenes, 1), ("chunk", chunk, 16)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1, got {value}: try {hint}")
    if min(size) < 2 * patch or size[0] % patch or size[1] % patch:
        nearest = "x".join(str(max(2, round(side / patch)) * patch) for side in size)
        raise UserError(
            f"height and width must be multiples of the patch size {patch} and at least "
            f"{2 * patch}, got {size[0]}x{size[1]}: try {nearest}"
        )
    known = ("cpu", "cuda", "rocm", "tpu")
    for name in platforms or ("",):
        if name not in known:
            raise UserError(f"unknown platform {name!r}: choose among {', '.join(known)}")


def _write_weights(folder: Path, flat: dict[str, Any], card: dict[str, Any]) -> Path:
    """Writes weights in the number format of their checkpoint, named by their checksum."""
    dtype = DTYPES.get(card.get("dtype", ""), DTYPES["float32"])
    leaves = ((name, np.asarray(leaf)) for name, leaf in flat.items())
    with new_file(folder / "weights") as partial:
        write_safetensors(partial, shapes_of(flat), leaves, dtype)
        return partial.replace(folder / f"weights-{digest(partial)[:12]}.safetensors")
