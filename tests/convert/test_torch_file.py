from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from zipmap_jax.convert.torch_file import read_torch
from zipmap_jax.errors import UserError

RECORDED = Path(__file__).parent / "recorded"
BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
TENSORS: dict[str, np.ndarray] = {
    "base": BASE,
    "transposed": BASE.T,
    "slice": BASE[1:3, ::2],
    "expanded": np.ones((4, 3), np.float32),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "parameter": BASE[:1] + 1,
    "bfloat16": (np.arange(5) / 4).astype(ml_dtypes.bfloat16),
    "float16": (np.arange(5) / 4).astype(np.float16),
    "float64": np.arange(5) / 3,
    "int64": np.arange(5),
    "uint8": np.arange(5, dtype=np.uint8),
    "bool": np.array([True, False]),
}


def write_archive(
    path: Path, description: bytes, storages: dict[str, bytes] | None = None, compress: bool = False
) -> Path:
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("archive/data.pkl", description)
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def tensor_pickle(
    shape: str = "K\x02", strides: str = "K\x01", offset: str = "K\x00", count: str = "K\x02"
) -> bytes:
    """{"x": a float tensor over storage 0}, with single opcodes replaced."""
    return (
        "\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n("
        "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        f"{count}tQ{offset}({shape}t({strides}t\x89}}tRs."
    ).encode("latin-1")


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return read_torch(RECORDED / "tensors.pt")


@pytest.mark.parametrize("name", TENSORS)
def test_every_kind_of_tensor(tensors: dict[str, np.ndarray], name: str) -> None:
    got, expected = tensors[name], TENSORS[name]
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


def test_tensors_are_read_only_views_of_the_mapped_file(tensors: dict[str, np.ndarray]) -> None:
    assert tensors.keys() == TENSORS.keys()
    assert np.shares_memory(tensors["base"], tensors["transposed"])
    with pytest.raises(ValueError, match="read-only"):
        tensors["base"][0, 0] = 1


def test_training_checkpoint_with_unknown_classes() -> None:
    model, ema = (read_torch(RECORDED / "training.pt", ema=ema) for ema in (False, True))
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(model["weight"], weight)
    np.testing.assert_array_equal(ema["weight"], 2 * weight)
    assert model.keys() == ema.keys() == {"weight", "bias"}


