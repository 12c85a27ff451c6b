"""Storage of a `Scene` as a NumPy archive, scene.npz."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from zipmap_jax.errors import UserError
from zipmap_jax.files import ARCHIVE_ERRORS
from zipmap_jax.scene.scene import Scene

FORMAT = "zipmap-scene-1"
_DENSE = ("depth", "confidence", "images")


def save_scene(scene: Scene, path: Path, depth_dtype: str = "float32") -> None:
    """Writes a scene as a NumPy archive.

    Keys: `format`, `w2c` [v, 4, 4], `c2w` [v, 4, 4], `intrinsics` [v, 3, 3], `names` [v], `times`
    [v] (absent for photographs), `network_size` [2] (height, width), `model`, and `depth`,
    `confidence` [v, h, w], `images` [v, h, w, 3]. If the images differ in size, the last three are
    one array per view instead: `depth_0000`, `depth_0001` and so on. `original_sizes` [v, 2] are
    (height, width) of the images before they were reduced, if these are known.

    Args:
      scene: the reconstruction.
      path: the file; an existing one is replaced.
      depth_dtype: "float32", or "float16" for depth and confidence of half the size.
    """
    small: dict[str, Any] = {
        "format": FORMAT,
        "w2c": scene.w2c,
        "c2w": scene.c2w,
        "intrinsics": scene.intrinsics,
        "names": np.array(scene.names, dtype=np.str_),
        "network_size": np.array(scene.network_size, np.int64),
        "model": scene.model,
    }
    if scene.original_sizes is not None:
        small["original_sizes"] = np.array(scene.original_sizes, np.int64)
    if scene.times is not None:
        small["times"] = np.array(scene.times, np.float64)
    # A level above 1 hardly reduces the size of depth maps, and photographs are incompressible.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, value in small.items():
            _write(archive, name, [np.asarray(value)], stack=False)
        _write_dense(archive, "depth", scene.depth, depth_dtype)
        _write_dense(archive, "confidence", scene.confidence, depth_dtype)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        _write_dense(archive, "images", scene.images)


def load_scene(path: Path | str) -> Scene:
    """Reads a scene from the file of `save_scene`.

    Args:
      path: the .npz file.

    Returns:
      The same scene, bit for bit unless depth and confidence were saved as float16.

    Raises:
      UserError: the file is not a scene, or is damaged.
      OSError: the file cannot be opened.
    """
    path = Path(path)
    with path.open("rb"):  # raises for a missing file
        pass
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a NumPy archive; give a scene.npz written by zipmap-jax.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "format" not in archive or str(archive["format"]) != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            return _scene(archive)
    except (*ARCHIVE_ERRORS, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as a scene ({error}); give a scene.npz written by zipmap-jax."
        ) from error


def _scene(archive: Any) -> Scene:
    names = tuple(str(name) for name in archive["names"])
    dense: dict[str, tuple[np.ndarray, ...]] = {}
    for key in _DENSE:
        if key in archive:
            dense[key] = tuple(archive[key])
        else:
            dense[key] = tuple(archive[f"{key}_{i:04d}"] for i in range(len(names)))
        if len(dense[key]) != len(names):
            raise ValueError(f"{key} has {len(dense[key])} views instead of {len(names)}")
    height, width = (int(x) for x in archive["network_size"])
    return Scene(
        w2c=archive["w2c"],
        intrinsics=archive["intrinsics"],
        depth=tuple(np.asarray(a, np.float32) for a in dense["depth"]),
        confidence=tuple(np.asarray(a, np.float32) for a in dense["confidence"]),
        images=dense["images"],
        names=names,
        times=tuple(float(t) for t in archive["times"]) if "times" in archive else None,
        network_size=(height, width),
        model=str(archive["model"]),
        original_sizes=tuple((int(h), int(w)) for h, w in archive["original_sizes"])
        if "original_sizes" in archive
        else None,
    )


def _write_dense(
    archive: zipfile.ZipFile, name: str, arrays: Sequence[np.ndarray], dtype: str | None = None
) -> None:
    """Writes one member for all views if they have one size, else one member per view."""
    if len({(a.shape, a.dtype) for a in arrays}) <= 1:
        _write(archive, name, arrays, stack=True, dtype=dtype)
        return
    for i, array in enumerate(arrays):
        _write(archive, f"{name}_{i:04d}", [array], stack=False, dtype=dtype)


def _write(
    archive: zipfile.ZipFile,
    name: str,
    arrays: Sequence[np.ndarray],
    *,
    stack: bool,
    dtype: str | None = None,
) -> None:
    """Writes one member; the arrays of a stack are converted and written one by one."""
    kind = np.dtype(dtype or (arrays[0].dtype if len(arrays) else np.float32))
    shape = arrays[0].shape if len(arrays) else ()
    header = {
        "descr": npy.dtype_to_descr(kind),
        "fortran_order": False,
        "shape": (len(arrays), *shape) if stack else shape,
    }
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        npy.write_array_header_1_0(file, header)
        for array in arrays:
            if array.dtype != kind:
                array = np.minimum(array, np.finfo(kind).max)
            file.write(np.ascontiguousarray(array, kind).tobytes())
