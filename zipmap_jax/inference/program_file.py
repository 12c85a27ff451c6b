"""Exported programs, which run from two files without the code of the models.

A program file is a zip of `program.json`, which describes inputs and outputs, and `program.bin`,
the serialised `jax.export` artefact. The weights are in a separate safetensors file, which the
programs of all shapes share.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.convert.safetensors_file import read_safetensors
from zipmap_jax.errors import MissingPackageError, UserError
from zipmap_jax.files import ARCHIVE_ERRORS

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

FACTS, BINARY = "program.json", "program.bin"
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class ServedProgram:
    """A program compiled for this machine, with its weights on the device.

    Attributes:
      facts: contents of `program.json`.
      weights: name -> array; `load_program` accepts them for other programs of the same model.
      run: the compiled program.
    """

    facts: dict[str, Any]
    weights: Mapping[str, jax.Array]
    run: Any = dataclasses.field(repr=False)

    def __call__(
        self,
        images: UInt8[np.ndarray, "*s v h w 3"] | Float[np.ndarray, "*s v h w 3"],
        valid: Bool[np.ndarray, "*s v"] | None = None,
    ) -> dict[str, np.ndarray]:
        """Reconstructs one scene, or several if the program was exported for several.

        Args:
          images: RGB at the program's height and width, 1 to its number of views; uint8, or float32
            in [0, 1], as exported. A program of several scenes takes a leading axis, 1 to its
            number of scenes.
          valid: False for padding images, which follow those of the scene; None = no padding.

        Returns:
          The arrays of `facts["outputs"]`, for the views of `images`:
          w2c [v, 4, 4] world-to-camera, in the first camera's frame (OpenCV axes);
          intrinsics [v, 3, 3] in pixels of the images; depth [v, h, w] along the optical axis;
          confidence [v, h, w] (> 1); points [v, h, w, 3] in the world. Lengths share one arbitrary
          unit. Several scenes add a leading axis.

        Raises:
          UserError: the images do not fit the program.
        """
        images = np.asarray(images)
        self._check(images)
        counts = images.shape[:-3]
        valid = np.ones(counts, bool) if valid is None else np.asarray(valid)
        if valid.dtype != bool or valid.shape != counts or not valid[..., 0].all():
            raise UserError(
                f"valid must be bool of shape {counts} and True for the first image of a scene, "
                f"got {valid.dtype} of {valid.shape}: put padding after the images of a scene"
            )
        # A padding scene has one black view, since a scene without views would give NaN.
        padded = np.zeros((*self._max_counts, *images.shape[-3:]), images.dtype)
        mask = np.zeros(self._max_counts, bool)
        mask[..., 0] = True
        region = tuple(slice(n) for n in counts)
        padded[region], mask[region] = images, valid
        outputs = jax.device_get(self.run(self.weights, padded, mask))
        return {name: value[region] for name, value in outputs.items()}

    @property
    def _max_counts(self) -> tuple[int, ...]:
        """Maximum scenes, for a program of several, and views."""
        scenes = self.facts.get("scenes", 1)
        return (scenes, self.facts["views"]) if scenes > 1 else (self.facts["views"],)

    def _check(self, images: np.ndarray) -> None:
        f, maxima = self.facts, self._max_counts
        shape, dtype = (f["height"], f["width"], 3), np.dtype(f["input"])
        counts = images.shape[:-3]
        fits = len(counts) == len(maxima) and all(
            1 <= n <= m for n, m in zip(counts, maxima, strict=True)
        )
        if not fits or images.shape[-3:] != shape or images.dtype != dtype:
            scenes = f"1 to {maxima[0]} scenes of " if len(maxima) > 1 else ""
            names = "(scenes, views, " if scenes else "(views, "
            raise UserError(
                f"this program takes {scenes}1 to {f['views']} images as {dtype} of shape {names}"
                f"{', '.join(map(str, shape))}), got {images.dtype} of {images.shape}: resize or "
                "convert them, or export a program for them"
            )


def load_program(
    path: str | Path, weights: Mapping[str, Any] | str | Path | None = None
) -> ServedProgram:
    """Loads a program of `zipmap export-program` and compiles it for this machine.

    Args:
      path: the program file.
      weights: the weights of a loaded program, or a safetensors file; None = the file that the
        program names, in the same folder.

    Raises:
      UserError: a file is missing, damaged or of a model of another shape, or the program was not
        exported for this platform.
      MissingPackageError: the package flatbuffers is not installed.
    """
    require_flatbuffers()
    path = Path(path)
    facts, binary = _read(path)
    platform = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    if platform not in facts["platforms"]:
        raise UserError(
            f"{path} was exported for {', '.join(facts['platforms'])}, but the platform is "
            f"{platform}: export it with --platforms {platform}"
        )
    try:
        exported = jax.export.deserialize(bytearray(binary))
    except Exception as error:  # a damaged artefact raises errors of any type
        raise UserError(
            f"{path} contains no program that JAX {jax.__version__} can read "
            f"({type(error).__name__}): export or copy it again"
        ) from error
    shapes = jax.tree.unflatten(exported.in_tree, exported.in_avals)[0][0]
    if isinstance(weights, Mapping):
        _check_precision(weights, shapes, path)
    else:
        weights = _map_weights(path.parent / facts["weights"] if weights is None else Path(weights))
    _check(weights, shapes, path)
    weights = {name: jnp.asarray(weights[name], shapes[name].dtype) for name in shapes}
    arguments = jax.tree.unflatten(exported.in_tree, exported.in_avals)[0]
    run = jax.jit(exported.call).lower(*arguments).compile()
    return ServedProgram(facts, weights, run)


def require_flatbuffers() -> None:
    """Checks that flatbuffers is installed, which JAX needs for exported programs.

    Raises:
      MissingPackageError: flatbuffers is not installed.
    """
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "exported programs need the package flatbuffers: pip install 'zipmap-jax[export]'"
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    if not path.is_file():
        raise UserError(f"{path} does not exist: export a program with zipmap export-program")
    try:
        with zipfile.ZipFile(path) as archive:
            facts, binary = json.loads(archive.read(FACTS)), archive.read(BINARY)
            version = facts["format"]
    except (*ARCHIVE_ERRORS, TypeError) as error:
        raise UserError(
            f"{path} is not an exported program or is damaged ({error}): export or copy it again"
        ) from error
    if version != FORMAT:
        raise UserError(
            f"{path} has format {version}, but this version reads {FORMAT}: export it again, or "
            "update zipmap-jax"
        )
    return facts, binary


def _map_weights(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"the weights {path} are missing: copy them to the folder of the program")
    return read_safetensors(path)


def _check(weights: Mapping[str, Any], shapes: Mapping[str, Any], path: Path) -> None:
    for name, shape in shapes.items():
        actual = tuple(weights[name].shape) if name in weights else "no such weight"
        if actual != shape.shape:
            raise UserError(
                f"{path} needs {name} of shape {shape.shape}, got {actual}: give the weights of "
                "its export"
            )


def _check_precision(weights: Mapping[str, Any], shapes: Mapping[str, Any], path: Path) -> None:
    """Refuses weights of a lower precision than the program's."""
    for name, shape in shapes.items():
        if name in weights and weights[name].dtype.itemsize < shape.dtype.itemsize:
            raise UserError(
                f"{path} needs {name} in {shape.dtype}, got {weights[name].dtype}: give weights of "
                "a program of the same precision, or none"
            )
