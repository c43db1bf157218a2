"""Next-token cross-entropy that never holds `[T, V]` logits: the head is applied, scored and differentiated chunk by chunk.

A chunk may be scored against soft targets as well, another model's probabilities: see `puna.train.distill`.

Letters: T tokens, R rows of one chunk (the scored ones), D model width, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.kernels.fusion import fusible

_CHUNK_T = 512  # a chunk's bf16 logits stay in a CPU's cache
_CHUNK_T_GPU = 8192  # where launching kernels costs more than missing a cache
_ROW_STEP = 64  # the last chunk is filled up to a multiple of this: few distinct shapes reach the matrix products (`docs/log.md`)


class Chunk(NamedTuple):
    """Rows of the batch that are scored together `[R]`: the first `real` are distinct, the others are filling and weigh nothing."""

    rows: Tensor
    real: int


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
    head = HeadLoss(hidden_TD, head_VD, weights_T, z_loss)
    for chunk in scored_chunks(weights_T):
        head.add(chunk, targets_T[chunk.rows])
    return head.loss()


def chunk_size(like: Tensor) -> int:
    """The most rows that are scored together on the tensor's device."""
    return _CHUNK_T if like.device.type == "cpu" else _CHUNK_T_GPU


def scored_chunks(weights_T: Tensor) -> list[Chunk]:
    """The scored tokens, a chunk at a time: tokens of weight zero cost nothing. Sizes are multiples of `_ROW_STEP`."""
    chunks = []
    for rows in weights_T.nonzero().squeeze(1).split(chunk_size(weights_T)):
        surplus = -len(rows) % _ROW_STEP
        chunks.append(Chunk(torch.cat((rows, rows[:1].expand(surplus))), len(rows)))
    return chunks


@fusible(symbolic_shapes=True)
def log_sum(logits_RV: Tensor) -> Tensor:
    """`logsumexp` `[R]` in fp32. (torch's own compiles to scalar code.)"""
    x_RV = logits_RV.float()
    top_R1 = x_RV.amax(-1, keepdim=True)
    return ((x_RV - top_R1).exp().sum(-1, keepdim=True).log() + top_R1).squeeze(1)


@fusible(symbolic_shapes=True)
def divergence(soft_RV: Tensor, soft_lse_R: Tensor, logits_RV: Tensor, lse_R: Tensor) -> Tensor:
    """KL(softmax(soft) || softmax(logits)) `[R]`, fp32."""
    soft_log_p_RV = soft_RV.float() - soft_lse_R[:, None]
    return (soft_log_p_RV.exp() * (soft_log_p_RV - (logits_RV.float() - lse_R[:, None]))).sum(-1)


@fusible(symbolic_shapes=True)
def hard_gradient_(logits_RV: Tensor, lse_R: Tensor, targets_R: Tensor, all_R: Tensor, gold_R: Tensor) -> Tensor:
    """`all * softmax(logits) - gold * onehot(targets)`, written over the logits: nothing of their size is made anew, nor held in fp32."""
    p_RV = (logits_RV.float() - lse_R[:, None]).exp() * all_R[:, None]
    is_gold_RV = torch.arange(logits_RV.shape[1], device=logits_RV.device)[None, :] == targets_R[:, None]
    return logits_RV.copy_(torch.where(is_gold_RV, p_RV - gold_R[:, None], p_RV))


@fusible(symbolic_shapes=True)
def mixed_gradient_(
    logits_RV: Tensor,
    lse_R: Tensor,
    targets_R: Tensor,
    all_R: Tensor,
    gold_R: Tensor,
    soft_RV: Tensor,
    soft_lse_R: Tensor,
    soft_weights_R: Tensor,
) -> Tensor:
    """`hard_gradient_(...) - soft_weights * softmax(soft)`."""
    p_RV = (logits_RV.float() - lse_R[:, None]).exp() * all_R[:, None]
    p_RV = p_RV - (soft_RV.float() - soft_lse_R[:, None]).exp() * soft_weights_R[:, None]
    is_gold_RV = torch.arange(logits_RV.shape[1], device=logits_RV.device)[None, :] == targets_R[:, None]
    return logits_RV.copy_(torch.where(is_gold_RV, p_RV - gold_R[:, None], p_RV))


