"""Training: configuration, optimiser, step, loop, checkpoints."""
