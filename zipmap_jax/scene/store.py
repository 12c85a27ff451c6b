"""Per-view arrays of a scene, in memory up to a budget and in memory-mapped files beyond it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.lib import format as npy


class SceneStore:
    """Depth, confidence and colours of the views of one scene, appended view by view.

    Arrays stay in memory until the budget is used up; later ones become `.npy` files in a hidden
    folder, and are memory-mapped when they are read. The folder is made when it is first needed. It
    is removed by `close`, when neither the store nor its arrays are referenced any more, or when
    the process ends by an error or an interrupt (not by `kill -9`).

    Attributes:
      depth, confidence, images: sequences as of `zipmap_jax.scene.scene.Scene`.
    """

    def __init__(self, budget: int | None = None, parent: Path | None = None) -> None:
        """An empty store.

        Args:
          budget: bytes that are held in memory; None = all.
          parent: where the folder is made; None = the system's place for temporary files.
        """
        place = _Place(budget, parent)
        self._place = place
        self.depth = StoredArrays("depth", place)
        self.confidence = StoredArrays("confidence", place)
        self.images = StoredArrays("images", place)

    @property
    def folder(self) -> Path | None:
        """The folder of the files; None while all arrays are in memory."""
        return self._place.folder

    def close(self) -> None:
        """Remove the files; arrays that were read from them must not be used any more."""
        self._place.remove()


class StoredArrays(Sequence[np.ndarray]):
    """A sequence of arrays; those beyond the budget are read from files, anew at each access."""

    def __init__(self, name: str, place: _Place) -> None:
        self._name, self._place = name, place
        self._items: list[np.ndarray | Path] = []

    def append(self, array: np.ndarray) -> None:
        """Add an array, which must not be written to afterwards.

        Raises:
          OSError: its file cannot be written.
        """
        if self._place.reserve(array.nbytes):
            self._items.append(array)
            return
        path = self._place.open() / f"{self._name}_{len(self._items):06d}.npy"
        _write(path, array)
        self._items.append(path)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[np.ndarray, ...]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | tuple[np.ndarray, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        item = self._items[index]
        return item if isinstance(item, np.ndarray) else np.asarray(np.load(item, mmap_mode="r"))


class _Place:
    """What the arrays of one scene share: the bytes left in memory, and the folder of the rest."""

    def __init__(self, budget: int | None, parent: Path | None) -> None:
        self._left, self._parent = budget, parent
        self._finalizer: weakref.finalize[..., _Place] | None = None
        self.folder: Path | None = None

    def reserve(self, size: int) -> bool:
        """Whether so many more bytes fit into memory; if they do, they are counted."""
        if self._left is None:
            return True
        if size > self._left:
            return False
        self._left -= size
        return True

    def open(self) -> Path:
        if self.folder is None:
            made = tempfile.mkdtemp(prefix=".zipmap-", suffix=".scene", dir=self._parent)
            self.folder = Path(made)
            self._finalizer = weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return self.folder

    def remove(self) -> None:
        if self._finalizer is not None:
            self._finalizer()


def _write(path: Path, array: np.ndarray) -> None:
    """`np.save`, but a full disk is an error that names its cause and the file."""
    header = {
        "descr": npy.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    try:
        with path.open("wb") as file:
            npy.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(array).data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
