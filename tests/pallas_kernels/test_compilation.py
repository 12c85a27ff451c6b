"""The kernels compiled for an H200, which needs its plugin and ptxas but no GPU.

pip install jax-cuda13-plugin nvidia-cuda-nvcc nvidia-nvvm
"""

from __future__ import annotations

from importlib import util

import pytest

from pallas_kernels.h200 import compiled_kernels, main


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("jax_cuda13_plugin") is None, reason="needs jax-cuda13-plugin")
@pytest.mark.parametrize("batch", [3, 12])
def test_no_spills_and_no_copies(batch: int) -> None:
    found = compiled_kernels(batch, 1024, 2048)
    assert found.kernels == 15
    assert (found.copies, found.spilled_bytes) == (0, 0)
    assert 0 < found.registers < 255
    # X twice in fp32 and once in bf16, A and Bm in bf16, give or take one of them.
    x, gram = batch * 1024 * 2048, batch * 1024 * 1024
    assert found.temporary_bytes <= 2 * (4 + 2) * x + 2 * 2 * gram


@pytest.mark.skipif(util.find_spec("jax_cuda13_plugin") is not None, reason="the compiler is here")
def test_without_the_compiler_the_reason_is_told() -> None:
    with pytest.raises(RuntimeError, match=r"kernels of 3x128x256 did not compile: .+"):
        compiled_kernels(3, 128, 256)


def test_a_shape_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--shape", "large"])
    assert ended.value.code == 2
    text = "--shape large is not BATCHxROWSxCOLUMNS: use for example 3x1024x2048"
    assert text in capsys.readouterr().err
