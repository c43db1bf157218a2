"""Attention of several sequences' few new tokens to their cached keys, side by side: decode, and the verification of drafts.

Letters: n sequences, T new tokens of each, S key places, N query heads, K key/value heads, H head width.
"""

import torch
from torch import Tensor


def batched_attention(q_nTNH: Tensor, k_KnSH: Tensor, v_KnSH: Tensor, num_keys_n: Tensor, scale: float) -> Tensor:
    """Causal attention where query t of sequence i is the token of its key `num_keys[i] - T + t`. Returns `[n, T, N, H]` in q's dtype.

    Places from `num_keys[i]` on are filling: they must hold finite numbers, and reach no output. Computed in fp32, for keys of any dtype.
    """
    n, tokens, heads, width = q_nTNH.shape
    kv_heads, _, keys, _ = k_KnSH.shape
    groups = heads // kv_heads
    q = (q_nTNH.float() * scale).unflatten(2, (kv_heads, groups)).permute(2, 0, 3, 1, 4).reshape(kv_heads * n, groups * tokens, width)
    k, v = (x.float().reshape(kv_heads * n, keys, width) for x in (k_KnSH, v_KnSH))
    scores = torch.bmm(q, k.transpose(1, 2)).view(kv_heads, n, groups, tokens, keys)
    last_nT = num_keys_n[:, None] - tokens + torch.arange(tokens, device=q.device)
    hidden_nTS = torch.arange(keys, device=q.device) > last_nT[:, :, None]
    scores = scores.masked_fill_(hidden_nTS[None, :, None], -torch.inf).softmax(dim=-1)
    out = torch.bmm(scores.view(kv_heads * n, groups * tokens, keys), v)
    out = out.view(kv_heads, n, groups, tokens, width).permute(1, 3, 0, 2, 4)
    return out.reshape(n, tokens, heads, width).to(q_nTNH.dtype)
