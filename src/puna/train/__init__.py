"""Training: one loop over packed batches, its optimiser, schedule, balancing, log and checkpoints. Knows nothing of HTTP."""

from puna.train.loop import Outcome, Run, Stage, train

__all__ = ["Outcome", "Run", "Stage", "train"]
