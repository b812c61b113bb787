"""Training: losses, schedule, loop, checkpoints."""
