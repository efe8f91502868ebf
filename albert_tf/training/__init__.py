"""The training loop that knows no task: step, optimizers, checkpoints, progress."""
