"""Training: paths, one step, the loop around it, checkpoints, evaluation."""
