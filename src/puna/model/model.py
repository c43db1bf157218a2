"""The whole model: vision tower, projector, fusion, text decoder.

Letters: T tokens, D model width, V vocabulary, M tiles.
"""

import torch
from torch import Tensor, nn

from puna.config import ModelConfig
from puna.model.batch import Batch, KVCache
from puna.model.fusion import FusionError, fuse
from puna.model.text import TextDecoder
from puna.model.vision import VisionTower


class Model(nn.Module):
    """A Llama-4-shaped model. Build it anywhere (`with torch.device("meta")` to count); weights come from `init` or a checkpoint."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextDecoder(config)
        if config.vision is not None:
            self.vision = VisionTower(config.vision)
            self.projector = nn.Linear(config.vision.adapter_width, config.width, bias=False)

    def forward(self, batch: Batch, cache: KVCache | None = None) -> Tensor:
        """Hidden states `[T, D]` after the final norm. With a cache, the batch continues its sequences."""
        return self.text(self.embed(batch), batch, cache)

    def embed(self, batch: Batch) -> Tensor:
        """The rows `[T, D]` that the decoder reads: embedded tokens, and vision rows in the places of patches."""
        is_patch_T = batch.token_ids == self.config.patch_id
        rows_RD = batch.vision_rows if batch.tiles is None else self.embed_tiles(batch.tiles)
        return fuse(self.text.embed(batch.token_ids), is_patch_T, rows_RD)

    def embed_tiles(self, tiles: Tensor) -> Tensor:
        """Vision rows `[M * tokens_per_tile, D]` of tiles `[M, 3, h, w]`, ready to stand in for patch tokens."""
        if self.config.vision is None:
            raise FusionError(f"{self.config.name} has no vision tower, but the batch holds {tiles.shape[0]} tiles")
        return self.projector(self.vision(tiles))

    def logits(self, hidden_TD: Tensor) -> Tensor:
        """Next-token logits `[T, V]` in fp32."""
        return self.text.head(hidden_TD).float()

    @property
    def dtype(self) -> torch.dtype:
        return self.text.embed.weight.dtype
