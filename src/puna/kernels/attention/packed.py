"""Causal attention over packed sequences without a cache: training, and the prefill of whole prompts.

Torch has no variable-length attention with a backward on a CPU. Here each sequence is cut into segments (a local layer also at its
chunk edges), and segments of similar length stand side by side in a bucket. Buckets lie one after another in a workspace, head by head,
into which one gather brings all tokens and from which one gather takes all results. A segment's places behind its end hold copies of its
last token: a causal query never sees a later key, and the probabilities of the surplus queries are zero, so the filling reaches
neither an output nor a gradient (tests poison it).

Probabilities of short segments are kept for the backward; those of long ones would be too large: there the forward is torch's fused
kernel and the backward makes them again. Torch's own backward takes 3 to 4 times as long on short segments, and its forward twice
(`docs/log.md`). Segments are counted in steps of `_COUNT_STEP`: few distinct shapes keep oneDNN's kernel cache warm.

Letters: T query tokens, N query heads, K key/value heads, G = N / K, H head width, n segments of a bucket, w its width, P places.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from puna.kernels.fusion import fusible

# Bucket widths: at most a third of a bucket is filling, and few distinct shapes reach the kernels.
_WIDTHS = (1, 4, 8, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256)
_COUNT_STEP = 4
_KEPT_WIDTH = 1024  # probabilities of wider segments are not kept


class Segments(NamedTuple):
    """Runs of consecutive tokens that see only each other. `starts` are rows of the packed batch."""

    starts: tuple[int, ...]
    lengths: tuple[int, ...]


class Bucket(NamedTuple):
    """Segments of similar length: `n` times `width` places of the workspace, from place `first` on. `lengths` `[n]`, 0 for filling."""

    first: int
    n: int
    width: int
    lengths: Tensor


@dataclass(slots=True)
class PackingPlan:
    """How one batch is bucketed, made once and used by every layer with the same segments.

    `rows` `[P]` is the token that stands in each place, `places` `[T]` the one place of each token that counts.
    """

    buckets: tuple[Bucket, ...]
    rows: Tensor
    places: Tensor
    _indices: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def indices(self, heads: int) -> tuple[Tensor, Tensor]:
        """For `[T * heads, H]` tensors: which row fills each place of a workspace `[P * heads, H]`, and where each row is found again.

        In the workspace a segment's heads stand one after another, each with all its places.
        """
        if heads not in self._indices:
            head = torch.arange(heads, device=self.rows.device)
            gather, shifts = [], []
            for bucket in self.buckets:
                places = slice(bucket.first, bucket.first + bucket.n * bucket.width)
                rows = self.rows[places].view(bucket.n, 1, bucket.width)
                gather.append((rows * heads + head[None, :, None]).flatten())
                local = torch.arange(bucket.n * bucket.width, device=head.device)
                segment, column = local // bucket.width, local % bucket.width
                shifts.append((bucket.first + segment * bucket.width)[:, None] * heads + head * bucket.width + column[:, None])
            empty = torch.zeros(0, heads, dtype=torch.int64, device=head.device)
            found = torch.cat([empty, *shifts])[self.places].flatten()
            self._indices[heads] = torch.cat([empty.flatten(), *gather]), found
        return self._indices[heads]


def segments(lengths: Sequence[int], first_positions: Sequence[int], chunk: int | None) -> Segments:
    """Cut packed sequences of the given lengths at the chunk edges of their true positions.

    >>> segments([5, 3], [0, 0], chunk=4)
    Segments(starts=(0, 4, 5), lengths=(4, 1, 3))
    """
    starts, sizes, row = [], [], 0
    for length, first in zip(lengths, first_positions, strict=True):
        done = 0
        while done < length:
            size = length - done if chunk is None else min(length - done, chunk - (first + done) % chunk)
            starts.append(row + done)
            sizes.append(size)
            done += size
        row += length
    return Segments(tuple(starts), tuple(sizes))


def _width(length: int) -> int:
    return next((w for w in _WIDTHS if w >= length), -(-length // 128) * 128)


def plan_buckets(segs: Segments, device: torch.device | str = "cpu") -> PackingPlan:
    """Group segments by width. Every token of the batch stands in exactly one place that counts."""
    by_width: dict[int, list[int]] = {}
    for i, length in enumerate(segs.lengths):
        by_width.setdefault(_width(length), []).append(i)
    starts, lengths = torch.tensor(segs.starts, dtype=torch.int64), torch.tensor(segs.lengths, dtype=torch.int64)
    places = torch.empty(sum(segs.lengths), dtype=torch.int64)
    buckets, all_rows, first = [], [], 0
    for width, members in sorted(by_width.items()):
        real = len(members)
        surplus = -real % _COUNT_STEP if real > _COUNT_STEP else 0
        index = torch.tensor(members + members[:1] * surplus)
        column = torch.arange(width)
        rows = starts[index, None] + torch.minimum(column[None, :], lengths[index, None] - 1)
        counted = torch.where(torch.arange(len(index)) < real, lengths[index], 0)
        inside = column[None, :] < counted[:, None]
        places[rows[inside]] = first + inside.flatten().nonzero().squeeze(1)
        buckets.append(Bucket(first, len(index), width, counted.to(device)))
        all_rows.append(rows.flatten())
        first += rows.numel()
    rows = torch.cat(all_rows) if all_rows else torch.zeros(0, dtype=torch.int64)
    return PackingPlan(tuple(buckets), rows.to(device), places.to(device))


def bucket_attention(q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, plan: PackingPlan, scale: float) -> Tensor:
    """Causal grouped-query attention inside each segment of `plan`. Returns `[T, N, H]` in q's dtype; differentiable."""
    return _PackedAttention.apply(q_TNH, k_TKH, v_TKH, plan, scale)


