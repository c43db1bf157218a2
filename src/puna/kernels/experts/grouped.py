"""Sparse expert dispatch: sort tokens by expert, one grouped matrix product per projection, put the rows back.

Letters: T tokens, R routed rows (= T, sorted by expert), D model width, F expert width, E experts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Below this many rows the few experts that are used at all are run one by one: a grouped product has a fixed cost per expert.
_SMALL_T = 8


def grouped_experts(x_TD: Tensor, expert_ids_T: Tensor, scores_T: Tensor, w_gate_up_EDF: Tensor, w_down_EFD: Tensor) -> Tensor:
    """Same contract as `reference_experts`, at the cost of the selected expert only; differentiable in x, scores and weights."""
    if x_TD.shape[0] <= _SMALL_T:
        return _one_by_one(x_TD, expert_ids_T, scores_T, w_gate_up_EDF, w_down_EFD)
    order_R = torch.argsort(expert_ids_T, stable=True)
    counts_E = torch.bincount(expert_ids_T, minlength=w_gate_up_EDF.shape[0])
    offsets_E = counts_E.cumsum(0).to(torch.int32)
    x_RD = x_TD[order_R] * scores_T[order_R, None]
    gate_RF, up_RF = F.grouped_mm(x_RD, w_gate_up_EDF, offs=offsets_E).chunk(2, dim=-1)
    y_RD = F.grouped_mm(F.silu(gate_RF) * up_RF, w_down_EFD, offs=offsets_E)
    return torch.empty_like(y_RD).index_copy(0, order_R, y_RD)


def _one_by_one(x_TD: Tensor, expert_ids_T: Tensor, scores_T: Tensor, w_gate_up_EDF: Tensor, w_down_EFD: Tensor) -> Tensor:
    rows = []
    for t, expert in enumerate(expert_ids_T.tolist()):
        gate, up = ((x_TD[t] * scores_T[t]) @ w_gate_up_EDF[expert]).chunk(2)
        rows.append((F.silu(gate) * up) @ w_down_EFD[expert])
    return torch.stack(rows) if rows else torch.empty_like(x_TD)
