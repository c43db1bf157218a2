"""One decoder layer: pre-norm, attention and feed-forward, two residual additions."""

from torch import Tensor, nn

from puna.config import LayerSpec, ModelConfig
from puna.model.attention import Attention, PositionTerms
from puna.model.batch import Batch, KVCache
from puna.model.experts import MoE
from puna.model.feed_forward import FeedForward
from puna.model.norm import RMSNorm


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: LayerSpec) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps)
        self.feed_forward = MoE(config) if layer.feed_forward == "moe" else FeedForward(config.width, config.dense_width)

    def forward(self, x_TD: Tensor, terms: PositionTerms, batch: Batch, cache: KVCache | None) -> Tensor:
        x_TD = x_TD + self.attention(self.attention_norm(x_TD), terms, batch, cache)
        return x_TD + self.feed_forward(self.feed_forward_norm(x_TD))
