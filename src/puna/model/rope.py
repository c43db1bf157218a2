"""iRoPE's rotary half: interleaved pairs, Scout's hard frequency switch, and angles that stay exact at ten million tokens.

Pairs are (2j, 2j+1), rotated as complex numbers [stated: Meta's reference; Hugging Face's Llama 4 weights keep this order].
A local layer only compares positions inside one chunk, so `position mod chunk` is mathematically the same as the position
[inferred] and keeps the phase small; `absolute` angles in fp32, as the references compute them, exist for bit parity: at 10 M
their phase is off by about 0.3 rad.

Letters: T tokens, N heads, H head width.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from puna.config import ModelConfig

RopeMode = Literal["modulo", "absolute"]


def frequencies(config: ModelConfig) -> Tensor:
    """Angle per position of each of the H/2 pairs, float64.

    With scaling, a pair whose wavelength exceeds `original_max / low_freq_factor` turns `factor` times slower. Scout has
    low = high = 1, so there is no smooth band between; other factors blend linearly in wavelength as Llama 3.1 does.
    """
    pairs = torch.arange(0, config.head_width, 2, dtype=torch.float64, device="cpu")
    freq = config.rope_theta ** (-pairs / config.head_width)
    scaling = config.rope_scaling
    if scaling is None:
        return freq
    turns = scaling.original_max_positions * freq / (2 * math.pi)  # whole turns inside the original context
    slow = freq / scaling.factor
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    if low == high:
        return torch.where(turns < low, slow, freq)
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return keep * freq + (1 - keep) * slow


def rotation(positions: Tensor, config: ModelConfig, mode: RopeMode = "modulo") -> tuple[Tensor, Tensor]:
    """Cosine and sine `[T, H/2]`, fp32, for the RoPE layers of `config` at these positions."""
    freq = frequencies(config).to(positions.device)
    if mode == "absolute":
        angles = positions.float()[:, None] * freq.float()
    else:
        local = positions if config.chunk is None else positions % config.chunk
        angles = local.double()[:, None] * freq
    return angles.cos().float(), angles.sin().float()


def rotate(x_TNH: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate interleaved pairs of the last axis in fp32; cos and sin broadcast over heads. Returns x's dtype."""
    even, odd = x_TNH.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x_TNH.dtype)


def temperature(positions: Tensor, config: ModelConfig) -> Tensor:
    """Scale `[T]` of the queries of NoPE layers: `1 + attn_scale * ln(floor((p + 1) / floor_scale) + 1)`, p the true position. [stated]"""
    steps = torch.floor((positions.double() + 1) / config.floor_scale)
    return (1 + config.attn_scale * torch.log(steps + 1)).float()
