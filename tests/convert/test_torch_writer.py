from __future__ import annotations

import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from zipmap_jax.convert.torch_file import read_torch
from zipmap_jax.convert.torch_writer import write_torch

RNG = np.random.default_rng(0)
STATE: dict[str, np.ndarray] = {
    "matrix": RNG.standard_normal((3, 4), np.float32),
    "transposed": RNG.standard_normal((3, 4), np.float32).T,
    "broadcast": np.broadcast_to(np.float32(2), (2, 3)),
    "scalar": np.array(1.5),
    "empty": np.zeros((2, 0, 3), np.float32),
    "half": RNG.standard_normal(5).astype(np.float16),
    "brain": RNG.standard_normal(5).astype(ml_dtypes.bfloat16),
    "number": np.arange(300),
    "flag": np.array([True, False, True]),
    "naïve.0": np.ones(1, np.float32),
}


def test_round_trip(tmp_path: Path) -> None:
    write_torch(tmp_path / "x.pt", STATE)
    got = read_torch(tmp_path / "x.pt")
    assert list(got) == list(STATE)
    for name, array in STATE.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        assert got[name].tobytes() == array.tobytes()


def test_cast(tmp_path: Path) -> None:
    state = {name: STATE[name] for name in ("matrix", "transposed", "empty")}
    write_torch(tmp_path / "x.pt", state, dtype=np.dtype(ml_dtypes.bfloat16))
    got = read_torch(tmp_path / "x.pt")
    assert {a.dtype for a in got.values()} == {np.dtype(ml_dtypes.bfloat16)}
    np.testing.assert_array_equal(got["matrix"], STATE["matrix"].astype(ml_dtypes.bfloat16))


def test_storages_are_aligned_as_pytorch_aligns_them(tmp_path: Path) -> None:
    write_torch(tmp_path / "x.pt", STATE)
    for array in read_torch(tmp_path / "x.pt").values():
        assert array.size == 0 or array.ctypes.data % 64 == 0
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert archive.testzip() is None
        assert archive.read("x/byteorder") == b"little"


def test_unwritable_dtype_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text("precious")
    with pytest.raises(ValueError, match="x has dtype uint32"):
        write_torch(tmp_path / "x.pt", {"x": np.zeros(1, np.uint32)})
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
    assert (tmp_path / "x.pt").read_text() == "precious"


def test_failure_halfway_leaves_nothing(tmp_path: Path) -> None:
    class State(dict[str, np.ndarray]):
        def values(self) -> object:  # read last
            raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        write_torch(tmp_path / "x.pt", State(STATE))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pytorch_reads_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    write_torch(tmp_path / "x.pt", STATE)
    got = torch.load(tmp_path / "x.pt", weights_only=True)["model"]
    assert list(got) == list(STATE)
    for name, array in STATE.items():
        np.testing.assert_array_equal(got[name].double().numpy(), array.astype(np.float64))
