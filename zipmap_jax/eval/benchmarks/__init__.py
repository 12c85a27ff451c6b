"""Benchmarks, one module per protocol."""
