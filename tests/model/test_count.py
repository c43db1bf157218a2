from dataclasses import replace

import pytest

from puna.model.count import PARTS, cache_bytes, count_parameters, part_of
from puna.presets import PRESETS, preset

GIB = 1 << 30


@pytest.mark.parametrize(
    ("name", "total", "text"),
    [
        ("scout", 108_641_793_536, 107_769_861_120),
        ("maverick", 401_583_781_376, 400_711_848_960),
        ("guard", 12_001_097_216, 11_129_164_800),
    ],
)
def test_totals_are_the_published_ones(name: str, total: int, text: int) -> None:
    count = count_parameters(preset(name))
    assert count.total == total
    assert count.text == text
    assert count.total - count.text == 871_932_416


@pytest.mark.parametrize(
    ("name", "active", "without"), [("scout", 17.173, 16.138), ("maverick", 17.185, 16.150), ("guard", 11.129, 10.095)]
)
def test_active_parameters_are_the_published_ones(name: str, active: float, without: float) -> None:
    count = count_parameters(preset(name))
    assert round(count.active / 1e9, 3) == active
    assert round(count.active_without_embedding / 1e9, 3) == without


def test_parts_of_scout_and_maverick() -> None:
    scout, maverick = count_parameters(preset("scout")).parts, count_parameters(preset("maverick")).parts
    assert scout["attention"] == maverick["attention"] == 48 * 62_914_560
    assert scout["routed experts"] == 48 * 16 * 3 * 5120 * 8192
    assert maverick["routed experts"] == 24 * 128 * 3 * 5120 * 8192
    assert scout["shared experts"] == 2 * maverick["shared experts"] == 48 * 3 * 5120 * 8192
    assert (scout["router"], maverick["router"]) == (48 * 16 * 5120, 24 * 128 * 5120)
    assert (scout["dense"], maverick["dense"]) == (0, 24 * 3 * 5120 * 16384)
    assert scout["embedding"] == scout["head"] == 202_048 * 5120
    assert scout["norms"] == (2 * 48 + 1) * 5120
    assert [round(scout[part] / 1e6, 1) for part in ("vision", "adapter", "projector")] == [811.1, 39.8, 21.0]


def test_behemoth_agrees_with_the_three_stated_figures() -> None:
    count = count_parameters(preset("behemoth"))
    assert 280e9 < count.active < 296e9
    assert 1.9e12 < count.total < 2.05e12
    assert preset("behemoth").num_experts == 16


@pytest.mark.parametrize("name", PRESETS)
def test_every_parameter_is_counted_once(name: str) -> None:
    import torch

    from puna.model import Model

    config = preset(name)
    with torch.device("meta"):
        expected = sum(parameter.numel() for parameter in Model(config).parameters())
    count = count_parameters(config)
    assert count.total == expected
    assert tuple(count.parts) == PARTS
    assert count.bf16_bytes == 2 * expected


def test_a_model_without_vision_has_no_vision_parameters() -> None:
    parts = count_parameters(replace(preset("scout-nano"), vision=None)).parts
    assert parts["vision"] == parts["adapter"] == parts["projector"] == 0


def test_a_parameter_of_an_unknown_part_is_an_error() -> None:
    assert part_of("text.layers.3.feed_forward.experts.w_down") == "routed experts"
    assert part_of("text.layers.3.feed_forward_norm.weight") == "norms"
    with pytest.raises(ValueError, match="audio.stem.weight"):
        part_of("audio.stem.weight")


def test_int4_sizes_follow_metas_scheme() -> None:
    count = count_parameters(preset("scout"))
    experts = count.parts["routed experts"] + count.parts["shared experts"]
    assert count.int4_bytes == experts // 2 + experts // 128 * 4 + 2 * (count.total - experts)
    assert round(count.int4_bytes / 1e9, 1) == 66.5
    assert count.int8_bytes - count.int4_bytes == experts // 2


def test_scales_are_counted_for_the_last_short_group() -> None:
    nano = replace(preset("scout-nano"), num_layers=1, moe_layers=(), nope_layers=(), width=192, dense_width=130, vision=None)
    count = count_parameters(nano)
    gate_and_up, down = 2 * 130 * 2, 192 * 2
    assert count.int8_bytes - count.bf16_bytes == -count.parts["dense"] + 4 * (gate_and_up + down)


def test_cache_sizes_of_llama_4() -> None:
    cache = cache_bytes(preset("scout"))
    assert (cache.global_per_token, cache.local_per_token, cache.local_cap) == (48 << 10, 144 << 10, 9 * GIB // 8)
    for tokens, gib in [(8 << 10, 1.5), (128 << 10, 7.1), (256 << 10, 13.1), (1 << 20, 49.1), (10 << 20, 481.1)]:
        assert round(cache.sequence(tokens) / GIB, 1) == gib


def test_a_model_without_local_layers_has_no_cap() -> None:
    cache = cache_bytes(preset("guard"))
    assert (cache.global_per_token, cache.local_per_token, cache.local_cap) == (192 << 10, 0, None)
    assert cache.sequence(1000) == 1000 * (192 << 10)
