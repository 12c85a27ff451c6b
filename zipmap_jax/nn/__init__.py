"""Linen modules, each describing the mathematics of one block; they own parameters and no state."""