class SoftTargets(NamedTuple):
    """Another model's view of a chunk: its `logits_RV`, their log-sum `lse_R`, and how much it is to count.

    `trust` maps the log-probabilities that the model in training gives the gold tokens `[R]` to weights in [0, 1] `[R]`.
    """

    logits_RV: Tensor
    lse_R: Tensor
    trust: Callable[[Tensor], Tensor]


class HeadLoss:
    """The loss of one model's head: value and gradients, made together while a chunk's logits are at hand.

    One product with the vocabulary, not two. `add` every chunk once, then take `loss()`. `divergence_T` and `trust_T` are
    KL(soft || model) and its weight per token, 0 where there were no soft targets.
    """

    @torch.no_grad()
    def __init__(self, hidden_TD: Tensor, head_VD: Tensor, weights_T: Tensor, z_loss: float) -> None:
        self.hidden_TD, self.head_VD, self.z_loss = hidden_TD, head_VD, z_loss
        self.head_low_VD = head_VD.to(hidden_TD.dtype)
        self.weights_T = weights_T / weights_T.sum().clamp(min=1e-9)
        # One buffer for all chunks: freed, one of this size goes back to the system, and a step would spend its time in page faults.
        self.logits_RV = hidden_TD.new_empty(-(-chunk_size(hidden_TD) // _ROW_STEP) * _ROW_STEP, len(head_VD))
        self.grad_head_low_VD = torch.empty_like(self.head_low_VD)
        self.grad_hidden_TD = torch.zeros_like(hidden_TD)
        self.grad_head_VD = torch.zeros_like(head_VD, dtype=torch.float32)
        self.cross_entropy_T, self.divergence_T, self.trust_T = torch.zeros(3, len(weights_T), device=hidden_TD.device)
        self.total = torch.zeros((), device=hidden_TD.device)

    @torch.no_grad()
    def add(self, chunk: Chunk, targets_R: Tensor, soft: SoftTargets | None = None) -> None:
        """Score a chunk against its gold tokens `[R]`, and against soft targets where given."""
        real, rows = chunk.rows[: chunk.real], slice(chunk.real)
        h_RD, weights_R = self.hidden_TD[chunk.rows], self.weights_T[chunk.rows]
        weights_R[chunk.real :] = 0
        logits_RV = torch.mm(h_RD, self.head_low_VD.T, out=self.logits_RV[: len(h_RD)])
        lse_R = log_sum(logits_RV)
        loss_R = lse_R - logits_RV.gather(1, targets_R[:, None]).squeeze(1)
        self.cross_entropy_T[real] = loss_R[rows]
        all_R = weights_R * (1 + 2 * self.z_loss * lse_R)
        if soft is None:
            grad_RV = hard_gradient_(logits_RV, lse_R, targets_R, all_R, weights_R)
        else:
            divergence_R = divergence(soft.logits_RV, soft.lse_R, logits_RV, lse_R)
            trust_R = soft.trust(-loss_R)
            self.divergence_T[real], self.trust_T[real] = divergence_R[rows], trust_R[rows]
            loss_R = (1 - trust_R) * loss_R + trust_R * divergence_R
            weights = weights_R * (1 - trust_R), soft.logits_RV, soft.lse_R, weights_R * trust_R
            grad_RV = mixed_gradient_(logits_RV, lse_R, targets_R, all_R, *weights)
        self.total += ((loss_R + self.z_loss * lse_R.square()) * weights_R).sum()
        self.grad_hidden_TD[real] = (grad_RV @ self.head_low_VD)[rows]
        self.grad_head_VD += torch.mm(grad_RV.T, h_RD, out=self.grad_head_low_VD)

    def loss(self) -> Loss:
        """The sum of the chunks, differentiable with respect to hidden states and head."""
        total = _Precomputed.apply(self.hidden_TD, self.head_VD, self.total, self.grad_hidden_TD, self.grad_head_VD.to(self.head_VD.dtype))
        return Loss(total, self.cross_entropy_T)


class _Precomputed(torch.autograd.Function):
    """A total whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, hidden_TD: Tensor, head_VD: Tensor, total: Tensor, grad_hidden_TD: Tensor, grad_head_VD: Tensor) -> Tensor:
        ctx.save_for_backward(grad_hidden_TD, grad_head_VD)
        return total.clone()

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden_TD, grad_head_VD = ctx.saved_tensors
        return grad_hidden_TD * grad_total, grad_head_VD * grad_total, None, None, None
