"""One attention layer: RoPE then weightless QK norm in local layers, temperature instead in NoPE layers.

Letters: T tokens, D model width, N query heads, K key/value heads, H head width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from puna.config import LayerSpec, ModelConfig
from puna.kernels.attention import packed_attention
from puna.model.batch import Batch, KVCache
from puna.model.joined import joined_linear
from puna.model.norm import rms_normalize
from puna.model.rope import RopeMode, rotate, rotation, temperature


class PositionTerms(NamedTuple):
    """What positions contribute, computed once a batch: rotation of the RoPE layers and temperature of the NoPE layers."""

    cos: Tensor
    sin: Tensor
    temperature_T: Tensor

    @classmethod
    def of(cls, positions: Tensor, config: ModelConfig, mode: RopeMode) -> "PositionTerms":
        return cls(*rotation(positions, config, mode), temperature(positions, config))


class Attention(nn.Module):
    """Grouped-query attention of one decoder layer."""

    def __init__(self, config: ModelConfig, layer: LayerSpec) -> None:
        super().__init__()
        self.layer = layer
        self.head_width = config.head_width
        self.scale = config.head_width**-0.5
        self.eps = config.norm_eps
        self.wq = nn.Linear(config.width, config.num_heads * config.head_width, bias=False)
        self.wk = nn.Linear(config.width, config.num_kv_heads * config.head_width, bias=False)
        self.wv = nn.Linear(config.width, config.num_kv_heads * config.head_width, bias=False)
        self.wo = nn.Linear(config.num_heads * config.head_width, config.width, bias=False)

    def forward(self, x_TD: Tensor, terms: PositionTerms, batch: Batch, cache: KVCache | None) -> Tensor:
        return self.wo(self.attend(*self.project(x_TD, terms), batch, cache))

    def project(self, x_TD: Tensor, terms: PositionTerms) -> tuple[Tensor, Tensor, Tensor]:
        """Queries `[T, N, H]`, keys and values `[T, K, H]` as attention reads them."""
        q_TNH, k_TKH, v_TKH = (y.unflatten(-1, (-1, self.head_width)) for y in joined_linear(x_TD, self.wq, self.wk, self.wv))
        if self.layer.rope:
            q_TNH, k_TKH = rotate(q_TNH, terms.cos, terms.sin), rotate(k_TKH, terms.cos, terms.sin)
        if self.layer.qk_norm:  # after RoPE, per head, without weights [stated]
            q_TNH, k_TKH = rms_normalize(q_TNH, self.eps), rms_normalize(k_TKH, self.eps)
        if self.layer.temperature:  # only q: the cache stays free of it. Cast back to the activations' dtype [hf]
            q_TNH = (q_TNH * terms.temperature_T[:, None, None]).to(q_TNH.dtype)
        return q_TNH, k_TKH, v_TKH

    def attend(self, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, batch: Batch, cache: KVCache | None) -> Tensor:
        """Each token's view of its sequence, or of its chunk: `[T, N * H]`, what `wo` reads."""
        if cache is None:
            out_TNH = packed_attention(q_TNH, k_TKH, v_TKH, batch.plan(self.layer.chunk), self.scale)
        else:
            out_TNH = cache.attend(self.layer, q_TNH, k_TKH, v_TKH, batch, self.scale)
        return torch.flatten(out_TNH, 1)
