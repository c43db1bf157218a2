"""Named model shapes. Every number has a source tag: [stated] by Meta, [inferred] from what Meta stated, [ours] chosen here."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from puna.config import ConfigError, ModelConfig, RopeScaling, VisionConfig, every_nth_layer

# [stated] vision_args of the released checkpoints: 336-pixel tiles, 24 x 24 patches, 144 tokens a tile.
LLAMA4_VISION = VisionConfig(tile_size=336, patch_size=14, width=1408, num_layers=34, num_heads=16, adapter_width=4096)


def scout() -> ModelConfig:
    """Llama 4 Scout 17B-16E Instruct: MoE in every layer. [stated]"""
    return ModelConfig(
        name="scout",
        vocab_size=202048,
        width=5120,
        num_layers=48,
        num_heads=40,
        num_kv_heads=8,
        head_width=128,
        expert_width=8192,
        dense_width=16384,
        num_experts=16,
        moe_layers=every_nth_layer(1, 48),
        nope_layers=every_nth_layer(4, 48),
        chunk=8192,
        qk_norm=True,
        rope_scaling=RopeScaling(),
        max_positions=10485760,
        vision=LLAMA4_VISION,
    )


def maverick() -> ModelConfig:
    """Llama 4 Maverick 17B-128E Instruct: MoE in every second layer, no QK norm, plain RoPE. [stated]"""
    return replace(
        scout(),
        name="maverick",
        num_experts=128,
        moe_layers=every_nth_layer(2, 48),
        qk_norm=False,
        rope_scaling=None,
        max_positions=1048576,
    )


def behemoth() -> ModelConfig:
    """A shape consistent with what Meta said of Behemoth: 288 B active, 16 experts, nearly 2 T in all. [stated: these three]

    Layers, widths and heads were never published: they are [ours], Scout's pattern scaled until the counts agree
    (`puna show behemoth` prints them).
    """
    return replace(
        scout(),
        name="behemoth",
        width=16384,
        num_layers=108,
        num_heads=128,
        num_kv_heads=16,
        expert_width=20480,
        dense_width=40960,
        moe_layers=every_nth_layer(1, 108),
        nope_layers=every_nth_layer(4, 108),
        rope_scaling=None,
        max_positions=262144,
    )


def guard() -> ModelConfig:
    """Llama Guard 4: Scout without routers and routed experts; RoPE and full attention in every layer.

    [stated] the pruning and the 12 B total; [inferred] QK norm and RoPE scaling as in Scout: a checkpoint's own config decides.
    """
    return replace(
        scout(),
        name="guard",
        num_experts=0,
        moe_layers=(),
        dense_width=8192,
        nope_layers=(),
        chunk=None,
        temperature_tuning=False,
        max_positions=163840,
    )


def _ids(base: int) -> dict[str, Any]:
    """[ours] Llama 4's special-token layout over `base` BPE ids, with the reserved ranges shrunk to 128 special ids in all."""
    return dict(
        vocab_size=base + 128,
        bos_id=base,
        eos_ids=(base + 1, base + 7, base + 8),
        pad_id=base + 18,
        image_start_id=base + 80,
        image_end_id=base + 81,
        image_id=base + 90,
        patch_id=base + 92,
    )


def with_vocabulary(config: ModelConfig, num_ranks: int) -> ModelConfig:
    """A nano's shape over another number of BPE ids, the special ids above them."""
    return replace(config, **_ids(num_ranks))


def nano_scout() -> ModelConfig:
    """scout-nano: Scout's pattern at a size that two CPU cores train in an hour. [ours]

    Chunk and floor_scale shrink to 256 so that chunk edges and temperature are at work at nano lengths.
    """
    return ModelConfig(
        name="scout-nano",
        width=192,
        num_layers=8,
        num_heads=3,
        num_kv_heads=1,
        head_width=64,
        expert_width=256,
        dense_width=512,
        num_experts=8,
        moe_layers=every_nth_layer(1, 8),
        nope_layers=every_nth_layer(4, 8),
        chunk=256,
        qk_norm=True,
        floor_scale=256.0,
        max_positions=8192,
        vision=VisionConfig(tile_size=64, patch_size=8, width=128, num_layers=4, num_heads=4, adapter_width=256, max_tiles=1),
        **_ids(8192),
    )


def nano_maverick() -> ModelConfig:
    """maverick-nano: Maverick's pattern (dense layers in between, many experts, no QK norm) at nano size. [ours]"""
    return replace(nano_scout(), name="maverick-nano", num_experts=32, moe_layers=every_nth_layer(2, 8), qk_norm=False)


def nano_behemoth() -> ModelConfig:
    """behemoth-nano: the teacher's shape, about twice the students' active size. [ours]"""
    return replace(nano_scout(), name="behemoth-nano", width=320, num_heads=5, expert_width=384, dense_width=768)


def nano_guard() -> ModelConfig:
    """guard-nano: scout-nano's shared experts alone, RoPE and full attention everywhere, as Guard 4 is to Scout. [ours]"""
    return replace(
        nano_scout(), name="guard-nano", num_experts=0, moe_layers=(), dense_width=256, nope_layers=(), chunk=None, temperature_tuning=False
    )


def pico_scout(num_ranks: int) -> ModelConfig:
    """Scout's pattern over `num_ranks` BPE ids at about a million parameters, text only: for experiments of minutes. [ours]"""
    shape = replace(
        nano_scout(),
        name="scout-pico",
        width=96,
        num_layers=4,
        head_width=32,
        expert_width=128,
        dense_width=256,
        num_experts=4,
        moe_layers=every_nth_layer(1, 4),
        nope_layers=every_nth_layer(4, 4),
        chunk=64,
        floor_scale=64.0,
        max_positions=4096,
        vision=None,
    )
    return with_vocabulary(shape, num_ranks)


PRESETS: dict[str, Callable[[], ModelConfig]] = {
    "scout": scout,
    "maverick": maverick,
    "behemoth": behemoth,
    "guard": guard,
    "scout-nano": nano_scout,
    "maverick-nano": nano_maverick,
    "behemoth-nano": nano_behemoth,
    "guard-nano": nano_guard,
}


def preset(name: str) -> ModelConfig:
    """The preset called `name`; raises `ConfigError` naming the known ones."""
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]()
