"""Worker process of the benchmark: reads cases from stdin and writes one JSON line per case.

    echo '[]' | python -m pallas_kernels.bench.worker 10

A kernel that corrupts or blocks the device affects this process only, and `isolate` continues with
a new one. The worker therefore also ends after the first error of the JAX runtime.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jax

from pallas_kernels.bench.cases import Case
from pallas_kernels.bench.run import run
from pallas_kernels.bench.timing import matmul_peak
from pallas_kernels.dispatch import is_hopper


def describe(samples: int) -> dict[str, Any]:
    """Description of the default device.

    Args:
      samples: timed samples of the matmul rate.

    Returns:
      "device", "platform", "kernels" (whether Pallas kernels run), "jax", and "peak".
    """
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "kernels": is_hopper(device),
        "jax": jax.__version__,
        "peak": matmul_peak(samples),
    }


def attempt(case: Case, samples: int) -> tuple[dict[str, Any], bool]:
    """Measures a case.

    Args:
      case: the case.
      samples: timed samples.

    Returns:
      Figures of the case, or its "failure", and whether the device is still usable.
    """
    try:
        return run(case, samples), True
    except jax.errors.JaxRuntimeError as error:
        return {"failure": _first_line(error)}, False
    except Exception as error:
        return {"failure": _first_line(error)}, True


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


def main(samples: int) -> None:
    """Prints one JSON line per case of stdin, or the description of the device for no case.

    Args:
      samples: timed samples.
    """
    cases = [Case.from_dict(fields) for fields in json.load(sys.stdin)]
    if not cases:
        print(json.dumps(describe(samples)), flush=True)
    for case in cases:
        figures, usable = attempt(case, samples)
        print(json.dumps(figures), flush=True)
        if not usable:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
