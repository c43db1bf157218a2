"""Causal attention over packed sequences on a GPU: torch's variable-length kernel, forward and backward, over segments as they lie.

The tokens of a packed batch need no gathering here: segments follow each other in the batch, and their edges are all that the kernel asks.
Not run by the tests, which need no GPU; `benchmarks/train_step.py --device cuda` compares it with the reference before it measures.

Letters: T query tokens, N query heads, K key/value heads, H head width, n segments.
"""

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from puna.kernels.attention.packed import Segments


class RaggedPlan(NamedTuple):
    """Segments of one batch, in the order of its tokens: `edges` int32 `[n + 1]`, and the longest segment's length."""

    edges: Tensor
    longest: int


def plan_ragged(segs: Segments, device: torch.device | str) -> RaggedPlan:
    edges = torch.tensor([0, *segs.lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return RaggedPlan(edges.to(device, non_blocking=True), max(segs.lengths, default=0))


@cache
def _causal_attention() -> Callable[..., Any]:
    """No key later than the query. Imported when first wanted: it brings torch's compiler along, 2 seconds for which no CPU's server waits.

    torch 2.10 called the option is_causal; later ones ask for a window that is open to the past.
    """
    from torch.nn.attention.varlen import varlen_attn

    has_window = "window_size" in inspect.signature(varlen_attn).parameters
    return partial(varlen_attn, **({"window_size": (-1, 0)} if has_window else {"is_causal": True}))


def ragged_attention(q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, plan: RaggedPlan, scale: float) -> Tensor:
    """Causal grouped-query attention inside each segment. Returns `[T, N, H]` in q's dtype (bf16 or fp16); differentiable."""
    heads, head_width = q_TNH.shape[1:]
    groups = heads // k_TKH.shape[1]
    k_TNH, v_TNH = (x.repeat_interleave(groups, dim=1) if groups > 1 else x for x in (k_TKH, v_TKH))
    default = head_width**-0.5
    q_TNH = q_TNH if scale == default else q_TNH * (scale / default)  # not every version takes a scale
    out = _causal_attention()(q_TNH, k_TNH, v_TNH, plan.edges, plan.edges, plan.longest, plan.longest)
    assert isinstance(out, Tensor)
    return out
