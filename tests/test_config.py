from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from puna.config import ConfigError, ModelConfig, VisionConfig, every_nth_layer
from puna.presets import LLAMA4_VISION, preset


def test_nope_layers_are_every_fourth_counting_from_three() -> None:
    layers = preset("scout").layers()
    assert [layer.index for layer in layers if not layer.rope] == [3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47]
    assert [layer.index for layer in layers] == list(range(48))


def test_a_nope_layer_sees_everything_and_tempers_its_queries() -> None:
    for layer in preset("scout").layers():
        nope = layer.index % 4 == 3
        assert layer.rope is not nope
        assert layer.qk_norm is not nope
        assert layer.temperature is nope
        assert layer.chunk == (None if nope else 8192)
        assert layer.is_local is not nope


def test_maverick_routes_in_odd_layers_and_norms_no_queries() -> None:
    layers = preset("maverick").layers()
    assert [layer.index for layer in layers if layer.feed_forward == "moe"] == list(range(1, 48, 2))
    assert not any(layer.qk_norm for layer in layers)
    assert [layer.index for layer in layers if layer.temperature] == list(range(3, 48, 4))


def test_scout_routes_in_every_layer() -> None:
    assert {layer.feed_forward for layer in preset("scout").layers()} == {"moe"}


def test_guard_rotates_and_sees_everything_in_every_layer() -> None:
    for layer in preset("guard").layers():
        assert (layer.rope, layer.chunk, layer.temperature, layer.feed_forward) == (True, None, False, "dense")


def test_temperature_can_be_switched_off() -> None:
    assert not any(layer.temperature for layer in replace(preset("scout"), temperature_tuning=False).layers())


@pytest.mark.parametrize(("interval", "layers"), [(None, ()), (0, ()), (1, (0, 1, 2, 3, 4)), (2, (1, 3)), (4, (3,)), (5, (4,)), (6, ())])
def test_every_nth_layer_counts_from_the_interval(interval: int | None, layers: tuple[int, ...]) -> None:
    assert every_nth_layer(interval, 5) == layers


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(num_kv_heads=7), "num_heads=40.*num_kv_heads=7"),
        (dict(head_width=127), "head_width=127"),
        (dict(moe_layers=(0, 48)), "moe_layers names layer 48.*0 to 47"),
        (dict(nope_layers=(-1,)), "nope_layers names layer -1"),
        (dict(num_experts=0), "num_experts=0"),
        (dict(pad_id=202048), "pad_id=202048.*202048 ids"),
        (dict(patch_id=-1), "patch_id=-1"),
        (dict(eos_ids=(200001, 202048)), "eos_ids.*202048"),
        (dict(num_heads=0), "num_heads=0"),
        (dict(num_kv_heads=0), "num_kv_heads=0"),
        (dict(num_layers=0, moe_layers=(), nope_layers=()), "num_layers=0"),
        (dict(chunk=0), "chunk=0"),
        (dict(floor_scale=0.0), "floor_scale=0"),
        (dict(max_positions=0), "max_positions=0"),
        (dict(width=-5120), "width=-5120"),
    ],
)
def test_a_shape_that_cannot_be_built_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(preset("scout"), **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(tile_size=335), "tile_size=335.*patch_size=14"),
        (dict(tile_size=42), "3 patches a side"),
        (dict(pixel_shuffle_ratio=0.25), "pixel_shuffle_ratio=0.25"),
        (dict(num_heads=13), "width=1408 over num_heads=13"),
        (dict(width=96), "width=96 over num_heads=16"),
        (dict(patch_size=0), "patch_size=0"),
        (dict(num_heads=0), "num_heads=0"),
        (dict(max_tiles=0), "max_tiles=0"),
    ],
)
def test_a_tower_that_cannot_be_built_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(LLAMA4_VISION, **changes)


def test_a_config_error_is_a_value_error() -> None:
    assert issubclass(ConfigError, ValueError)


def test_llama_4s_tower_fills_144_tokens_a_tile() -> None:
    assert (LLAMA4_VISION.patches_per_side, LLAMA4_VISION.tokens_per_tile) == (24, 144)
    assert (LLAMA4_VISION.head_width, LLAMA4_VISION.shuffled_width) == (88, 5632)


def test_configs_do_not_change_and_take_no_unknown_fields() -> None:
    with pytest.raises(FrozenInstanceError):
        preset("scout").width = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        ModelConfig(name="x", rope="yes")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        VisionConfig(336, 14, 1408, 34, 16, 4096)  # type: ignore[misc]
