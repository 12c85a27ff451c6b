"""Running an exported program: JAX and two files are enough, the code of the models is not needed.

A program file is a zip of `program.json` (what goes in and out) and `program.bin` (the serialised
`jax.export` artefact). The weights lie beside it in a safetensors file of their own: one file
serves the programs of all shapes, and a server keeps one copy of it on the device.
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
    """A program that is compiled for this machine, with its weights on the device.

    Attributes:
      facts: contents of `program.json`.
      weights: name -> array; pass them to `load_program` for further programs of the same model.
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
        """Reconstruct one scene, or several if the program was exported for that.

        Args:
          images: RGB at the program's height and width, at least one and at most its views; uint8,
            or float32 in [0, 1] if it was exported for that. With a leading axis, of at least one
            and at most its scenes, if the program takes several.
          valid: False for images that only fill up a scene, behind its own; None = there are none.

        Returns:
          What `facts["outputs"]` describes, for the views that were given:
          w2c [v, 4, 4] world-to-camera, the first camera's frame being the world (OpenCV axes);
          intrinsics [v, 3, 3] in pixels of the images; depth [v, h, w] along the optical axis;
          confidence [v, h, w] (> 1); points [v, h, w, 3] in the world. Lengths share one arbitrary
          unit. Of several scenes, all have a leading axis.

        Raises:
          UserError: the images do not fit the program.
        """
        images = np.asarray(images)
        self._check(images)
        given = images.shape[:-3]
        valid = np.ones(given, bool) if valid is None else np.asarray(valid)
        if valid.dtype != bool or valid.shape != given or not valid[..., 0].all():
            raise UserError(
                f"valid must be bool of shape {given} and True for the first image of a scene, got "
                f"{valid.dtype} of {valid.shape}: put images that fill up a scene behind its own"
            )
        # A scene that is missing has one black view: none at all would give NaN.
        padded = np.zeros((*self._most, *images.shape[-3:]), images.dtype)
        real = np.zeros(self._most, bool)
        real[..., 0] = True
        place = tuple(slice(n) for n in given)
        padded[place], real[place] = images, valid
        outputs = jax.device_get(self.run(self.weights, padded, real))
        return {name: value[place] for name, value in outputs.items()}

    @property
    def _most(self) -> tuple[int, ...]:
        """Scenes, if it takes several, and views."""
        scenes = self.facts.get("scenes", 1)
        return (scenes, self.facts["views"]) if scenes > 1 else (self.facts["views"],)

    def _check(self, images: np.ndarray) -> None:
        f, most = self.facts, self._most
        shape, dtype = (f["height"], f["width"], 3), np.dtype(f["input"])
        given = images.shape[:-3]
        fits = len(given) == len(most) and all(
            1 <= n <= m for n, m in zip(given, most, strict=True)
        )
        if not fits or images.shape[-3:] != shape or images.dtype != dtype:
            scenes = f"1 to {most[0]} scenes of " if len(most) > 1 else ""
            names = "(scenes, views, " if scenes else "(views, "
            raise UserError(
                f"this program takes {scenes}1 to {f['views']} images as {dtype} of shape {names}"
                f"{', '.join(map(str, shape))}), got {images.dtype} of {images.shape}: resize or "
                "convert them, or export a program for them"
            )


def load_program(
    path: str | Path, weights: Mapping[str, Any] | str | Path | None = None
) -> ServedProgram:
    """Load what `zipmap export-program` wrote, and compile it for this machine.

    Args:
      path: the program file.
      weights: of a program that is loaded already, or a safetensors file; None = the file that the
        program names, beside it.

    Raises:
      UserError: a file is missing, damaged or of a model of another shape, or the program was
        not exported for this kind of device.
      MissingPackageError: the package flatbuffers is not installed.
    """
    require_flatbuffers()
    path = Path(path)
    facts, binary = _read(path)
    platform = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    if platform not in facts["platforms"]:
        raise UserError(
            f"{path} was exported for {', '.join(facts['platforms'])}, and this machine runs on "
            f"{platform}: export it with --platforms {platform}"
        )
    try:
        exported = jax.export.deserialize(bytearray(binary))
    except Exception as error:  # a damaged artefact fails in every way there is
        raise UserError(
            f"{path} holds no program that JAX {jax.__version__} can read "
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
    """Check that flatbuffers is installed, with which JAX writes and reads programs.

    Raises:
      MissingPackageError: it is not.
    """
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "exported programs need the package flatbuffers: pip install 'zipmap-jax[export]'"
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    if not path.is_file():
        raise UserError(f"{path} is no file: export a program with zipmap export-program")
    try:
        with zipfile.ZipFile(path) as archive:
            facts, binary = json.loads(archive.read(FACTS)), archive.read(BINARY)
            version = facts["format"]
    except (*ARCHIVE_ERRORS, TypeError) as error:
        raise UserError(
            f"{path} is no exported program, or damaged ({error}): export or copy it again"
        ) from error
    if version != FORMAT:
        raise UserError(
            f"{path} is of format {version}, and this version reads {FORMAT}: export it "
            "again, or update zipmap-jax"
        )
    return facts, binary


def _map_weights(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"the weights {path} are missing: copy them beside the program")
    return read_safetensors(path)


def _check(weights: Mapping[str, Any], shapes: Mapping[str, Any], path: Path) -> None:
    for name, shape in shapes.items():
        got = tuple(weights[name].shape) if name in weights else None
        if got != shape.shape:
            found = "no such weight" if got is None else f"a weight of shape {got}"
            raise UserError(
                f"{path} needs {name} of shape {shape.shape}, and there is {found}: give the "
                "weights that it was exported with"
            )


def _check_precision(weights: Mapping[str, Any], shapes: Mapping[str, Any], path: Path) -> None:
    """Refuse what another program holds more coarsely than this one computes."""
    for name, shape in shapes.items():
        if name in weights and weights[name].dtype.itemsize < shape.dtype.itemsize:
            raise UserError(
                f"{path} computes with {name} in {shape.dtype}, and there it is in "
                f"{weights[name].dtype}: give weights of a program of the same precision, or none"
            )
