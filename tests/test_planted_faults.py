"""The planted faults fit the code; `python -m tools.planted_faults` runs their tests."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tools.planted_faults.faults import FAULTS, Fault

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.about)
def test_a_fault_can_be_planted_and_names_a_test(fault: Fault, tmp_path: Path) -> None:
    copy = tmp_path / fault.file
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / fault.file, copy)
    fault.plant(tmp_path)
    assert copy.read_text("utf-8") != (ROOT / fault.file).read_text("utf-8")
    if copy.suffix == ".py":
        compile(copy.read_text("utf-8"), str(copy), "exec")
    file, name = fault.test.split("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8"), re.M), fault.test
    with pytest.raises(ValueError, match="not 1"):
        fault.plant(tmp_path)
