"""Comparison of this implementation with tensors recorded from the PyTorch reference.

    rows = zipmap_jax.parity.check("recorded.npz")
    assert all(row.ok for row in rows)

docs/parity.md describes the file format and the recording of such files.
"""

from zipmap_jax.parity.check import check
from zipmap_jax.parity.report import TensorComparison

__all__ = ["TensorComparison", "check"]
