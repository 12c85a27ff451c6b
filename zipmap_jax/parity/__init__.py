"""Compare this port, tensor by tensor, with arrays recorded from a PyTorch model.

    rows = zipmap_jax.parity.check("recorded.npz")
    assert all(row.ok for row in rows)

docs/parity.md describes the file format and how to record such files.
"""

from zipmap_jax.parity.check import check
from zipmap_jax.parity.report import TensorComparison

__all__ = ["TensorComparison", "check"]
