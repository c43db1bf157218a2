"""Which kernel attends over packed sequences: buckets of batched products on a CPU, torch's variable-length kernel on a GPU."""

import torch
from torch import Tensor

from puna.kernels.attention.packed import PackingPlan, Segments, bucket_attention, plan_buckets
from puna.kernels.attention.ragged import RaggedPlan, plan_ragged, ragged_attention

Plan = PackingPlan | RaggedPlan


def plan_packing(segs: Segments, device: torch.device | str = "cpu") -> Plan:
    """What attention over these segments needs to know, made once a batch and shared by all layers with the same segments."""
    return plan_ragged(segs, device) if torch.device(device).type == "cuda" else plan_buckets(segs, device)


def packed_attention(q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, plan: Plan, scale: float) -> Tensor:
    """Causal grouped-query attention inside each segment of `plan`. Returns `[T, N, H]` in q's dtype; differentiable."""
    if isinstance(plan, RaggedPlan):
        return ragged_attention(q_TNH, k_TKH, v_TKH, plan, scale)
    return bucket_attention(q_TNH, k_TKH, v_TKH, plan, scale)
