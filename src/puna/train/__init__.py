"""Training: one loop over packed batches, its optimiser, schedule, balancing, log and checkpoints. Knows nothing of HTTP."""

from puna.train.guard import SpikeRule, TrainingError
from puna.train.loop import Outcome, train
from puna.train.objective import Losses, NextToken, Objective
from puna.train.run import Run, Stage

__all__ = ["Losses", "NextToken", "Objective", "Outcome", "Run", "SpikeRule", "Stage", "TrainingError", "train"]
