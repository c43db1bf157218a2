"""`fixtures/` holds the three released configs, put together by hand from what is public of them (see docs/sources.md)."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from transformers.models.llama4.configuration_llama4 import Llama4Config, Llama4TextConfig

from puna.checkpoint import CheckpointError, config_from_hf, config_to_hf
from puna.config import RopeScaling
from puna.presets import PRESETS, preset
from puna.testing.hf_models import IMAGE_IDS, SCALED_ROPE, TEXT, VISION
from puna.testing.models import tiny_config

FIXTURES = Path(__file__).parent / "fixtures"
OFFICIAL = {"scout": "scout_instruct.json", "maverick": "maverick_instruct.json", "guard": "guard_4.json"}


def fixture(name: str) -> dict[str, Any]:
    return json.loads((FIXTURES / OFFICIAL[name]).read_text())


def changed(name: str, **changes: Any) -> dict[str, Any]:
    """A fixture with text settings changed; `vision__x` changes vision setting x, `top__x` a setting of the file itself."""
    hf = copy.deepcopy(fixture(name))
    for key, value in changes.items():
        section, _, field = key.rpartition("__") if not key.startswith("top__") else ("top", "", key[5:])
        target = {"": hf["text_config"], "vision": hf["vision_config"], "top": hf}[section]
        target.pop(field, None)
        if value is not ...:  # ... removes the field
            target[field] = value
    return hf


@pytest.mark.parametrize("name", OFFICIAL)
def test_released_configs_are_the_presets(name: str) -> None:
    assert config_from_hf(fixture(name), name=name) == preset(name)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_the_way_through_json(name: str) -> None:
    assert config_from_hf(json.loads(json.dumps(config_to_hf(preset(name))))) == preset(name)


@pytest.mark.parametrize(
    "changes",
    [
        dict(vision=None),
        dict(rope_scaling=RopeScaling(factor=8.0, high_freq_factor=4.0, original_max_positions=64)),
        dict(moe_layers=(0, 3, 4), nope_layers=(0, 4, 5)),
        dict(moe_layers=(), num_experts=0),
        dict(nope_layers=(), chunk=None, temperature_tuning=False),
        dict(nope_layers=tuple(range(8)), chunk=None),
        dict(eos_ids=(257,), image_id=300, qk_norm=False, temperature_tuning=False, attn_scale=0.5),
        dict(vision=None, image_start_id=3, image_end_id=4, image_id=5, patch_id=6),
    ],
    ids=lambda c: "-".join(c),
)
def test_every_field_survives_the_way_through_json(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    assert config_from_hf(json.loads(json.dumps(config_to_hf(config)))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_transformers_reads_what_we_write_and_writes_it_back_unharmed(name: str) -> None:
    config = preset(name)
    if config.vision is None:
        theirs = Llama4TextConfig(**config_to_hf(config))
    else:
        theirs = Llama4Config(**config_to_hf(config))
    assert config_from_hf(json.loads(theirs.to_json_string())) == config


TEXT_VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled_rope": dict(rope_parameters=SCALED_ROPE),
    "moe_every_second": dict(interleave_moe_layer_step=2),
    "uneven": dict(moe_layers=[0, 3, 4], no_rope_layers=[0, 1, 1, 1, 0, 0, 1, 1]),
    "nope_every_second": dict(no_rope_layer_interval=2),
    "no_qk_norm_no_temperature": dict(use_qk_norm=False, attn_temperature_tuning=False),
    "guard_like": dict(
        num_local_experts=0, interleave_moe_layer_step=0, moe_layers=[], no_rope_layers=[1] * 8, attn_temperature_tuning=False
    ),
    "one_end": dict(eos_token_id=257),
}
# What transformers derives from other fields or only notes down. The step counts for nothing beside moe_layers, nor the interval
# beside no_rope_layers.
NOTES = {"puna", "dtype", "architectures", "transformers_version", "interleave_moe_layer_step", "no_rope_layer_interval", "_name_or_path"}


def meaning(hf: dict[str, Any]) -> dict[str, Any]:
    return {k: meaning(v) if isinstance(v, dict) else v for k, v in hf.items() if k not in NOTES}


@pytest.mark.parametrize("changes", TEXT_VARIANTS.values(), ids=TEXT_VARIANTS.keys())
def test_transformers_configs_come_back_the_same(changes: dict[str, Any]) -> None:
    text = {**TEXT, **copy.deepcopy(changes)}
    alone = Llama4TextConfig(**text)
    again = Llama4TextConfig(**config_to_hf(config_from_hf(json.loads(alone.to_json_string()))))
    assert meaning(again.to_dict()) == meaning(alone.to_dict())

    both = Llama4Config(text_config=text, vision_config=VISION, **IMAGE_IDS)
    again = Llama4Config(**config_to_hf(config_from_hf(json.loads(both.to_json_string()))))
    assert meaning(again.to_dict()) == meaning(both.to_dict())


def test_no_rope_layers_counts_ones_as_rope_and_an_empty_list_as_every_fourth() -> None:
    flags = [1] * 48
    flags[5] = 0
    assert config_from_hf(changed("scout", no_rope_layers=flags)).nope_layers == (5,)
    assert config_from_hf(changed("scout", no_rope_layers=[])).nope_layers == tuple(range(3, 48, 4))
    assert config_from_hf(changed("scout", no_rope_layers=None, no_rope_layer_interval=6)).nope_layers == tuple(range(5, 48, 6))
    assert config_from_hf(changed("scout", no_rope_layers=..., no_rope_layer_interval=80)).nope_layers == ()


def test_moe_layers_decide_over_the_interleave_step() -> None:
    assert config_from_hf(changed("scout", moe_layers=[2, 0])).moe_layers == (0, 2)
    assert config_from_hf(changed("scout", interleave_moe_layer_step=2)).moe_layers == tuple(range(1, 48, 2))
    assert config_from_hf(changed("scout", interleave_moe_layer_step=0)).moe_layers == ()


def test_an_integer_switches_temperature_on_and_zero_switches_it_off() -> None:
    assert config_from_hf(changed("scout", attn_temperature_tuning=4)).temperature_tuning
    assert not config_from_hf(changed("scout", attn_temperature_tuning=0)).temperature_tuning
    assert config_from_hf(changed("scout", attn_temperature_tuning=...)).temperature_tuning


def test_full_attention_in_layer_types_means_no_chunk_whatever_the_size() -> None:
    assert config_from_hf(changed("scout", layer_types=["full_attention"] * 48)).chunk is None
    assert config_from_hf(changed("scout", attention_chunk_size=None)).chunk is None


def test_old_and_new_rope_settings_mean_the_same() -> None:
    old = {"type": "llama3", "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 1.0, "original_max_position_embeddings": 8192}
    new = {**old, "rope_type": "llama3", "rope_theta": 700000.0}
    del new["type"]
    a = config_from_hf(changed("scout", rope_scaling=old, rope_theta=700000))
    b = config_from_hf(changed("scout", rope_scaling=..., rope_theta=..., rope_parameters=new))
    assert a == b and a.rope_theta == 700000.0 and a.rope_scaling == RopeScaling()


def test_absent_sizes_fall_back_as_in_transformers() -> None:
    config = config_from_hf(changed("scout", head_dim=None, num_key_value_heads=None, pad_token_id=None))
    assert (config.head_width, config.num_kv_heads, config.pad_id) == (128, 40, 200001)


def test_the_name_comes_from_the_caller_then_the_file() -> None:
    hf = config_to_hf(preset("scout-nano"))
    assert config_from_hf(hf).name == "scout-nano"
    assert config_from_hf(hf, name="other").name == "other"
    assert config_from_hf(changed("scout", top___name_or_path="meta-llama/Llama-4-Scout")).name == "Llama-4-Scout"
    assert config_from_hf(fixture("scout")).name == "llama4"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # what is changed in Scout's config, the field that the message names, and a word of the rule
    (dict(tie_word_embeddings=True), "text_config.tie_word_embeddings is True", "separate"),
    (dict(top__tie_word_embeddings=True), "tie_word_embeddings is True", "separate"),
    (dict(num_experts_per_tok=2), "text_config.num_experts_per_tok is 2", "one expert"),
    (dict(hidden_act="gelu"), "text_config.hidden_act is 'gelu'", "silu"),
    (dict(attention_bias=True), "text_config.attention_bias is True", "no biases"),
    (dict(attention_dropout=0.1), "text_config.attention_dropout is 0.1", "dropout"),
    (dict(router_jitter_noise=0.1), "text_config.router_jitter_noise is 0.1", "noise"),
    (dict(for_llm_compressor=True), "text_config.for_llm_compressor is True", "fused"),
    (dict(num_local_experts=0), "text_config.interleave_moe_layer_step is 1", "num_local_experts is 0"),
    (dict(moe_layers=[48]), "text_config.moe_layers is [48]", "0 to 47"),
    (dict(moe_layers=3), "text_config.moe_layers is 3", "list"),
    (dict(no_rope_layers=[1, 0]), "text_config.no_rope_layers is [1, 0]", "48 layers"),
    (dict(no_rope_layers=[2] * 48), "text_config.no_rope_layers", "1 (RoPE) or a 0 (NoPE)"),
    (dict(no_rope_layers=..., no_rope_layer_interval=0), "text_config.no_rope_layer_interval is 0", "at least 1"),
    (dict(layer_types=["full_attention"]), "text_config.layer_types", "48 layers"),
    (dict(layer_types=["sliding_attention"] * 48), "text_config.layer_types", "'chunked_attention' or 'full_attention'"),
    (dict(layer_types=["chunked_attention"] * 48), "text_config.layer_types", "layer 3 is a NoPE layer"),
    (dict(layer_types=["chunked_attention"] + ["full_attention"] * 47), "text_config.layer_types", "all chunked or all full"),
    (dict(attention_chunk_size=0), "text_config.attention_chunk_size is 0", "at least 1"),
    (dict(attention_chunk_size=10.5), "text_config.attention_chunk_size is 10.5", "whole number"),
    (dict(floor_scale=float("inf")), "text_config.floor_scale is inf", "positive"),
    (dict(attn_temperature_tuning="yes"), "text_config.attn_temperature_tuning is 'yes'", "true or false"),
    (dict(eos_token_id=[]), "text_config.eos_token_id is []", "token id"),
    (dict(vocab_size="many"), "text_config.vocab_size is 'many'", "whole number"),
    (dict(vocab_size=...), "text_config.vocab_size is missing", ""),
    (dict(vocab_size=200000), "lies outside the vocabulary of 200000", ""),
    (dict(num_key_value_heads=7), "num_heads=40 is not divisible by num_kv_heads=7", ""),
    (dict(head_dim=127), "head_width=127 is odd", ""),
    (dict(rope_scaling={"rope_type": "yarn", "factor": 4.0}), "text_config.rope_scaling.rope_type is 'yarn'", "llama3"),
    (dict(rope_scaling={"rope_type": "llama3", "factor": 8.0}), "text_config.rope_scaling.low_freq_factor is missing", ""),
    (dict(rope_scaling="llama3"), "text_config.rope_scaling is 'llama3'", "object"),
    (
        dict(rope_parameters={"rope_type": "default", "rope_theta": 1e4}, rope_scaling=None),
        "text_config.rope_theta is 500000.0",
        "contradicts",
    ),
    (dict(rope_parameters={"rope_type": "default"}), "text_config.rope_scaling is {", "contradicts"),
    (
        dict(rope_scaling=None, rope_parameters={"rope_type": "default", "mscale": 1}),
        "unknown field text_config.rope_parameters.mscale",
        "",
    ),
    (dict(rope_scaling=None, rope_parameters={"partial_rotary_factor": 0.5}), "partial_rotary_factor is 0.5", "whole heads"),
    (dict(model_type="llama"), "text_config.model_type is 'llama'", "llama4_text"),
    (dict(sliding_window=4096), "unknown field text_config.sliding_window", "may change"),
    (dict(top__router_bias=True, top__mtp=1), "unknown fields mtp, router_bias", "may change"),
    (dict(top__quantization_config={"quant_method": "fp8"}), "quantization_config.quant_method is 'fp8'", "bfloat16"),
    (dict(top__text_config=None), "text_config is null", "object"),
    (dict(top__vision_config=...), "vision_config is missing", ""),
    (dict(top__architectures=["Llama4ForCausalLM"]), "architectures is ['Llama4ForCausalLM']", "Llama4ForConditionalGeneration"),
    (dict(top__pad_token_id=7), "pad_token_id is 7", "contradicts text_config.pad_token_id"),
    (dict(top__image_token_id=7), "image_token_id is 7", "contradicts image_token_index"),
    (dict(top__puna={"name": 3}), "puna.name is 3", "string"),
    (dict(top__puna={"nmae": "x"}), "unknown field puna.nmae", ""),
    (dict(vision__intermediate_size=1408), "vision_config.intermediate_size is 1408", "4 x hidden_size = 5632"),
    (dict(vision__projector_input_dim=7680), "vision_config.projector_input_dim is 7680", "projector_output_dim = 4096"),
    (dict(vision__vision_output_dim=7680), "vision_config.vision_output_dim is 7680", "projector_output_dim = 4096"),
    (dict(vision__multi_modal_projector_bias=True), "vision_config.multi_modal_projector_bias is True", "no bias"),
    (dict(vision__hidden_act="quick_gelu"), "vision_config.hidden_act is 'quick_gelu'", "exact gelu"),
    (dict(vision__num_channels=1), "vision_config.num_channels is 1", "three"),
    (dict(vision__norm_eps=1e-6), "vision_config.norm_eps is 1e-06", "1e-05"),
    (dict(vision__image_size=335), "tile_size=335", "multiple"),
    (dict(vision__image_size=[336, 224]), "vision_config.image_size is [336, 224]", "whole number"),
    (dict(vision__pixel_shuffle_ratio=0.25), "pixel_shuffle_ratio=0.25", "only 0.5"),
    (dict(vision__rope_parameters={"rope_type": "axial"}, vision__rope_theta=...), "rope_parameters.rope_type is 'axial'", "not scaled"),
    (dict(vision__use_2d_rope=False), "unknown field vision_config.use_2d_rope", ""),
]


@pytest.mark.parametrize(("changes", "names", "rule"), REFUSED, ids=lambda x: "-".join(x) if isinstance(x, dict) else None)
def test_settings_that_puna_does_not_compute_are_refused_by_name(changes: dict[str, Any], names: str, rule: str) -> None:
    with pytest.raises(CheckpointError) as error:
        config_from_hf(changed("scout", **changes))
    assert names in str(error.value) and rule in str(error.value), str(error.value)


@pytest.mark.parametrize("kind", ["llama", "mllama", "llama4_vision_model", None])
def test_a_foreign_model_type_is_refused(kind: str | None) -> None:
    with pytest.raises(CheckpointError, match=f"model_type is {kind!r}; Puna reads the Llama 4 family only"):
        config_from_hf({"model_type": kind, "hidden_size": 64})


def test_square_sizes_may_be_lists() -> None:
    hf = changed("scout", vision__image_size=[336, 336], vision__patch_size=[14, 14])
    assert config_from_hf(hf, name="scout") == preset("scout")


def test_what_hugging_face_cannot_hold_is_not_written() -> None:
    from dataclasses import replace

    with pytest.raises(CheckpointError, match="floor_scale=2.5"):
        config_to_hf(tiny_config(floor_scale=2.5))
    vision = tiny_config().vision
    assert vision is not None
    with pytest.raises(CheckpointError, match="norm_eps=1e-06"):
        config_to_hf(tiny_config(vision=replace(vision, norm_eps=1e-6)))
