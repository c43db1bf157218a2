"""Bidirectional attention inside each tile of a vision tower.

Letters: M tiles, X patches and the class token, N heads, H head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def tile_attention(q_MNXH: Tensor, k_MNXH: Tensor, v_MNXH: Tensor) -> Tensor:
    """Every patch sees every patch of its tile; scale `H ** -0.5`. Returns `[M, N, X, H]`.

    Written out where a gradient is wanted: on a CPU torch's fused kernel takes five times as long backward on such short sequences
    (`docs/log.md`).
    """
    if not torch.is_grad_enabled() or q_MNXH.device.type != "cpu":
        return F.scaled_dot_product_attention(q_MNXH, k_MNXH, v_MNXH)
    scores = (q_MNXH * q_MNXH.shape[-1] ** -0.5) @ k_MNXH.transpose(-1, -2)
    return scores.softmax(dim=-1, dtype=torch.float32).to(v_MNXH.dtype) @ v_MNXH
