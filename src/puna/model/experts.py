"""A mixture-of-experts layer: `Shared(x) + Expert_e(sigmoid(g_e) * x)`, e the router's choice. [stated]

Letters: T tokens, D model width, F expert width, E experts.
"""

import torch
from torch import Tensor, nn

from puna.config import ModelConfig
from puna.kernels.experts import grouped_experts
from puna.model.feed_forward import FeedForward
from puna.model.router import Router


class Experts(nn.Module):
    """The routed experts' weights, input-major as Hugging Face stores them: used as `x @ w`, gate columns before up columns."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.w_gate_up = nn.Parameter(torch.empty(config.num_experts, config.width, 2 * config.expert_width))
        self.w_down = nn.Parameter(torch.empty(config.num_experts, config.expert_width, config.width))

    def forward(self, scaled_TD: Tensor, expert_ids_T: Tensor) -> Tensor:
        """Each token's expert on its row."""
        weights = self.w_gate_up.to(scaled_TD.dtype), self.w_down.to(scaled_TD.dtype)
        return grouped_experts(scaled_TD, expert_ids_T, None, *weights)


class MoE(nn.Module):
    """Router, routed experts and the shared expert, which reads the unscaled x."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.router = Router(config.width, config.num_experts)
        self.experts = Experts(config)
        self.shared = FeedForward(config.width, config.expert_width)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.route(*self.prepare(x_TD))

    def prepare(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All that comes before the routed experts: x scaled by the router's scores, its choices, and the shared expert's output."""
        routing = self.router.choose(x_TD)
        if torch.is_autocast_enabled(x_TD.device.type):  # autocast does not know grouped products
            x_TD = x_TD.to(torch.get_autocast_dtype(x_TD.device.type))
        return x_TD * routing.scores_T.to(x_TD.dtype)[:, None], routing.expert_ids_T, self.shared(x_TD)

    def route(self, scaled_TD: Tensor, expert_ids_T: Tensor, shared_TD: Tensor) -> Tensor:
        """The sum of the shared expert's output and the chosen expert's."""
        self.router.count(expert_ids_T)
        return shared_TD + self.experts(scaled_TD, expert_ids_T)
