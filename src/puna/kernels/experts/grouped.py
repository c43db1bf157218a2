"""Sparse expert dispatch: sort tokens by expert, one matrix product per expert and projection, put the rows back.

Two ways, one contract. `grouped_experts` calls torch's `grouped_mm` on a GPU, and on a CPU when no gradient is wanted. Training on a
CPU, and widths that it refuses, take `_SortedExperts`: its workspace gives every expert a whole number of `_ROW_STEP` rows (filled up
with rows whose outputs nobody reads), because oneDNN compiles a kernel per distinct row count and fresh counts in every step cost ten
times the product itself (`docs/log.md`).

Letters: T tokens, R workspace rows sorted by expert, D model width, F expert width, E experts.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.kernels import invariant
from puna.kernels.fusion import fusible

# Below this many rows the few experts that are used at all are run one by one: a grouped product has a fixed cost per expert.
_SMALL_T = 8
_ROW_STEP = 64
_ALIGNED_BYTES = 16  # grouped_mm refuses rows that are not a multiple of this


def grouped_experts(x_TD: Tensor, expert_ids_T: Tensor, scores_T: Tensor | None, w_gate_up_EDF: Tensor, w_down_EFD: Tensor) -> Tensor:
    """Same contract as `reference_experts`, at the cost of the selected expert only; differentiable in x, scores and weights.

    Without scores the rows of x are taken as scaled already: training does that in the fused step before.
    """
    if scores_T is not None:
        x_TD = x_TD * scores_T[:, None]
    if invariant.is_active():
        return _each_row_alone(x_TD, expert_ids_T, w_gate_up_EDF, w_down_EFD)
    if x_TD.is_cuda and _suits_grouped_mm(w_down_EFD):
        return _grouped_mm(x_TD, expert_ids_T, w_gate_up_EDF, w_down_EFD)  # differentiable there, and no count leaves the device
    if x_TD.shape[0] <= _SMALL_T and not torch.is_grad_enabled():
        return _one_by_one(x_TD, expert_ids_T, w_gate_up_EDF, w_down_EFD)
    if torch.is_grad_enabled() or not _suits_grouped_mm(w_down_EFD):
        return _SortedExperts.apply(x_TD, expert_ids_T, w_gate_up_EDF, w_down_EFD)
    return _grouped_mm(x_TD, expert_ids_T, w_gate_up_EDF, w_down_EFD)


def _grouped_mm(x_TD: Tensor, expert_ids_T: Tensor, w_gate_up_EDF: Tensor, w_down_EFD: Tensor) -> Tensor:
    order_R = torch.argsort(expert_ids_T, stable=True)
    offsets_E = torch.bincount(expert_ids_T, minlength=w_gate_up_EDF.shape[0]).cumsum(0).to(torch.int32)
    gate_RF, up_RF = F.grouped_mm(x_TD[order_R], w_gate_up_EDF, offs=offsets_E).chunk(2, dim=-1)
    y_RD = F.grouped_mm(F.silu(gate_RF) * up_RF, w_down_EFD, offs=offsets_E)
    return torch.empty_like(y_RD).index_copy(0, order_R, y_RD)


def _suits_grouped_mm(w_down_EFD: Tensor) -> bool:
    return all(width * w_down_EFD.element_size() % _ALIGNED_BYTES == 0 for width in w_down_EFD.shape[1:])


def _one_by_one(x_TD: Tensor, expert_ids_T: Tensor, w_gate_up_EDF: Tensor, w_down_EFD: Tensor) -> Tensor:
    rows = []
    for t, expert in enumerate(expert_ids_T.tolist()):
        gate, up = (x_TD[t] @ w_gate_up_EDF[expert]).chunk(2)
        rows.append((F.silu(gate) * up) @ w_down_EFD[expert])
    return torch.stack(rows) if rows else torch.empty_like(x_TD)


def _each_row_alone(x_TD: Tensor, expert_ids_T: Tensor, w_gate_up_EDF: Tensor, w_down_EFD: Tensor) -> Tensor:
    """For `batch_invariant()`: a row's result does not depend on how many rows chose its expert."""
    order_R = torch.argsort(expert_ids_T, stable=True)
    counts_E = torch.bincount(expert_ids_T, minlength=w_gate_up_EDF.shape[0])
    x_RD = x_TD[order_R]
    y_RD = torch.empty_like(x_RD)
    for e, rows in _used([0, *counts_E.cumsum(0).tolist()]):
        gate, up = invariant.multiply_rows(x_RD[rows], w_gate_up_EDF[e]).chunk(2, dim=-1)
        y_RD[rows] = invariant.multiply_rows(F.silu(gate) * up, w_down_EFD[e])
    return torch.empty_like(y_RD).index_copy(0, order_R, y_RD)


