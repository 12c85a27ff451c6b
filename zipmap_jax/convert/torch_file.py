"""Reader of PyTorch `.pt` files without PyTorch and without execution of their code.

A `.pt` file is an uncompressed zip archive: `data.pkl` is a pickle that describes the tensors, and
the members under `data/` are their raw storages. The unpickler resolves only the functions that
rebuild tensors. All other names become inert placeholders: nothing is imported or called for them,
so an optimizer state of unknown classes is harmless, and a placeholder in place of a tensor raises
an error. Names from modules that attacks need and checkpoints do not (`os`, `subprocess`, ...)
always raise an error.

Arrays are read-only views of the memory-mapped file, whose pages are read on access.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.files import ARCHIVE_ERRORS

STORAGES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
    "ComplexFloatStorage": np.dtype(np.complex64),
    "ComplexDoubleStorage": np.dtype(np.complex128),
}

# No checkpoint needs these modules. Nothing of them would be executed, but a file that names one is
# rejected explicitly.
_HOSTILE_MODULES = frozenset(
    (
        *("asyncio", "bdb", "code", "codeop", "commands", "ctypes", "http", "importlib"),
        *("inspect", "io", "_io", "marshal", "multiprocessing", "nt", "operator", "os", "pdb"),
        *("pickle", "_pickle", "posix", "_posixsubprocess", "profile", "pty", "runpy", "shutil"),
        *("signal", "site", "smtplib", "socket", "ssl", "subprocess", "sys", "tempfile"),
        *("threading", "timeit", "urllib", "webbrowser"),
    )
)
# Built-ins that occur as data.
_HARMLESS_BUILTINS = frozenset(
    (
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list"),
        *("long", "object", "range", "set", "slice", "str", "tuple", "unicode"),
    )
)

_LEGACY_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # magic number of files before 2020
_STATE_KEYS = ("model", "state_dict", "model_state_dict", "module")
"""Entries under which training programs store a state dict, beside "ema"."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")


def read_torch(path: str | Path, *, ema: bool = False) -> dict[str, np.ndarray]:
    """Reads the state dict of a PyTorch checkpoint.

    The state dict is the whole content of the file, or its entry `model`, `state_dict`,
    `model_state_dict` or `module`, also one within the other. Other entries (optimizer, epoch, ...)
    are neither read nor constructed.

    Args:
      path: a `.pt` file of `torch.save`, PyTorch 1.6 or newer.
      ema: whether the entry `ema` with the averaged weights is read instead.

    Returns:
      Read-only arrays by name, with the dtypes and strides of the file; pages are read on access.

    Raises:
      UserError: the file is not a PyTorch checkpoint, is damaged, or has an entry that is not a
        tensor.
      OSError: the file cannot be read.
    """
    path = Path(path)
    return _select(_load(path), path, ema)


def _fail(path: Path, problem: str) -> NoReturn:
    raise UserError(f"{path} {problem}")


def _select(content: Any, path: Path, ema: bool) -> dict[str, np.ndarray]:
    if not isinstance(content, dict):
        kind = content.name if isinstance(content, Placeholder) else type(content).__name__
        _fail(path, f"holds {kind}, not a state dict: save model.state_dict()")
    has_ema = isinstance(content.get("ema"), dict)
    if ema and not has_ema:
        entries = _keys(content)
        _fail(path, f"has no entry 'ema' with a state dict (it has {entries}): leave ema out")
    state = _unwrapped(content["ema"] if ema else content, path)
    if state is content and has_ema:
        _fail(
            path,
            f"has no entry 'model' with a state dict (it has {_keys(content)}): load its averaged "
            "weights with ema",
        )
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            kind = value.name if isinstance(value, Placeholder) else type(value).__name__
            _fail(path, f"holds {kind} under {name!r} where a tensor belongs: remove that entry")
    if not state:
        _fail(path, "holds an empty state dict: save model.state_dict()")
    return dict(state)


def _unwrapped(state: dict[Any, Any], path: Path) -> dict[Any, Any]:
    """The innermost state dict of entries that training programs wrap around one."""
    while nested := [key for key in _STATE_KEYS if isinstance(state.get(key), dict)]:
        if len(nested) > 1:
            _fail(path, f"holds state dicts under {' and '.join(nested)}: save only one of them")
        state = state[nested[0]]
    return state


def _keys(content: Mapping[Any, Any]) -> str:
    names = [str(key) for key in content]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