def test_hand_written_archive_is_valid(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.pt", tensor_pickle(), {"0": np.float32([1, 2]).tobytes()})
    np.testing.assert_array_equal(read_torch(path)["x"], [1, 2])


def test_absent_averaged_weights() -> None:
    with pytest.raises(ValueError, match=r"no entry 'ema'.*it has base, transposed"):
        read_torch(RECORDED / "tensors.pt", ema=True)


class Attack:
    """Ordinary unpickling of this object would create a file."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


@pytest.mark.parametrize("place", ["top", "tensor", "model", "optimizer"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("call", "arguments", "named"),
    [
        (os.system, ("touch {}",), "system"),
        (eval, ("open({!r}, 'w')",), "builtins.eval|__builtin__.eval"),
        (exec, ("open({!r}, 'w')",), "builtins.exec|__builtin__.exec"),
        (open, ("{}", "w"), "io.open"),
        (os.mkdir, ("{}",), "mkdir"),
    ],
    ids=["os.system", "eval", "exec", "open", "mkdir"],
)
def test_attacks_are_refused_by_name_and_without_effect(
    tmp_path: Path,
    place: str,
    protocol: int,
    call: Callable[..., Any],
    arguments: tuple[str, ...],
    named: str,
) -> None:
    marker = tmp_path / "marker"
    attack = Attack(call, *(text.format(str(marker)) for text in arguments))
    content = {
        "top": attack,
        "tensor": {"x": attack},
        "model": {"model": attack},
        "optimizer": {"model": {}, "optimizer": {"state": [attack]}},
    }[place]
    path = write_archive(tmp_path / "x.pt", pickle.dumps(content, protocol))
    with pytest.raises(ValueError, match=f"x.pt names .*({named}).*nothing was executed"):
        read_torch(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("torch._utils\n_rebuild_qtensor", "torch._utils._rebuild_qtensor under 'x'"),
        ("torch\nload", "torch.load under 'x'"),
        ("torch.hub\nload", "torch.hub.load under 'x'"),
        ("numpy\nload", "numpy.load under 'x'"),
        ("zipmap_jax.convert\nload", "zipmap_jax.convert.load under 'x'"),
        ("builtins\ngetattr", "names builtins.getattr"),
        ("subprocess\nrun", "names subprocess.run"),
        ("os.path\njoin", "names os.path.join"),
        ("importlib.util\nfind_spec", "names importlib.util.find_spec"),
    ],
)
def test_unknown_callables_are_not_called(tmp_path: Path, name: str, refused: str) -> None:
    description = f"\x80\x02}}X\x01\x00\x00\x00xc{name}\n(X\x01\x00\x00\x00atRs."
    path = write_archive(tmp_path / "x.pt", description.encode("latin-1"))
    with pytest.raises(ValueError, match=refused.replace(".", r"\.")):
        read_torch(path)


def test_a_pickle_has_no_lasting_effect(tmp_path: Path) -> None:
    # BUILD on the function that rebuilds tensors: sets its attribute `__doc__` to "a".
    description = (
        b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n"
        b"}X\x07\x00\x00\x00__doc__X\x01\x00\x00\x00asbs."
    )
    with pytest.raises(ValueError, match="holds function under 'x'"):
        read_torch(write_archive(tmp_path / "x.pt", description))
    assert read_torch(RECORDED / "tensors.pt").keys() == TENSORS.keys()
    from zipmap_jax.convert import torch_file

    assert torch_file._resolve("torch._utils", "_rebuild_tensor_v2").__doc__ is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": "K\x03"}, "outside its storage"),
        ({"strides": "K\x05"}, "outside its storage"),
        ({"offset": "K\x01"}, "outside its storage"),
        ({"count": "K\x07"}, "too few bytes"),
        ({"strides": "J\xff\xff\xff\xff"}, "strides"),
        ({"offset": "J\xff\xff\xff\xff"}, "describes a tensor"),
        ({"shape": "K\x01K\x02"}, "describes a tensor"),
        ({"shape": "X\x01\x00\x00\x00a"}, "describes a tensor"),
    ],
)
def test_tensors_outside_their_storage(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    path = write_archive(tmp_path / "x.pt", tensor_pickle(**change), {"0": bytes(8)})
    with pytest.raises(ValueError, match=message):
        read_torch(path)


def test_missing_storage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks the storage data/0"):
        read_torch(write_archive(tmp_path / "x.pt", tensor_pickle()))


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.95])
def test_truncated_file(tmp_path: Path, keep: float) -> None:
    data = (RECORDED / "tensors.pt").read_bytes()
    path = tmp_path / "x.pt"
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ValueError, match=r"x\.pt is truncated or damaged"):
        read_torch(path)


def test_damaged_pickle(tmp_path: Path) -> None:
    for description in (b"", b"\x80\x02}(", b"\x80\x02K", b"hello", b"\x80\x02)R."):
        with pytest.raises(ValueError, match=r"is damaged|holds"):
            read_torch(write_archive(tmp_path / "x.pt", description))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"epoch 3, loss 0.2\n", "no PyTorch checkpoint"),
        (b"<!doctype html><title>404</title>", "no PyTorch checkpoint"),
        (pickle.dumps({"x": 1}), "bare pickle"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_torch(path)


def test_legacy_format() -> None:
    with pytest.raises(ValueError, match=r"legacy format.*save it again"):
        read_torch(RECORDED / "legacy.pt")


def test_compressed_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.pt", tensor_pickle(), {"0": bytes(8)}, compress=True)
    with pytest.raises(ValueError, match="compressed zip"):
        read_torch(path)


def test_zip_file_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("photos/a.txt", "a")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        read_torch(tmp_path / "x.pt")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_members(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.pt", tensor_pickle(), {"0": bytes(8)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(8))
    with pytest.raises(ValueError, match="archive/data/0 twice"):
        read_torch(path)


def test_big_endian_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.pt", tensor_pickle(), {"0": bytes(8)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(ValueError, match="big-endian"):
        read_torch(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "holds list"), ({"model": {}}, "empty"), ({"epoch": 3}, "int under 'epoch'")],
)
def test_not_a_state_dict(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_torch(write_archive(tmp_path / "x.pt", pickle.dumps(content, 2)))


def wrapped(*keys: str, beside: tuple[str, ...] = ()) -> bytes:
    """The dictionary of `tensor_pickle` under one key after the other, with others beside it."""
    inner = tensor_pickle()[2:-1]

    def entry(key: str, value: bytes) -> bytes:
        return b"X" + len(key).to_bytes(4, "little") + key.encode() + value + b"s"

    content = inner
    for key in reversed(keys):
        content = b"}" + entry(key, content)
    content += b"".join(entry(key, inner) for key in beside) + entry("epoch", b"K\x03")
    return b"\x80\x02" + content + b"."


@pytest.mark.parametrize(
    "keys",
    [("model",), ("state_dict",), ("model_state_dict",), ("module",), ("model", "state_dict")],
)
def test_state_dicts_inside_containers(tmp_path: Path, keys: tuple[str, ...]) -> None:
    data = np.array([1.5, -2], np.float32)
    beside = ("optimizer",)
    path = write_archive(tmp_path / "x.pt", wrapped(*keys, beside=beside), {"0": data.tobytes()})
    state = read_torch(path)
    assert state.keys() == {"x"}
    np.testing.assert_array_equal(state["x"], data)


@pytest.mark.parametrize(
    ("keys", "beside", "message"),
    [
        (("model",), ("state_dict",), "state dicts under model and state_dict: save only one"),
        (("ema",), (), "no entry 'model'.*it has ema, epoch.*with ema"),
        (("optimizer",), (), "holds dict under 'optimizer' where a tensor belongs"),
    ],
)
def test_containers_without_one_state_dict(
    tmp_path: Path, keys: tuple[str, ...], beside: tuple[str, ...], message: str
) -> None:
    path = write_archive(tmp_path / "x.pt", wrapped(*keys, beside=beside), {"0": bytes(8)})
    with pytest.raises(UserError, match=message):
        read_torch(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_torch(tmp_path / "x.pt")


def test_mapping_survives_the_removal_of_the_file(tmp_path: Path) -> None:
    path = shutil.copy(RECORDED / "tensors.pt", tmp_path / "x.pt")
    state = read_torch(path)
    os.unlink(path)
    np.testing.assert_array_equal(state["base"], BASE)
