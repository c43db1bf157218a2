"""SwiGLU: the dense layers of Maverick, and the shared expert of every MoE layer."""

import torch.nn.functional as F
from torch import Tensor, nn

from puna.model.joined import joined_linear


class FeedForward(nn.Module):
    """`w_down(silu(w_gate x) * w_up x)`, no biases."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.w_gate = nn.Linear(width, hidden_width, bias=False)
        self.w_up = nn.Linear(width, hidden_width, bias=False)
        self.w_down = nn.Linear(hidden_width, width, bias=False)

    def forward(self, x_TD: Tensor) -> Tensor:
        gate_TF, up_TF = joined_linear(x_TD, self.w_gate, self.w_up)
        return self.w_down(F.silu(gate_TF) * up_TF)
