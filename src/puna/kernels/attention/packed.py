"""Causal attention over packed sequences without a cache: training, and the prefill of whole prompts.

Torch has no backward for variable-length attention on a CPU. Here each sequence is cut into segments (a local layer also at its
chunk edges), segments of similar length are gathered side by side, and torch's fused causal kernel runs over each such bucket.
A bucket's rows are filled up at their *end* with copies of the segment's last token: a causal query never sees a later key,
and the surplus queries' outputs are dropped, so the filling reaches neither an output nor a gradient (tests poison it).

Letters: T query tokens, N query heads, K key/value heads, H head width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Bucket widths: at most a third of a bucket is filling, and few distinct shapes reach the kernel.
_WIDTHS = (1, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class Segments(NamedTuple):
    """Runs of consecutive tokens that see only each other. `starts` are rows of the packed batch."""

    starts: tuple[int, ...]
    lengths: tuple[int, ...]


class Bucket(NamedTuple):
    """Segments of similar length: `rows` `[n, width]` gathers them, `kept` `[n * width]` marks real tokens."""

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
    """Group segments by width. Every token of the batch stands in exactly one bucket."""
    by_width: dict[int, list[int]] = {}
    for i, length in enumerate(segs.lengths):
        by_width.setdefault(_width(length), []).append(i)
    starts, lengths = torch.tensor(segs.starts), torch.tensor(segs.lengths)
    buckets, kept_rows = [], []
    for width, members in sorted(by_width.items()):
        index = torch.tensor(members)
        column = torch.arange(width)
        inside = column[None, :] < lengths[index, None]
        rows = starts[index, None] + torch.minimum(column[None, :], lengths[index, None] - 1)
        kept = inside.flatten().nonzero().squeeze(1)
        kept_rows.append(rows.flatten()[kept])
        buckets.append(Bucket(rows.to(device), kept.to(device)))
    order = torch.argsort(torch.cat(kept_rows)) if kept_rows else torch.zeros(0, dtype=torch.int64)
    return PackingPlan(tuple(buckets), order.to(device))


def packed_attention(q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, plan: PackingPlan, scale: float) -> Tensor:
    """Causal grouped-query attention inside each segment of `plan`. Returns `[T, N, H]` in q's dtype; differentiable."""
    heads, width_H = q_TNH.shape[1:]
    groups = heads // k_TKH.shape[1]
    outputs = []
    for bucket in plan.buckets:
        n, width = bucket.rows.shape
        q, k, v = (x[bucket.rows.flatten()].view(n, width, -1, width_H).transpose(1, 2) for x in (q_TNH, k_TKH, v_TKH))
        if groups > 1:
            k, v = (x[:, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2) for x in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=width > 1, scale=scale)
        outputs.append(out.transpose(1, 2).reshape(n * width, heads, width_H)[bucket.kept])
    return torch.cat(outputs)[plan.order]
