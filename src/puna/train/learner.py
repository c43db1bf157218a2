"""A model in training with what trains it: its optimisers, its clipping, and the balance of its experts.

A run has one learner, or several that see the same batches. They share nothing but the batch and the schedule.
"""

import torch
from torch import Tensor

from puna.config import ModelConfig
from puna.model import Model
from puna.model.init import initialize
from puna.train.balance import Balancer
from puna.train.optimizer import build_optimizers, step_at
from puna.train.run import Run


class Learner:
    """Fresh weights from the run's seed, on its device; gradients come from outside, `update` uses them up."""

    def __init__(self, config: ModelConfig, run: Run) -> None:
        # Filled on the CPU: the same weights whatever the device.
        self.model = initialize(Model(config), torch.Generator().manual_seed(run.seed)).to(run.device).train()
        self.optimizers = build_optimizers(self.model, run.lr, run.weight_decay, run.optimizer)
        self.balancer = Balancer(self.model, run.balance_rate)

    def clip(self, norm: float) -> Tensor:
        """Scale the gradients down to `norm`; returns the norm they had, a number on the model's device."""
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), norm)

    def update(self, rate: float, fade: float) -> None:
        """One optimiser step at `rate` times the peak learning rate, then the balance (see `Balancer.step`)."""
        step_at(self.optimizers, rate)
        self.balancer.step(fade)

    def forget(self, fade: float) -> None:
        """Drop the gradients and the counts of a step without using them; `fade` as in `update`."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.balancer.forget(fade)
