"""The specification of attention: one dense mask, fp32 inside, every branch visible. Slow and obviously right.

Letters: T query tokens, S key positions, N query heads, K key/value heads, H head width.
"""

import torch
from torch import Tensor


def reference_attention(
    q_TNH: Tensor,
    k_SKH: Tensor,
    v_SKH: Tensor,
    *,
    q_positions: Tensor,
    k_positions: Tensor,
    q_sequences: Tensor,
    k_sequences: Tensor,
    chunk: int | None,
    scale: float,
) -> Tensor:
    """Grouped-query causal attention inside each sequence, and inside each chunk of it if `chunk` is given.

    Key j is visible to query i iff both belong to one sequence, `p_j <= p_i` and, with a chunk, `p_j // chunk == p_i // chunk`:
    not a sliding window [stated: Meta's reference]. Returns `[T, N, H]` in q's dtype.
    """
    groups = q_TNH.shape[1] // k_SKH.shape[1]
    k_SNH = k_SKH.float().repeat_interleave(groups, dim=1)
    v_SNH = v_SKH.float().repeat_interleave(groups, dim=1)
    visible_TS = (q_sequences[:, None] == k_sequences[None, :]) & (k_positions[None, :] <= q_positions[:, None])
    if chunk is not None:
        visible_TS &= q_positions[:, None] // chunk == k_positions[None, :] // chunk
    scores_NTS = torch.einsum("tnh,snh->nts", q_TNH.float(), k_SNH) * scale
    probabilities_NTS = scores_NTS.masked_fill(~visible_TS, float("-inf")).softmax(dim=-1)
    return torch.einsum("nts,snh->tnh", probabilities_NTS, v_SNH).to(q_TNH.dtype)
