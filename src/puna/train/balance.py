"""Keeping every expert at work without an auxiliary loss: a bias on the router's choice, nudged towards the idle.

After each step the bias of an expert moves by `rate * sign(mean load - its load)` and is centred [paper: DeepSeek, arXiv:2408.15664].
Llama 4's checkpoints have no such bias, so while the learning rate decays the bias is faded to zero with it and the shipped model
routes by its raw logits [ours]. Meta never published its own balancing.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from puna.model import Model
from puna.model.experts import MoE
from puna.model.router import Router


class Load(NamedTuple):
    """Over all MoE layers: normalised entropy of the load (1 = even), largest share of one expert, experts with no token."""

    entropy: float
    largest_share: float
    dead: int


def routers(model: Model) -> list[Router]:
    return [layer.feed_forward.router for layer in model.text.layers if isinstance(layer.feed_forward, MoE)]


class Balancer:
    """Counts tokens per expert during a step, and moves the biases after it. Nothing is read from a device until `load` is asked for."""

    def __init__(self, model: Model, rate: float) -> None:
        self.routers = routers(model)
        self.rate = rate
        self.counts: list[Tensor] = []  # of the last step, one [E] a router
        for router in self.routers:
            router.tokens_per_expert = torch.zeros(router.weight.shape[0], dtype=torch.int64, device=router.weight.device)

    def step(self, fade: float) -> None:
        """Nudge every bias, or shrink it by `fade` if that is below 1; start counting anew."""
        self.counts = []
        for router in self.routers:
            counts = router.tokens_per_expert
            assert counts is not None
            load = counts.float()
            bias = router.balance_bias
            if fade < 1:
                bias *= fade
            else:
                bias += self.rate * torch.sign(load.mean() - load)
                bias -= bias.mean()
            self.counts.append(counts.clone())
            counts.zero_()

    def forget(self, fade: float) -> None:
        """Start counting anew, without nudges; biases that fade go on, or a run whose last step is skipped would end with some."""
        for router in self.routers:
            assert router.tokens_per_expert is not None
            router.tokens_per_expert.zero_()
            router.balance_bias *= fade

    def load(self) -> Load:
        """How even the last step's load was."""
        if not self.counts:
            return Load(0.0, 0.0, 0)
        entropies, shares, dead = [], [], 0
        for counts in (counts.cpu() for counts in self.counts):
            share = counts.float() / counts.sum().clamp(min=1)
            entropies.append(float(-(share * share.clamp(min=1e-9).log()).sum()) / math.log(max(2, len(share))))
            shares.append(float(share.max()))
            dead += int((counts == 0).sum())
        return Load(sum(entropies) / len(entropies), max(shares), dead)
