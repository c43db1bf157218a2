"""The text decoder: embedding, layers, final norm and head. It does not know where its input rows came from.

Letters: T tokens, D model width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from puna.config import ModelConfig
from puna.model.attention import PositionTerms
from puna.model.batch import Batch, KVCache
from puna.model.block import Block
from puna.model.norm import RMSNorm
from puna.model.rope import RopeMode


class TextDecoder(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.rope_mode: RopeMode = "modulo"
        # Not filled with chance here: on the meta device that would import torch's compiler, 2 seconds at each start.
        self.embed = nn.Embedding.from_pretrained(torch.empty(config.vocab_size, config.width), freeze=False)
        self.layers = nn.ModuleList(Block(config, layer) for layer in config.layers())
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)

    def forward(self, x_TD: Tensor, batch: Batch, cache: KVCache | None) -> Tensor:
        terms = PositionTerms.of(batch.positions, self.config, self.rope_mode)
        for layer in self.layers:
            x_TD = layer(x_TD, terms, batch, cache)
        return self.norm(x_TD)
