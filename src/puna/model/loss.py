"""Next-token cross-entropy that never holds `[T, V]` logits: the head is applied, scored and differentiated chunk by chunk.

Letters: T tokens, D model width, V vocabulary.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK_T = 256  # a chunk's fp32 logits stay in cache


class Loss(NamedTuple):
    """`total` is what to differentiate (mean cross-entropy + z-loss); `cross_entropy_T` is per token, detached, 0 where not scored."""

    total: Tensor
    cross_entropy_T: Tensor


def reference_loss(hidden_TD: Tensor, head_VD: Tensor, targets_T: Tensor, weights_T: Tensor, z_loss: float = 0.0) -> Loss:
    """The specification: all logits at once, fp32. `weights_T` are 0 for tokens that are not scored."""
    logits_TV = hidden_TD.float() @ head_VD.float().T
    cross_entropy_T = F.cross_entropy(logits_TV, targets_T, reduction="none")
    penalty_T = z_loss * logits_TV.logsumexp(-1).square()
    total = ((cross_entropy_T + penalty_T) * weights_T).sum() / weights_T.sum().clamp(min=1e-9)
    return Loss(total, (cross_entropy_T * (weights_T > 0)).detach())


def next_token_loss(hidden_TD: Tensor, head_VD: Tensor, targets_T: Tensor, weights_T: Tensor, z_loss: float = 0.0) -> Loss:
    """Same as `reference_loss`, in chunks; products in hidden's dtype (bf16 in training), sums in fp32."""
    total, cross_entropy_T = _ChunkedLoss.apply(hidden_TD, head_VD, targets_T, weights_T, z_loss)
    return Loss(total, cross_entropy_T)


class _ChunkedLoss(torch.autograd.Function):
    """Gradients are made in the forward pass, while a chunk's logits are at hand: one pass over the vocabulary, not two."""

    @staticmethod
    def forward(ctx: Any, hidden_TD: Tensor, head_VD: Tensor, targets_T: Tensor, weights_T: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
        head_low_VD = head_VD.to(hidden_TD.dtype)
        grad_hidden_TD = torch.zeros_like(hidden_TD)
        grad_head_VD = torch.zeros_like(head_VD, dtype=torch.float32)
        cross_entropy_T = torch.zeros(hidden_TD.shape[0], device=hidden_TD.device)
        norm = weights_T.sum().clamp(min=1e-9)
        total = torch.zeros((), device=hidden_TD.device)
        scored = weights_T.nonzero().squeeze(1)  # unscored rows cost nothing
        for rows in scored.split(_CHUNK_T):
            h_RD, target_R, weight_R = hidden_TD[rows], targets_T[rows], weights_T[rows] / norm
            logits_RV = (h_RD @ head_low_VD.T).float()
            gold_R = logits_RV.gather(1, target_R[:, None]).squeeze(1)
            top_R = logits_RV.amax(-1)
            p_RV = logits_RV.sub_(top_R[:, None]).exp_()
            sum_R = p_RV.sum(-1)
            lse_R = sum_R.log() + top_R
            loss_R = lse_R - gold_R
            cross_entropy_T[rows] = loss_R
            total += ((loss_R + z_loss * lse_R.square()) * weight_R).sum()
            scale_R = weight_R * (1 + 2 * z_loss * lse_R) / sum_R
            grad_RV = p_RV.mul_(scale_R[:, None])
            grad_RV[torch.arange(len(rows), device=rows.device), target_R] -= weight_R
            grad_low_RV = grad_RV.to(hidden_TD.dtype)
            grad_hidden_TD[rows] = grad_low_RV @ head_low_VD
            grad_head_VD += grad_low_RV.T @ h_RD
        ctx.save_for_backward(grad_hidden_TD, grad_head_VD.to(head_VD.dtype))
        ctx.mark_non_differentiable(cross_entropy_T)
        return total, cross_entropy_T

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden_TD, grad_head_VD = ctx.saved_tensors
        return grad_hidden_TD * grad_total, grad_head_VD * grad_total, None, None, None
