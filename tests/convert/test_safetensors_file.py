from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from zipmap_jax.convert.safetensors_file import DTYPES, read_safetensors, write_safetensors

RNG = np.random.default_rng(0)
STATE: dict[str, np.ndarray] = {
    "a/b": RNG.standard_normal((3, 4), np.float32),
    "turned": RNG.standard_normal((3, 4), np.float32).T,
    "scalar": np.array(1.5, np.float32),
    "empty": np.zeros((2, 0), np.float32),
}
SHAPES = {name: array.shape for name, array in STATE.items()}


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)])
def test_round_trip(tmp_path: Path, dtype: np.dtype) -> None:
    write_safetensors(tmp_path / "x", SHAPES, STATE.items(), dtype)
    got = read_safetensors(tmp_path / "x")
    assert list(got) == list(STATE)
    for name, array in STATE.items():
        assert (got[name].dtype, got[name].shape) == (dtype, array.shape)
        assert got[name].tobytes() == array.astype(dtype).tobytes()
        assert not got[name].flags.writeable


def test_library_reads_what_we_write_and_the_reverse(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "ours", SHAPES, STATE.items(), np.dtype(np.float32))
    library = safetensors.numpy.load_file(tmp_path / "ours")
    assert {n: a.tobytes() for n, a in library.items()} == {
        n: a.tobytes() for n, a in STATE.items()
    }
    arrays = {name: np.arange(3).astype(dtype) for name, dtype in DTYPES.items() if name != "BF16"}
    safetensors.numpy.save_file(arrays, tmp_path / "theirs", metadata={"format": "np"})
    got = read_safetensors(tmp_path / "theirs")
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)
        assert got[name].dtype == array.dtype


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_truncated_file(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, SHAPES, STATE.items(), np.dtype(np.float32))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"x\.safetensors is no safetensors file.*download"):
        read_safetensors(path)


def test_unused_number_format(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"x": np.zeros(2, np.uint64)}, tmp_path / "x")
    with pytest.raises(ValueError, match="holds x as U64"):
        read_safetensors(tmp_path / "x")


def test_failure_halfway_keeps_the_old_file(tmp_path: Path) -> None:
    def leaves() -> Iterator[tuple[str, np.ndarray]]:
        yield "a/b", STATE["a/b"]
        raise OSError("the disk went away")

    (tmp_path / "x").write_text("precious")
    with pytest.raises(OSError, match="went away"):
        write_safetensors(tmp_path / "x", SHAPES, leaves(), np.dtype(np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "precious"
