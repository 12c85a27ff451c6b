"""Writer of `.pt` files for `torch.load(weights_only=True)` without PyTorch.

The pickle is written opcode by opcode, because `pickle.Pickler` needs `torch` to name its
functions. Storages are written one by one, so that only one tensor is in memory.
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from zipmap_jax.convert.torch_file import STORAGES
from zipmap_jax.errors import UserError
from zipmap_jax.files import replacing

_STORAGE_OF = {dtype: name for name, dtype in STORAGES.items()}
_ALIGNMENT = 64
_HEADER, _ZIP64_EXTRA = 30, 20
_ZIP64_FROM = 1 << 30
_BIG = 1 << 31


def write_torch(
    path: str | Path, state: Mapping[str, np.ndarray], *, dtype: np.dtype | None = None
) -> None:
    """Writes a state dict in the format of `torch.save({"model": state})`.

    Args:
      path: the file, replaced when the new one is complete and unchanged after a failure.
      state: arrays by name, of any strides; they are written C-ordered.
      dtype: number format of all tensors; None = the dtype of each array.

    Raises:
      UserError: PyTorch does not have the dtype.
      OSError: the file cannot be written.
    """
    path = Path(path)
    for name, array in state.items():
        if (dtype or array.dtype) not in _STORAGE_OF:
            raise UserError(
                f"{name} has dtype {dtype or array.dtype}, for which there is no PyTorch storage: "
                "cast it"
            )
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        _write_archive(archive, path.stem, state, dtype)


def _write_archive(
    archive: zipfile.ZipFile,
    prefix: str,
    state: Mapping[str, np.ndarray],
    dtype: np.dtype | None,
) -> None:
    _member(archive, f"{prefix}/data.pkl", b"".join(_pickle(state, dtype)))
    _member(archive, f"{prefix}/byteorder", b"little")
    for number, array in enumerate(state.values()):
        data = np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8)
        _member(archive, f"{prefix}/data/{number}", data.data)
    _member(archive, f"{prefix}/version", b"3\n")


def _member(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    """Writes one member whose data start at a multiple of 64 bytes, as in files of PyTorch."""
    info = zipfile.ZipInfo(name)
    info.file_size = len(data)
    large = len(data) >= _ZIP64_FROM
    assert archive.fp is not None
    start = archive.fp.tell() + _HEADER + len(name.encode()) + 4 + _ZIP64_EXTRA * large
    padding = -start % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=large) as member:
        member.write(data)


def _pickle(state: Mapping[str, np.ndarray], dtype: np.dtype | None) -> Iterator[bytes]:
    yield pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + _text("model")
    yield _EMPTY_ORDERED_DICT + pickle.MARK
    for number, (name, array) in enumerate(state.items()):
        yield _text(name) + _tensor(number, array.shape, dtype or array.dtype)
    yield pickle.SETITEMS + pickle.SETITEM + pickle.STOP


def _tensor(number: int, shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """Opcodes of `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`."""
    strides = [math.prod(max(1, n) for n in shape[axis + 1 :]) for axis in range(len(shape))]
    storage = _tuple(
        _text("storage"),
        _global("torch", _STORAGE_OF[dtype]),
        _text(str(number)),
        _text("cpu"),
        _integer(math.prod(shape)),
    )
    arguments = _tuple(
        storage + pickle.BINPERSID,
        _integer(0),
        _tuple(*map(_integer, shape)),
        _tuple(*map(_integer, strides)),
        pickle.NEWFALSE,
        _EMPTY_ORDERED_DICT,
    )
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if value < _BIG:
        return pickle.BININT + struct.pack("<i", value)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", value)


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE if items else pickle.EMPTY_TUPLE


_EMPTY_ORDERED_DICT = _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
