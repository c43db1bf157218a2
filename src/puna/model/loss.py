"""Next-token cross-entropy that never holds `[T, V]` logits: the head is applied, scored and differentiated chunk by chunk.

A chunk may be scored against soft targets as well, another model's probabilities: see `puna.train.distill`.

Letters: T tokens, R rows of one chunk (the scored ones), D model width, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK_T = 256  # a chunk's fp32 logits stay in a CPU's cache
_CHUNK_T_GPU = 4096  # where launching kernels costs more than missing a cache


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
    for rows in scored_chunks(weights_T):
        head.add(rows, targets_T[rows])
    return head.loss()


def scored_chunks(weights_T: Tensor) -> tuple[Tensor, ...]:
    """Indices of the scored tokens, a chunk at a time: tokens of weight zero cost nothing."""
    return weights_T.nonzero().squeeze(1).split(_chunk_size(weights_T))


def _chunk_size(like: Tensor) -> int:
    return _CHUNK_T if like.device.type == "cpu" else _CHUNK_T_GPU


class Head:
    """A head applied to chunks of rows, always into the same memory: buffers of this size go back to the system when freed, and a
    step then spends its time in page faults (`docs/log.md`).
    """

    @torch.no_grad()
    def __init__(self, hidden_TD: Tensor, head_VD: Tensor) -> None:
        self.hidden_TD = hidden_TD
        self.weight_VD = head_VD.to(hidden_TD.dtype)
        most = min(len(hidden_TD), _chunk_size(hidden_TD))
        self.low_RV = hidden_TD.new_empty(most, len(head_VD))
        self.full_RV = hidden_TD.new_empty(most, len(head_VD), dtype=torch.float32)

    @torch.no_grad()
    def logits(self, h_RD: Tensor) -> Tensor:
        """Logits in fp32 `[R, V]`, of which `low_RV` keeps what they were before the cast. The next call overwrites both."""
        torch.mm(h_RD, self.weight_VD.T, out=self.low_RV[: len(h_RD)])
        return self.full_RV[: len(h_RD)].copy_(self.low_RV[: len(h_RD)])


class SoftTargets(NamedTuple):
    """Another model's view of a chunk: its fp32 `logits_RV`, their softmax `p_RV` and log-sum `lse_R`, and how much it is to count.

    `trust` maps the log-probabilities that the model in training gives the gold tokens `[R]` to weights in [0, 1] `[R]`.
    """

    logits_RV: Tensor
    p_RV: Tensor
    lse_R: Tensor
    trust: Callable[[Tensor], Tensor]


class HeadLoss:
    """The loss of one model's head: value and gradients, made together while a chunk's logits are at hand.

    One pass over the vocabulary, not two. `add` every chunk once, then take `loss()`. `divergence_T` and `trust_T` are KL(soft || model) and
    its weight per token, 0 where there were no soft targets.
    """

    @torch.no_grad()
    def __init__(self, hidden_TD: Tensor, head_VD: Tensor, weights_T: Tensor, z_loss: float) -> None:
        self.hidden_TD, self.head_VD, self.z_loss = hidden_TD, head_VD, z_loss
        self.head = Head(hidden_TD, head_VD)
        self.weights_T = weights_T / weights_T.sum().clamp(min=1e-9)
        self.grad_hidden_TD = torch.zeros_like(hidden_TD)
        self.grad_head_VD = torch.zeros_like(head_VD, dtype=torch.float32)
        self.grad_head_low_VD = torch.empty_like(self.head.weight_VD)
        self.cross_entropy_T, self.divergence_T, self.trust_T = torch.zeros(3, len(weights_T), device=hidden_TD.device)
        self.total = torch.zeros((), device=hidden_TD.device)

    @torch.no_grad()
    def add(self, rows: Tensor, target_R: Tensor, soft: SoftTargets | None = None) -> None:
        """Score the chunk `rows` against its gold tokens, and against soft targets where given."""
        h_RD, weight_R = self.hidden_TD[rows], self.weights_T[rows]
        logits_RV = self.head.logits(h_RD)
        gold_R = logits_RV.gather(1, target_R[:, None]).squeeze(1)
        top_R = logits_RV.amax(-1)
        apart_R = None if soft is None else torch.sub(soft.logits_RV, logits_RV).mul_(soft.p_RV).sum(-1)
        p_RV = torch.softmax(logits_RV, -1, out=logits_RV)  # in place: a third less time than exp, sum and product
        lse_R = top_R - p_RV.amax(-1).log()  # the largest probability is 1 / sum(exp(logits - top)), never tiny
        hard_R, loss_R = weight_R, lse_R - gold_R
        self.cross_entropy_T[rows] = loss_R
        grad_RV = p_RV.mul_((weight_R * (1 + 2 * self.z_loss * lse_R))[:, None])
        if soft is not None and apart_R is not None:
            divergence_R = apart_R - soft.lse_R + lse_R
            trust_R = soft.trust(-loss_R)
            self.divergence_T[rows], self.trust_T[rows] = divergence_R, trust_R
            loss_R = (1 - trust_R) * loss_R + trust_R * divergence_R
            hard_R = weight_R * (1 - trust_R)
            grad_RV.addcmul_(soft.p_RV, (weight_R * trust_R)[:, None], value=-1)
        grad_RV[torch.arange(len(rows), device=rows.device), target_R] -= hard_R
        self.total += ((loss_R + self.z_loss * lse_R.square()) * weight_R).sum()
        grad_low_RV = self.head.low_RV[: len(rows)].copy_(grad_RV)
        self.grad_hidden_TD[rows] = grad_low_RV @ self.head.weight_VD
        self.grad_head_VD += torch.mm(grad_low_RV.T, h_RD, out=self.grad_head_low_VD)

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
