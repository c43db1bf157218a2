"""Causal attention over packed sequences without a cache: training, and the prefill of whole prompts.

Torch has no variable-length attention with a backward on a CPU. Here each sequence is cut into segments (a local layer also at its
chunk edges), and segments of similar length are gathered side by side into a bucket. A bucket's rows are filled up at their *end*
with copies of the segment's last token: a causal query never sees a later key, the surplus queries' outputs are dropped and their
gradients are zero, so the filling reaches neither an output nor a gradient (tests poison it).

Forward is torch's fused kernel. Backward is ours: torch's own takes 3 to 4 times as long on short segments (`docs/log.md`), and
batched products with few distinct shapes (segments are counted in steps of `_COUNT_STEP`) keep oneDNN's kernel cache warm.

Letters: T query tokens, N query heads, K key/value heads, G = N / K, H head width, n segments of a bucket, w its width.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from puna.kernels.fusion import fusible

# Bucket widths: at most a third of a bucket is filling, and few distinct shapes reach the kernels.
_WIDTHS = (1, 4, 8, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256)
_COUNT_STEP = 4


class Segments(NamedTuple):
    """Runs of consecutive tokens that see only each other. `starts` are rows of the packed batch."""

    starts: tuple[int, ...]
    lengths: tuple[int, ...]


class Bucket(NamedTuple):
    """Segments of similar length: `rows` `[n, w]` gathers them, `kept` `[<= n * w]` marks the places that hold real tokens."""

    rows: Tensor
    kept: Tensor


class PackingPlan(NamedTuple):
    """How one batch is bucketed, made once and used by every layer with the same segments."""

    buckets: tuple[Bucket, ...]
    order: Tensor  # [T]: where token t stands in the concatenation of the buckets' kept rows


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


def plan_packing(segs: Segments, device: torch.device | str = "cpu") -> PackingPlan:
    """Group segments by width. Every token of the batch stands in exactly one kept place."""
    by_width: dict[int, list[int]] = {}
    for i, length in enumerate(segs.lengths):
        by_width.setdefault(_width(length), []).append(i)
    starts, lengths = torch.tensor(segs.starts), torch.tensor(segs.lengths)
    buckets, kept_rows = [], []
    for width, members in sorted(by_width.items()):
        real = len(members)
        surplus = -real % _COUNT_STEP if real > _COUNT_STEP else 0
        index = torch.tensor(members + members[:1] * surplus)
        column = torch.arange(width)
        rows = starts[index, None] + torch.minimum(column[None, :], lengths[index, None] - 1)
        inside = column[None, :] < lengths[index, None]
        inside[real:] = False
        kept = inside.flatten().nonzero().squeeze(1)
        kept_rows.append(rows.flatten()[kept])
        buckets.append(Bucket(rows.to(device), kept.to(device)))
    order = torch.argsort(torch.cat(kept_rows)) if kept_rows else torch.zeros(0, dtype=torch.int64)
    return PackingPlan(tuple(buckets), order.to(device))


def packed_attention(q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, plan: PackingPlan, scale: float) -> Tensor:
    """Causal grouped-query attention inside each segment of `plan`. Returns `[T, N, H]` in q's dtype; differentiable."""
    return _PackedAttention.apply(q_TNH, k_TKH, v_TKH, plan, scale)


def _gather(x_TNH: Tensor, bucket: Bucket) -> Tensor:
    """Rows of a bucket as `[n, heads, w, H]`."""
    n, width = bucket.rows.shape
    return x_TNH.index_select(0, bucket.rows.flatten()).unflatten(0, (n, width)).transpose(1, 2)


def _gather_kept(x_TNH: Tensor, bucket: Bucket) -> Tensor:
    """As `_gather`, with zeros where no real token stands: for gradients."""
    n, width = bucket.rows.shape
    flat = x_TNH.new_zeros(n * width, *x_TNH.shape[1:])
    flat.index_copy_(0, bucket.kept, x_TNH.index_select(0, bucket.rows.flatten().index_select(0, bucket.kept)))
    return flat.unflatten(0, (n, width)).transpose(1, 2)


