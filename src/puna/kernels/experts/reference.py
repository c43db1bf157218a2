"""The specification of routed experts: every expert runs on every row, rows of other experts scaled to zero.

An all-zero input gives an all-zero SwiGLU output, so the sum over experts equals sparse dispatch [stated: Meta's reference].
Letters: T tokens, D model width, F expert width, E experts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def reference_experts(x_TD: Tensor, expert_ids_T: Tensor, scores_T: Tensor, w_gate_up_EDF: Tensor, w_down_EFD: Tensor) -> Tensor:
    """`Expert_e(score * x)` for each token's expert e. The score multiplies the *input*, so it passes through SwiGLU.

    `w_gate_up` is `[E, D, 2F]`: the gate's columns, then the up projection's. Returns `[T, D]` in x's dtype.
    """
    out_TD = torch.zeros_like(x_TD, dtype=torch.float32)
    for expert in range(w_gate_up_EDF.shape[0]):
        scaled_TD = x_TD.float() * torch.where(expert_ids_T == expert, scores_T.float(), 0.0)[:, None]
        gate, up = (scaled_TD @ w_gate_up_EDF[expert].float()).chunk(2, dim=-1)
        out_TD = out_TD + (F.silu(gate) * up) @ w_down_EFD[expert].float()
    return out_TD.to(x_TD.dtype)