def _spread(x_TNH: Tensor, plan: PackingPlan) -> Tensor:
    """`[T, heads, H]` -> workspace `[P * heads, H]`."""
    return x_TNH.flatten(0, 1).index_select(0, plan.indices(x_TNH.shape[1])[0])


def _collect(workspace: Tensor, plan: PackingPlan, heads: int) -> Tensor:
    """Workspace `[P * heads, H]` -> `[T, heads, H]`."""
    return workspace.index_select(0, plan.indices(heads)[1]).unflatten(0, (-1, heads))


class _View(NamedTuple):
    """One bucket's part of the workspaces, a key head's queries side by side: `[n * K, G * w, H]` and `[n * K, w, H]`."""

    bucket: Bucket
    heads: int
    kv_heads: int

    def queries(self, workspace: Tensor) -> Tensor:
        return self._of(workspace, self.heads, self.heads // self.kv_heads)

    def keys(self, workspace: Tensor) -> Tensor:
        return self._of(workspace, self.kv_heads, 1)

    def _of(self, workspace: Tensor, heads: int, groups: int) -> Tensor:
        first, n, width, _ = self.bucket
        part = workspace[first * heads : (first + n * width) * heads]
        return part.view(n * self.kv_heads, groups * width, part.shape[-1])

    def square(self, scores: Tensor) -> Tensor:
        """`[n * K, G * w, w]` -> `[n * K, G, w, w]`."""
        return scores.view(scores.shape[0], -1, self.bucket.width, self.bucket.width)

    def probabilities(self, q: Tensor, k: Tensor, scale: float) -> Tensor:
        """`[n * K, G, w, w]`; zero in the rows of surplus queries."""
        lengths = self.bucket.lengths.repeat_interleave(self.kv_heads)
        return _probabilities(self.square(torch.bmm(q, k.transpose(1, 2))), lengths, scale)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, plan: PackingPlan, scale: float) -> Tensor:
        heads, kv_heads = q_TNH.shape[1], k_TKH.shape[1]
        q_all, k_all, v_all = (_spread(x, plan) for x in (q_TNH, k_TKH, v_TKH))
        out_all = torch.empty_like(q_all)
        kept = []
        for bucket in plan.buckets:
            view = _View(bucket, heads, kv_heads)
            q, k, v, out = view.queries(q_all), view.keys(k_all), view.keys(v_all), view.queries(out_all)
            if bucket.width <= _KEPT_WIDTH:
                p = view.probabilities(q, k, scale)
                torch.bmm(p.view(q.shape[0], -1, bucket.width), v, out=out)
                kept.append(p)
            else:
                q4, k4, v4 = (x.unflatten(1, (-1, bucket.width)) for x in (q, k, v))
                k4, v4 = (x.expand(-1, q4.shape[1], -1, -1) for x in (k4, v4))
                attend = torch.nn.functional.scaled_dot_product_attention
                out.copy_(attend(q4, k4, v4, is_causal=True, scale=scale).flatten(1, 2))
        ctx.save_for_backward(q_all, k_all, v_all, *kept)
        ctx.plan, ctx.scale, ctx.heads, ctx.kv_heads = plan, scale, heads, kv_heads
        return _collect(out_all, plan, heads)

    @staticmethod
    def backward(ctx: Any, grad_TNH: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q_all, k_all, v_all, *kept = ctx.saved_tensors
        plan, scale, heads, kv_heads = ctx.plan, ctx.scale, ctx.heads, ctx.kv_heads
        d_out_all = _spread(grad_TNH, plan)
        d_q_all, d_k_all, d_v_all = torch.empty_like(q_all), torch.empty_like(k_all), torch.empty_like(v_all)
        probabilities = iter(kept)
        for bucket in plan.buckets:
            view = _View(bucket, heads, kv_heads)
            q, k, v, d_out = view.queries(q_all), view.keys(k_all), view.keys(v_all), view.queries(d_out_all)
            p4 = next(probabilities) if bucket.width <= _KEPT_WIDTH else view.probabilities(q, k, scale)
            p = p4.view(q.shape[0], -1, bucket.width)
            torch.bmm(p.transpose(1, 2), d_out, out=view.keys(d_v_all))
            d_p = view.square(torch.bmm(d_out, v.transpose(1, 2)))
            d_s = _score_gradient(p4, d_p, scale).view(p.shape)
            torch.bmm(d_s, k, out=view.queries(d_q_all))
            torch.bmm(d_s.transpose(1, 2), q, out=view.keys(d_k_all))
        return _collect(d_q_all, plan, heads), _collect(d_k_all, plan, kv_heads), _collect(d_v_all, plan, kv_heads), None, None


@fusible(symbolic_shapes=True)
def _probabilities(scores: Tensor, lengths: Tensor, scale: float) -> Tensor:
    """Causal softmax of `[b, G, w, w]` in fp32, returned in the scores' dtype; rows behind `lengths` `[b]` are zero."""
    place = torch.arange(scores.shape[-1], device=scores.device)
    visible = (place[None, :] <= place[:, None]) & (place[:, None] < lengths[:, None, None, None])
    x = torch.where(visible, scores.float() * scale, -1e30)
    weights = torch.where(visible, (x - x.amax(-1, keepdim=True)).exp(), 0.0)
    return (weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)).to(scores.dtype)


@fusible(symbolic_shapes=True)
def _score_gradient(p: Tensor, d_p: Tensor, scale: float) -> Tensor:
    """Softmax backward: `p * (d_p - sum(p * d_p)) * scale`."""
    p32, d_p32 = p.float(), d_p.float()
    return (p32 * (d_p32 - (p32 * d_p32).sum(-1, keepdim=True)) * scale).to(p.dtype)
