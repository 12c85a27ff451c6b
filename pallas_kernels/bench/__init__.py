"""Benchmark of all operations and implementations: `python -m pallas_kernels.bench`."""
