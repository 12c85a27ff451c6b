"""The kernels compiled for an H200, which needs its plugin and ptxas but no GPU.

pip install jax-cuda13-plugin nvidia-cuda-nvcc nvidia-nvvm
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("compile_for_h200.py")


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("jax_cuda13_plugin") is None, reason="needs jax-cuda13-plugin")
@pytest.mark.parametrize("batch", [3, 12])
def test_no_spills_and_no_copies(batch: int) -> None:
    root = SCRIPT.parents[2]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(batch), "1024", "2048"],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert found["kernels"] == 15
    assert found["copies"] == 0
    # X twice in fp32 and once in bf16, A and Bm in bf16, give or take one of them.
    x, gram = batch * 1024 * 2048, batch * 1024 * 1024
    assert found["temp_bytes"] <= 2 * (4 + 2) * x + 2 * 2 * gram
    spilled = re.findall(r"(\d+) bytes spill", output)
    assert spilled, "ptxas said nothing"
    assert set(spilled) == {"0"}
