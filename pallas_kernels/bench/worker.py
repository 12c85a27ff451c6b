"""The process that holds the device: reads cases from stdin, writes one JSON line for each.

    echo '[]' | python -m pallas_kernels.bench.worker 10

A kernel that corrupts or hangs the device takes this process with it and nothing else: `isolate`
goes on with a fresh one. That is why it ends after the first error of the runtime, too.
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
    """The device, and how fast it multiplies."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "kernels": is_hopper(device),
        "jax": jax.__version__,
        "peak": matmul_peak(samples),
    }


def attempt(case: Case, samples: int) -> tuple[dict[str, Any], bool]:
    """Figures of a case, or its "failure"; and whether the device can still be trusted."""
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
    """Answer what stdin asks for: a description for an empty list, else a line for each case."""
    wanted = [Case.from_dict(fields) for fields in json.load(sys.stdin)]
    if not wanted:
        print(json.dumps(describe(samples)), flush=True)
    for case in wanted:
        figures, sound = attempt(case, samples)
        print(json.dumps(figures), flush=True)
        if not sound:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