def _kept_rows(x: Tensor, bucket: Bucket) -> Tensor:
    """`[n, heads, w, H]` -> the kept rows `[., heads, H]`."""
    return x.transpose(1, 2).flatten(0, 1).index_select(0, bucket.kept)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, plan: PackingPlan, scale: float) -> Tensor:
        groups = q_TNH.shape[1] // k_TKH.shape[1]
        outputs, log_sums = [], []
        for bucket in plan.buckets:
            q, k, v = (_gather(x, bucket) for x in (q_TNH, k_TKH, v_TKH))
            k, v = (x.repeat_interleave(groups, dim=1) if groups > 1 else x for x in (k, v))
            out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True, scale=scale)
            outputs.append(_kept_rows(out, bucket))
            log_sums.append(log_sum)
        out_TNH = torch.cat(outputs).index_select(0, plan.order)
        ctx.save_for_backward(q_TNH, k_TKH, v_TKH, out_TNH, *log_sums)
        ctx.plan, ctx.scale = plan, scale
        return out_TNH

    @staticmethod
    def backward(ctx: Any, grad_TNH: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q_TNH, k_TKH, v_TKH, out_TNH, *log_sums = ctx.saved_tensors
        delta_TN1 = (grad_TNH.float() * out_TNH.float()).sum(-1, keepdim=True)
        grads: list[list[Tensor]] = [[], [], []]
        for bucket, log_sum in zip(ctx.plan.buckets, log_sums, strict=True):
            q, k, v = (_gather(x, bucket) for x in (q_TNH, k_TKH, v_TKH))
            d_out, delta = _gather_kept(grad_TNH, bucket), _gather_kept(delta_TN1, bucket)
            for kept, grad in zip(grads, _bucket_backward(q, k, v, d_out, delta, log_sum, ctx.scale), strict=True):
                kept.append(_kept_rows(grad, bucket))
        d_q, d_k, d_v = (torch.cat(rows).index_select(0, ctx.plan.order) for rows in grads)
        return d_q, d_k, d_v, None, None


def _bucket_backward(
    q: Tensor, k: Tensor, v: Tensor, d_out: Tensor, delta: Tensor, log_sum: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one bucket `[n, N or K, w, H]`; the probabilities are made again from the saved log-sums.

    `delta` (sum of output times its gradient) and `log_sum` have one value a query.
    """
    n, heads, width, head_width = q.shape
    kv_heads = k.shape[1]
    grouped = (n * kv_heads, (heads // kv_heads) * width, head_width)  # a key head's queries side by side
    q, d_out = q.reshape(grouped), d_out.reshape(grouped)
    k, v = (x.reshape(n * kv_heads, width, head_width) for x in (k, v))
    shape4 = (n * kv_heads, heads // kv_heads, width, width)
    future = torch.ones(width, width, dtype=torch.bool, device=q.device).triu(1)
    log_sum = log_sum.reshape(n * kv_heads, heads // kv_heads, width, 1)
    delta = delta.reshape(n * kv_heads, heads // kv_heads, width, 1)
    p = _probabilities(torch.bmm(q, k.transpose(1, 2)).view(shape4), log_sum, future, scale).view(n * kv_heads, -1, width)
    d_v = torch.bmm(p.transpose(1, 2), d_out)
    d_p = torch.bmm(d_out, v.transpose(1, 2)).view(shape4)
    d_s = _score_gradient(p.view(shape4), d_p, delta, scale).view(n * kv_heads, -1, width)
    d_q = torch.bmm(d_s, k)
    d_k = torch.bmm(d_s.transpose(1, 2), q)
    return d_q.view(n, heads, width, head_width), d_k.view(n, kv_heads, width, head_width), d_v.view(n, kv_heads, width, head_width)


@fusible(symbolic_shapes=True)
def _probabilities(scores: Tensor, log_sum: Tensor, future: Tensor, scale: float) -> Tensor:
    return torch.where(future, 0.0, torch.exp(scores.float() * scale - log_sum)).to(scores.dtype)


@fusible(symbolic_shapes=True)
def _score_gradient(p: Tensor, d_p: Tensor, delta: Tensor, scale: float) -> Tensor:
    return (p.float() * (d_p.float() - delta) * scale).to(p.dtype)
