"""Top-1 token-choice routing: the best expert by logit, its score the sigmoid of that logit. [stated]

Training may steer the choice (never the score) by `balance_bias`, a buffer that no checkpoint format of Llama 4 knows: a recipe
must bring it back to zero before it exports, so that the shipped model routes by its raw logits.

Letters: T tokens, D model width, E experts.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Routing(NamedTuple):
    """`expert_ids` int64 `[T]`, `scores` `[T]` in the activations' dtype, `logits` `[T, E]` fp32."""

    expert_ids_T: Tensor
    scores_T: Tensor
    logits_TE: Tensor


class Router(nn.Module):
    balance_bias: Tensor

    def __init__(self, width: int, num_experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, width))
        self.register_buffer("balance_bias", torch.zeros(num_experts), persistent=False)
        self.tokens_per_expert: Tensor | None = None  # counted when a trainer or an engine sets it to zeros [E]
        self.watch: Callable[[Tensor], None] | None = None  # called with each forward's choices [T] when someone sets it

    def forward(self, x_TD: Tensor) -> Routing:
        """Choose, and count the choice."""
        routing = self.choose(x_TD)
        self.count(routing.expert_ids_T)
        return routing

    def choose(self, x_TD: Tensor) -> Routing:
        """Sigmoid in fp32, then cast [hf]: in bf16 a saturated sigmoid would make ties that the logits do not have."""
        logits_TE = nn.functional.linear(x_TD, self.weight).float()
        expert_ids_T = (logits_TE.detach() + self.balance_bias).argmax(dim=-1)
        scores_T = logits_TE.gather(1, expert_ids_T[:, None]).squeeze(1).sigmoid()
        return Routing(expert_ids_T, scores_T.to(x_TD.dtype), logits_TE)

    def count(self, expert_ids_T: Tensor) -> None:
        """Add to `tokens_per_expert`, and tell who watches, where someone asked for it."""
        if self.tokens_per_expert is not None:
            # Not bincount, which on a GPU would wait for the largest id.
            self.tokens_per_expert.scatter_add_(0, expert_ids_T, torch.ones_like(expert_ids_T))
        if self.watch is not None:
            self.watch(expert_ids_T)
