"""Weights in and out: PyTorch files, our own folders, and the tables between them."""
