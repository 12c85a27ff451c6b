"""Speed and error of every operation in every implementation: `python -m pallas_kernels.bench`."""
