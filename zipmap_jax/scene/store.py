"""Per-view arrays of a scene, in memory up to a budget and then in memory-mapped files."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.lib import format as npy

from zipmap_jax.scene import scratch


class SceneStore:
    """Depth, confidence and colours of a scene, appended view by view.

    Arrays beyond the budget are `.npy` files in a hidden folder and memory-mapped when they are
    read. The folder is removed by `close`, with the last reference to the store and its arrays, or
    at the end of the process; after `kill -9`, by the next store in the same place.

    Attributes:
      depth, confidence, images: see `zipmap_jax.scene.Scene`.
    """

    def __init__(self, budget: int | None = None, parent: Path | None = None) -> None:
        """Creates an empty store.

        Args:
          budget: maximum bytes in memory; None = no limit.
          parent: parent of the hidden folder; None = the system's folder for temporary files.
        """
        storage = _Storage(budget, parent or Path(tempfile.gettempdir()))
        self._storage = storage
        self.depth = StoredArrays("depth", storage)
        self.confidence = StoredArrays("confidence", storage)
        self.images = StoredArrays("images", storage)

    @property
    def folder(self) -> Path | None:
        """The folder of the files; None while all arrays are in memory."""
        return self._storage.folder

    def close(self) -> None:
        """Removes the files, whose arrays must not be used any more."""
        self._storage.remove()


class StoredArrays(Sequence[np.ndarray]):
    """A sequence of arrays; those beyond the budget are read from their files at each access."""

    def __init__(self, name: str, storage: _Storage) -> None:
        self._name, self._storage = name, storage
        self._items: list[np.ndarray | Path] = []

    def append(self, array: np.ndarray) -> None:
        """Adds an array, which must not be changed afterwards.

        Raises:
          OSError: its file cannot be written.
        """
        if self._storage.reserve(array.nbytes):
            self._items.append(array)
            return
        path = self._storage.open() / f"{self._name}_{len(self._items):06d}.npy"
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


class _Storage:
    """The memory budget and the folder that the arrays of one scene share."""

    def __init__(self, budget: int | None, parent: Path) -> None:
        self._free_bytes, self._parent = budget, parent
        self._finalizer: weakref.finalize[..., _Storage] | None = None
        self.folder: Path | None = None
        if budget is not None:
            scratch.remove_leftovers(parent)

    def reserve(self, size: int) -> bool:
        """Subtracts bytes from the budget; False if it is exceeded."""
        if self._free_bytes is None:
            return True
        if size > self._free_bytes:
            return False
        self._free_bytes -= size
        return True

    def open(self) -> Path:
        """Returns the folder, which the first call creates."""
        if self.folder is None:
            self.folder, lock = scratch.make_folder(self._parent)
            self._finalizer = weakref.finalize(self, scratch.remove_folder, self.folder, lock)
        return self.folder

    def remove(self) -> None:
        if self._finalizer is not None:
            self._finalizer()


def _write(path: Path, array: np.ndarray) -> None:
    """`np.save` with the name of the file in its errors, such as a full disk."""
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