def _places(expert_ids_T: Tensor, num_experts: int) -> tuple[Tensor, list[int]]:
    """The workspace row of each token, and the first workspace row of each expert (with the end as a last entry)."""
    counts_E = torch.bincount(expert_ids_T, minlength=num_experts)
    padded_E = (counts_E + _ROW_STEP - 1) // _ROW_STEP * _ROW_STEP
    edges_E = padded_E.cumsum(0)
    order_T = torch.argsort(expert_ids_T, stable=True)
    shift_E = (edges_E - padded_E) - (counts_E.cumsum(0) - counts_E)
    rank_T = torch.arange(len(order_T), device=order_T.device)
    place_T = torch.empty_like(order_T).index_copy_(0, order_T, rank_T + shift_E[expert_ids_T[order_T]])
    return place_T, [0, *edges_E.tolist()]


class _SortedExperts(torch.autograd.Function):
    """SwiGLU of the row's expert, forward and backward, over the padded workspace."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, expert_ids_T: Tensor, w_gate_up_EDF: Tensor, w_down_EFD: Tensor) -> Tensor:
        place_T, edges = _places(expert_ids_T, w_gate_up_EDF.shape[0])
        # Rows that fill up an expert's part are copies of the first token: finite, and their gradients below are zero.
        token_R = place_T.new_zeros(edges[-1]).index_copy_(0, place_T, torch.arange(len(x_TD), device=x_TD.device))
        x_RD = x_TD.index_select(0, token_R)
        h_RF = x_TD.new_empty(edges[-1], w_gate_up_EDF.shape[2])
        y_RD = torch.empty_like(x_RD)
        for e, rows in _used(edges):
            torch.mm(x_RD[rows], w_gate_up_EDF[e], out=h_RF[rows])
        gate_RF, up_RF = h_RF.chunk(2, dim=-1)
        act_RF = _swiglu(gate_RF, up_RF)
        for e, rows in _used(edges):
            torch.mm(act_RF[rows], w_down_EFD[e], out=y_RD[rows])
        ctx.save_for_backward(x_RD, h_RF, act_RF, place_T, w_gate_up_EDF, w_down_EFD)
        ctx.edges = edges
        return y_RD.index_select(0, place_T)

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        x_RD, h_RF, act_RF, place_T, w_gate_up_EDF, w_down_EFD = ctx.saved_tensors
        d_y_RD = torch.zeros_like(x_RD).index_copy_(0, place_T, grad_TD)
        d_act_RF, d_x_RD = torch.empty_like(act_RF), torch.empty_like(x_RD)
        d_gate_up_EDF, d_down_EFD = torch.zeros_like(w_gate_up_EDF), torch.zeros_like(w_down_EFD)
        for e, rows in _used(ctx.edges):
            torch.mm(d_y_RD[rows], w_down_EFD[e].T, out=d_act_RF[rows])
            torch.mm(act_RF[rows].T, d_y_RD[rows], out=d_down_EFD[e])
        d_h_RF = _swiglu_backward(d_act_RF, *h_RF.chunk(2, dim=-1))
        for e, rows in _used(ctx.edges):
            torch.mm(d_h_RF[rows], w_gate_up_EDF[e].T, out=d_x_RD[rows])
            torch.mm(x_RD[rows].T, d_h_RF[rows], out=d_gate_up_EDF[e])
        return d_x_RD.index_select(0, place_T), None, d_gate_up_EDF, d_down_EFD


@fusible(symbolic_shapes=True)
def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return (F.silu(gate.float()) * up).to(gate.dtype)


@fusible(symbolic_shapes=True)
def _swiglu_backward(d_act: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    """Gradient of `[gate, up]` side by side."""
    sigmoid = gate.float().sigmoid()
    d_gate = d_act * up * (sigmoid * (1 + gate * (1 - sigmoid)))
    return torch.cat((d_gate, d_act * (gate * sigmoid)), dim=-1).to(gate.dtype)


def _used(edges: list[int]) -> list[tuple[int, slice]]:
    """Experts that have rows, each with its slice of the workspace."""
    return [(e, slice(first, last)) for e, (first, last) in enumerate(zip(edges, edges[1:], strict=False)) if last > first]
