"""Training: one loop over packed batches, its optimiser, schedule, balancing, log and checkpoints. Knows nothing of HTTP."""

from puna.train.loop import Run, Stage, train

__all__ = ["Run", "Stage", "train"]
