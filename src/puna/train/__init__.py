"""Training: one loop over packed batches, its optimiser, schedule, balancing, log and checkpoints. Knows nothing of HTTP."""

from puna.train.loop import Outcome, TrainingError, train
from puna.train.objective import Losses, NextToken, Objective
from puna.train.run import Run, Stage

__all__ = ["Losses", "NextToken", "Objective", "Outcome", "Run", "Stage", "TrainingError", "train"]