class Placeholder:
    """Inert replacement of an object of an unknown class.

    Every class of every file has its own subclass, so that a file cannot modify shared state.
    """

    name = "an unknown object"

    def __new__(cls, *args: Any, **kwargs: Any) -> Placeholder:
        """Ignores the arguments of a constructor or of `__reduce__`."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __hash__(self) -> int:
        return id(self)

    def append(self, item: Any) -> None:
        """Ignores an item of a list."""

    def extend(self, items: Any) -> None:
        """Ignores items of a list."""

    def add(self, item: Any) -> None:
        """Ignores an item of a set."""


def _placeholder(name: str) -> type[Placeholder]:
    return type("Placeholder", (Placeholder,), {"name": name})


class _Refused(Exception):
    """A defect of the file, raised inside the unpickler."""


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(32)
    _check_kind(path, head)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            pickles = [name for name in members if name.split("/")[1:] == ["data.pkl"]]
            if len(pickles) != 1:
                _fail(path, "is a zip file but no PyTorch checkpoint (no data.pkl): check the file")
            prefix = pickles[0].removesuffix("data.pkl")
            if f"{prefix}byteorder" in members and archive.read(f"{prefix}byteorder") != b"little":
                _fail(path, "was written on a big-endian machine: save it again on another one")
            description = archive.read(pickles[0])
    except UserError:
        raise
    except ARCHIVE_ERRORS as error:
        _fail(path, f"is truncated or damaged ({error}): copy or download it again")
    storages = _Storages(path, prefix, members)
    try:
        return _Unpickler(io.BytesIO(description), storages).load()
    except _Refused as error:
        _fail(path, str(error))
    except Exception as error:  # a damaged pickle may raise any exception
        _fail(path, f"is damaged ({type(error).__name__} in data.pkl): copy or download it again")


def _check_kind(path: Path, head: bytes) -> None:
    if head.startswith(b"PK\x03\x04"):
        return
    if not head:
        _fail(path, "is empty: copy or download it again")
    if _LEGACY_MAGIC in head:
        _fail(
            path,
            "is in the legacy format of PyTorch before 1.6: load it with torch and save it again",
        )
    if head.startswith(b"\x80"):
        _fail(path, "is a bare pickle, which is never safe to read: save it with torch.save")
    _fail(path, "is no PyTorch checkpoint (it does not start as a zip file): check the file")


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in members:
            _fail(path, f"holds {info.filename} twice, which readers disagree on: save it again")
        if info.compress_type != zipfile.ZIP_STORED:
            _fail(path, "is a compressed zip file: unpack it and zip it again with `zip -0`")
        members[info.filename] = info
    return members


class _Storages:
    """The memory-mapped raw storages of one file."""

    def __init__(self, path: Path, prefix: str, members: Mapping[str, zipfile.ZipInfo]) -> None:
        self._bytes = np.memmap(path, np.uint8, "r")
        self._prefix, self._members = prefix, members

    def __call__(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        info = self._members.get(f"{self._prefix}data/{key}")
        if info is None:
            raise _Refused(f"lacks the storage data/{key}: copy or download it again")
        # The padding of the local header differs from that of the directory entry.
        header = self._bytes[info.header_offset : info.header_offset + _LOCAL_HEADER.size]
        _, name, extra = _LOCAL_HEADER.unpack(header.tobytes())
        start = info.header_offset + _LOCAL_HEADER.size + name + extra
        size = count * dtype.itemsize
        if size > info.file_size or start + info.file_size > self._bytes.size:
            raise _Refused(f"has too few bytes for the storage data/{key}: download it again")
        return np.asarray(self._bytes[start : start + size]).view(dtype)


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors; all other names become placeholders or raise an error."""

    def __init__(self, file: io.BytesIO, storages: _Storages) -> None:
        super().__init__(file)
        self._storages = storages
        self._names: dict[str, Any] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        key = f"{module}.{name}"
        if key not in self._names:
            self._names[key] = _resolve(module, name)
        return self._names[key]

    def persistent_load(self, pid: Any, /) -> Any:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(key, str) or not isinstance(count, int):
            raise _Refused(f"refers to {kind!r} outside its pickle: save it with torch.save")
        if not isinstance(storage, np.dtype):
            return storage()
        return self._storages(key, storage, count)


def _resolve(module: str, name: str) -> Any:
    key = f"{module}.{name}"
    if key == "collections.OrderedDict":
        return collections.OrderedDict
    if key in _REBUILDERS:
        return _REBUILDERS[key]()
    if module == "torch" and name in STORAGES:
        return STORAGES[name]
    builtin = module in ("builtins", "__builtin__")
    hostile = module.split(".")[0] in _HOSTILE_MODULES
    if hostile or (builtin and name not in _HARMLESS_BUILTINS):
        raise _Refused(f"names {key}, which no checkpoint needs: nothing was executed; discard it")
    return _placeholder(key)


def _rebuild_tensor() -> Callable[..., Any]:
    def rebuild(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> Any:
        if isinstance(storage, Placeholder):
            return storage
        return _strided(storage, offset, tuple(shape), tuple(strides))

    return rebuild


def _rebuild_parameter() -> Callable[..., Any]:
    def rebuild(data: Any, *_: Any) -> Any:
        return data

    return rebuild


# Every file has its own functions, so that a pickle cannot modify shared state.
_REBUILDERS: dict[str, Callable[[], Callable[..., Any]]] = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}


def _strided(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> np.ndarray:
    """A tensor as a view of its storage; offset and strides are numbers of elements."""
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
        raise _Refused(f"describes a tensor of shape {shape} and strides {strides}: save it again")
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if last >= storage.size:
        raise _Refused(f"describes a tensor of shape {shape} outside its storage: save it again")
    size = storage.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
        storage[offset:], shape, tuple(s * size for s in strides), writeable=False
    )
