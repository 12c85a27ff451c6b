"""Safetensors files, read and written tensor by tensor to bound memory."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from zipmap_jax.errors import UserError
from zipmap_jax.files import replacing

if TYPE_CHECKING:
    from zipmap_jax.convert.rules import Shape

DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH = struct.Struct("<Q")


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Memory-maps a safetensors file.

    Args:
      path: the file.

    Returns:
      Read-only views of the file by name; pages are read on access.

    Raises:
      UserError: the file is damaged, or has an unsupported number format.
      OSError: the file cannot be read.
    """
    path = Path(path)
    with path.open("rb"):  # raises an error that names the file, which the library's may not
        pass
    try:
        with safe_open(path, framework="np"):  # checks the whole header
            pass
    except SafetensorError as error:
        raise UserError(
            f"{path} is no safetensors file, or truncated or damaged ({error}): convert or "
            "download it again"
        ) from error
    with path.open("rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    content = np.memmap(path, np.uint8, "r")[_LENGTH.size + length :]
    arrays: dict[str, np.ndarray] = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise UserError(
                f"{path} holds {name} as {entry['dtype']}, which cannot be read: convert it to one "
                f"of {', '.join(DTYPES)}"
            )
        start, stop = entry["data_offsets"]
        raw = np.asarray(content[start:stop])
        arrays[name] = raw.view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def write_safetensors(
    path: Path,
    shapes: Mapping[str, Shape],
    leaves: Iterable[tuple[str, np.ndarray]],
    dtype: np.dtype,
) -> None:
    """Writes a safetensors file leaf by leaf, whereas the library needs all leaves in memory.

    Args:
      path: the file, replaced when the new one is complete and unchanged after a failure.
      shapes: shapes of the leaves by name, in the same order.
      leaves: names and arrays.
      dtype: number format of the file.
    """
    header: dict[str, object] = {}
    offset = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(_LENGTH.size + len(text)) % 64)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for (name, shape), (got, leaf) in zip(shapes.items(), leaves, strict=True):
            assert (name, shape) == (got, leaf.shape), f"{got} came where {name} was due"
            np.ascontiguousarray(leaf, dtype).tofile(file)
