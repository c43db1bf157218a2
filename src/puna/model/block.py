"""One decoder layer: pre-norm, attention and feed-forward, two residual additions.

Between the two operations that sort and gather tokens (attention, routed experts) lie stretches of products and elementwise steps;
training compiles each stretch into few passes over memory (`puna.kernels.fusion`).
"""

from torch import Tensor, nn

from puna.config import LayerSpec, ModelConfig
from puna.kernels.fusion import fusible
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
        q_TNH, k_TKH, v_TKH = _before_attention(self, x_TD, terms)
        out_TD = self.attention.attend(q_TNH, k_TKH, v_TKH, batch, cache)
        if isinstance(self.feed_forward, MoE):
            x_TD, *prepared = _before_experts(self, x_TD, out_TD)
            return x_TD + self.feed_forward.route(*prepared)
        return _to_dense_end(self, x_TD, out_TD)


@fusible(symbolic_shapes=False)
def _before_attention(block: Block, x_TD: Tensor, terms: PositionTerms) -> tuple[Tensor, Tensor, Tensor]:
    return block.attention.project(block.attention_norm(x_TD), terms)


@fusible(symbolic_shapes=False)
def _before_experts(block: Block, x_TD: Tensor, out_TD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    assert isinstance(block.feed_forward, MoE)
    x_TD = x_TD + block.attention.wo(out_TD)
    return x_TD, *block.feed_forward.prepare(block.feed_forward_norm(x_TD))


@fusible(symbolic_shapes=False)
def _to_dense_end(block: Block, x_TD: Tensor, out_TD: Tensor) -> Tensor:
    x_TD = x_TD + block.attention.wo(out_TD)
    return x_TD + block.feed_forward(block.feed_forward_norm(x_TD))
