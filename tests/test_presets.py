import pytest

from puna.config import ConfigError
from puna.presets import LLAMA4_VISION, PRESETS, preset

# Fact sheet values that both released models share.
SHARED = dict(
    width=5120,
    num_layers=48,
    num_heads=40,
    num_kv_heads=8,
    head_width=128,
    expert_width=8192,
    dense_width=16384,
    chunk=8192,
    rope_theta=500000.0,
    floor_scale=8192.0,
    attn_scale=0.1,
    norm_eps=1e-5,
    vocab_size=202048,
    bos_id=200000,
    eos_ids=(200001, 200007, 200008),
    pad_id=200018,
    image_start_id=200080,
    image_end_id=200081,
    image_id=200090,
    patch_id=200092,
    vision=LLAMA4_VISION,
    temperature_tuning=True,
)


@pytest.mark.parametrize("name", ["scout", "maverick"])
def test_released_models_have_the_published_numbers(name: str) -> None:
    config = preset(name)
    assert {field: getattr(config, field) for field in SHARED} == SHARED
    assert config.groups == 5


def test_scout_and_maverick_differ_where_meta_says() -> None:
    scout, maverick = preset("scout"), preset("maverick")
    assert (scout.num_experts, maverick.num_experts) == (16, 128)
    assert (scout.qk_norm, maverick.qk_norm) == (True, False)
    assert (scout.max_positions, maverick.max_positions) == (10485760, 1048576)
    assert maverick.rope_scaling is None
    scaling = scout.rope_scaling
    assert scaling is not None
    assert (scaling.factor, scaling.low_freq_factor, scaling.high_freq_factor, scaling.original_max_positions) == (16, 1, 1, 8192)


def test_llama_4s_tower_has_the_published_numbers() -> None:
    tower = LLAMA4_VISION
    assert (tower.tile_size, tower.patch_size, tower.width, tower.num_layers, tower.num_heads) == (336, 14, 1408, 34, 16)
    assert (tower.adapter_width, tower.max_tiles, tower.rope_theta, tower.norm_eps) == (4096, 16, 10000, 1e-5)


def test_guard_keeps_the_shared_experts_width() -> None:
    guard = preset("guard")
    assert (guard.dense_width, guard.num_experts, guard.moe_layers, guard.nope_layers, guard.chunk) == (8192, 0, (), (), None)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_called_by_its_name(name: str) -> None:
    assert preset(name).name == name


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith("-nano")])
def test_nanos_have_chunk_edges_and_temperature_at_work_inside_their_context(name: str) -> None:
    config = preset(name)
    if name != "guard-nano":
        assert config.chunk is not None and config.chunk * 4 <= config.max_positions
        assert config.floor_scale * 4 <= config.max_positions
    assert config.head_width == 64
    assert config.vision is not None and config.vision.tokens_per_tile == 16


def test_nano_ids_are_llama_4s_offsets_above_their_own_vocabulary() -> None:
    nano, scout = preset("scout-nano"), preset("scout")
    for field in ("bos_id", "pad_id", "image_start_id", "image_end_id", "image_id", "patch_id"):
        assert getattr(nano, field) - nano.bos_id == getattr(scout, field) - scout.bos_id
    assert [i - nano.bos_id for i in nano.eos_ids] == [i - scout.bos_id for i in scout.eos_ids]


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'llama'.*scout, maverick, behemoth, guard"):
        preset("llama")
