"""Tiny random models that exercise every branch: chunk edges, NoPE temperature, MoE and dense layers, a vision tower."""

from dataclasses import replace
from typing import Any

import torch

from puna.config import ModelConfig, VisionConfig, every_nth_layer
from puna.model import Model
from puna.model.init import initialize

TINY_VISION = VisionConfig(tile_size=16, patch_size=4, width=16, num_layers=2, num_heads=2, adapter_width=24, max_tiles=4)


def tiny_config(**changes: Any) -> ModelConfig:
    """A model of 8 layers, chunk 8 and floor_scale 4 over 384 ids (256 bytes and 128 special ids); `changes` replace fields."""
    base = ModelConfig(
        name="tiny",
        vocab_size=384,
        width=32,
        num_layers=8,
        num_heads=4,
        num_kv_heads=2,
        head_width=8,
        expert_width=24,
        dense_width=48,
        num_experts=4,
        moe_layers=every_nth_layer(2, 8),
        nope_layers=every_nth_layer(4, 8),
        chunk=8,
        qk_norm=True,
        floor_scale=4.0,
        max_positions=4096,
        initializer_range=0.2,
        bos_id=256,
        eos_ids=(257, 263, 264),
        pad_id=274,
        image_start_id=336,
        image_end_id=337,
        image_id=346,
        patch_id=348,
        vision=TINY_VISION,
    )
    return replace(base, **changes)


def tiny_model(config: ModelConfig | None = None, seed: int = 0, dtype: torch.dtype = torch.float32) -> Model:
    """A seeded random `Model` of `config` (default `tiny_config()`)."""
    return initialize(Model(config or tiny_config()), torch.Generator().manual_seed(seed)).to(dtype).eval()
