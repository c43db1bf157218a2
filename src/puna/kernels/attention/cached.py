"""Attention of one sequence's new tokens to keys that were computed before and to each other.

Letters: T new tokens, S keys (the new ones last), N query heads, K key/value heads, H head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cached_attention(q_TNH: Tensor, k_SKH: Tensor, v_SKH: Tensor, scale: float) -> Tensor:
    """Causal attention where query t is the (S - T + t)-th key's token: decode (T = 1) and chunked prefill. Returns `[T, N, H]`.

    The caller hands over only visible keys: of a local layer, those of the open chunk.
    """
    tokens, heads, _ = q_TNH.shape
    keys = k_SKH.shape[0]
    groups = heads // k_SKH.shape[1]
    q = q_TNH.transpose(0, 1)[None]
    k, v = (x.transpose(0, 1)[None, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2) for x in (k_SKH, v_SKH))
    if tokens == 1:
        out = F.scaled_dot_product_attention(q, k, v, scale=scale)
    elif tokens == keys:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    else:
        visible = torch.ones(tokens, keys, dtype=torch.bool, device=q.device).tril(keys - tokens)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale)
    return out[0].transpose(0, 1)
