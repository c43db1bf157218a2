"""Hugging Face's `config.json` and `ModelConfig`, each from the other.

Both generations of files are read: the hub's of 2025 (`rope_theta`, `rope_scaling`, `no_rope_layers: []`, an integer
`attn_temperature_tuning`) and those of transformers 5 (`rope_parameters`, `layer_types`). What is written is read alike by
transformers 4.51 and later. A field that would change the mathematics in a way Puna does not compute, and a field nobody here knows,
is refused by name.

What Hugging Face's format has no place for (the model's name, the id of `<|image|>`, the number of tiles) travels in one extra object,
`"puna"`, which transformers keeps and ignores; without it Llama 4's own layout of special ids gives the values. [ours]
"""

from collections.abc import Mapping
from typing import Any

from puna.checkpoint.compressed import schemes_from_hf
from puna.checkpoint.errors import CheckpointError
from puna.checkpoint.fields import Fields, one_or_list, shown
from puna.config import ConfigError, ModelConfig, RopeScaling, VisionConfig, every_nth_layer

# [stated: Meta's tokenizer] places of special ids, counted from <|begin_of_text|>.
_IMAGE_START, _IMAGE_END, _IMAGE, _PATCH = 80, 81, 90, 92

_CHUNKED, _FULL = "chunked_attention", "full_attention"

# Fields that describe the program that wrote the file, or how it generates and trains: they say nothing about the weights' meaning.
_BOOKKEEPING = frozenset(
    """
    architectures attn_implementation cache_implementation chunk_size_feed_forward dtype torch_dtype transformers_version torchscript
    use_bfloat16 use_cache output_attentions output_hidden_states output_router_logits return_dict return_dict_in_generate output_scores
    router_aux_loss_coef is_encoder_decoder is_decoder add_cross_attention cross_attention_hidden_size tie_encoder_decoder
    finetuning_task task_specific_params problem_type id2label label2id tokenizer_class prefix pruned_heads tf_legacy_loss
    sep_token_id decoder_start_token_id forced_bos_token_id forced_eos_token_id suppress_tokens begin_suppress_tokens bad_words_ids
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p
    repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size num_return_sequences remove_invalid_values
    exponential_decay_length_penalty vision_feature_layer vision_feature_select_strategy
    """.split()
)


def config_from_hf(hf: Mapping[str, Any], name: str | None = None) -> ModelConfig:
    """The model that a parsed `config.json` describes. `name` overrides the one in the file."""
    kind = hf.get("model_type")
    if kind == "llama4":
        return _multimodal(hf, name)
    if kind == "llama4_text":
        return _text_only(hf, name)
    raise CheckpointError(f"config.json: model_type is {kind!r}; Puna reads the Llama 4 family only: 'llama4' and 'llama4_text'")


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` for this model: multimodal if it has a vision tower, else text-only."""
    text = _text_to_hf(config)
    if config.vision is None:
        puna = {"name": config.name, "image_start_id": config.image_start_id, "image_end_id": config.image_end_id}
        puna |= {"image_id": config.image_id, "patch_id": config.patch_id}
        return {"architectures": ["Llama4ForCausalLM"], **text, "puna": puna}
    return {
        "architectures": ["Llama4ForConditionalGeneration"],
        "model_type": "llama4",
        "boi_token_index": config.image_start_id,
        "eoi_token_index": config.image_end_id,
        "image_token_index": config.patch_id,
        "tie_word_embeddings": False,
        "text_config": text,
        "vision_config": _vision_to_hf(config.vision),
        "puna": {"name": config.name, "image_id": config.image_id, "max_tiles": config.vision.max_tiles},
    }


def _multimodal(hf: Mapping[str, Any], name: str | None) -> ModelConfig:
    top = Fields("", hf, _BOOKKEEPING)
    _check_storage(top)
    _check_architecture(top, "Llama4ForConditionalGeneration")
    top.only("tie_word_embeddings", (False,), "Llama 4's embedding and output head are separate tensors")
    puna = Fields("puna", top.get("puna", {}))
    text = Fields("text_config", top.get("text_config"), _BOOKKEEPING)
    patch_id = top.whole("image_token_index", top.values.get("image_token_id", 200092))
    ids = {
        "image_start_id": top.whole("boi_token_index", top.values.get("boi_token_id", 200080)),
        "image_end_id": top.whole("eoi_token_index", top.values.get("eoi_token_id", 200081)),
        "image_id": puna.whole("image_id", patch_id - (_PATCH - _IMAGE)),
        "patch_id": patch_id,
    }
    for alias in ("image_token_id", "boi_token_id", "eoi_token_id"):  # newer spellings of the three above
        top.only(alias, (hf.get(alias.replace("_id", "_index"), hf.get(alias)),), f"it contradicts {alias.replace('_id', '_index')}")
    for field in ("bos_token_id", "eos_token_id", "pad_token_id"):  # some writers repeat the text model's ids here
        top.only(field, (text.values.get(field),), f"it contradicts text_config.{field}")
    vision = _vision_from_hf(Fields("vision_config", top.get("vision_config"), _BOOKKEEPING), puna.whole("max_tiles", 16, least=1))
    config = _build(text, ids, vision, _name(name, puna, hf))
    for fields in (text, puna, top):
        fields.finish()
    return config


def _text_only(hf: Mapping[str, Any], name: str | None) -> ModelConfig:
    text = Fields("", hf, _BOOKKEEPING)
    _check_storage(text)
    _check_architecture(text, "Llama4ForCausalLM")
    puna = Fields("puna", text.get("puna", {}))
    bos = text.whole("bos_token_id", 1)
    places = {"image_start_id": _IMAGE_START, "image_end_id": _IMAGE_END, "image_id": _IMAGE, "patch_id": _PATCH}
    ids = {field: puna.whole(field, bos + place) for field, place in places.items()}
    config = _build(text, ids, None, _name(name, puna, hf))
    for fields in (text, puna):
        fields.finish()
    return config


def _check_storage(fields: Fields) -> None:
    """How the weights are stored changes no shape, but a way that nobody here can undo is refused before anything else is said."""
    schemes_from_hf(fields.values)
    fields.get("quantization_config", None)


def _check_architecture(fields: Fields, expected: str) -> None:
    architectures = fields.get("architectures", None) or [expected]
    if architectures != [expected]:
        raise fields.error("architectures", f"model_type {fields.get('model_type')!r} goes with {expected}")
    fields.get("model_type")


def _name(given: str | None, puna: Fields, hf: Mapping[str, Any]) -> str:
    stored = puna.get("name", None) or str(hf.get("_name_or_path") or "").rstrip("/").rpartition("/")[2] or "llama4"
    if not isinstance(stored, str):
        raise puna.error("name", "it must be a string")
    return given or stored


def _build(text: Fields, image_ids: dict[str, int], vision: VisionConfig | None, name: str) -> ModelConfig:
    if text.get("model_type") != "llama4_text":
        raise text.error("model_type", "the text model of Llama 4 is 'llama4_text'")
    _refuse_other_text_models(text)
    num_layers = text.whole("num_hidden_layers", least=1)
    nope_layers = _nope_layers(text, num_layers)
    num_experts = text.whole("num_local_experts", 16)
    num_heads, width = text.whole("num_attention_heads", least=1), text.whole("hidden_size", least=1)
    eos_ids = _eos_ids(text)
    try:
        return ModelConfig(
            name=name,
            vocab_size=text.whole("vocab_size", least=1),
            width=width,
            num_layers=num_layers,
            num_heads=num_heads,
            num_kv_heads=_unless_null(text, "num_key_value_heads", num_heads),
            head_width=_unless_null(text, "head_dim", width // num_heads),
            expert_width=text.whole("intermediate_size", least=1),
            dense_width=text.whole("intermediate_size_mlp", 16384, least=1),
            num_experts=num_experts,
            moe_layers=_moe_layers(text, num_layers, num_experts),
            nope_layers=nope_layers,
            chunk=_chunk(text, num_layers, nope_layers),
            qk_norm=text.claim("use_qk_norm", True),
            rope_theta=_rope_theta(text, 500000.0),
            rope_scaling=_rope_scaling(text),
            # Temperature acts in NoPE layers alone: without them the setting is without effect, and its canonical value is False.
            temperature_tuning=text.claim("attn_temperature_tuning", True) and bool(nope_layers),
            floor_scale=text.number("floor_scale", 8192),
            attn_scale=text.number("attn_scale", 0.1),
            norm_eps=text.number("rms_norm_eps", 1e-5),
            max_positions=text.whole("max_position_embeddings", 131072, least=1),
            initializer_range=text.number("initializer_range", 0.02),
            bos_id=text.whole("bos_token_id", 1),
            eos_ids=eos_ids,
            pad_id=_unless_null(text, "pad_token_id", eos_ids[0], least=0),  # Puna never pads: any id that ends a text will do
            vision=vision,
            **image_ids,
        )
    except ConfigError as error:
        raise CheckpointError(f"config.json: {error}") from error


def _refuse_other_text_models(text: Fields) -> None:
    text.only("tie_word_embeddings", (False,), "Llama 4's embedding and output head are separate tensors")
    text.only("num_experts_per_tok", (1,), "Llama 4 routes every token to one expert")
    text.only("hidden_act", ("silu",), "Llama 4's feed-forward layers are SwiGLU, with silu")
    text.only("attention_bias", (False,), "Llama 4's attention has no biases")
    text.only("attention_dropout", (0,), "Puna computes no dropout")
    text.only("router_jitter_noise", (0,), "Puna's router adds no noise")
    text.only("for_llm_compressor", (False,), "that layout keeps every expert in tensors of its own, and Puna reads the fused one")


def _unless_null(fields: Fields, name: str, otherwise: int, *, least: int = 1) -> int:
    return otherwise if fields.get(name, None) is None else fields.whole(name, least=least)


def _eos_ids(text: Fields) -> tuple[int, ...]:
    value = text.get("eos_token_id", 2)
    ids = value if isinstance(value, list | tuple) else [value]
    if not ids or not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise text.error("eos_token_id", "it must be one token id or a list of them")
    return tuple(ids)


def _layer_list(text: Fields, name: str) -> list[Any] | None:
    value = text.get(name, None)
    if value is not None and not isinstance(value, list | tuple):
        raise text.error(name, "it must be a list")
    return None if value is None else list(value)


def _nope_layers(text: Fields, num_layers: int) -> tuple[int, ...]:
    """`no_rope_layers` says the opposite of its name: 1 is a RoPE layer, 0 a NoPE layer. Empty means "every fourth". [hf]"""
    flags = _layer_list(text, "no_rope_layers")
    interval = text.get("no_rope_layer_interval", 4)
    if not flags:
        if interval is None:
            return ()
        return every_nth_layer(text.whole("no_rope_layer_interval", 4, least=1), num_layers)
    if len(flags) < num_layers or not all(isinstance(flag, int) and flag in (0, 1) for flag in flags):
        raise text.error("no_rope_layers", f"it needs a 1 (RoPE) or a 0 (NoPE) for each of {num_layers} layers, or must be empty")
    return tuple(i for i, flag in enumerate(flags[:num_layers]) if not flag)


def _moe_layers(text: Fields, num_layers: int, num_experts: int) -> tuple[int, ...]:
    """`moe_layers` decides; without it every `interleave_moe_layer_step`-th layer is one, and step 0 means none (Llama Guard). [hf]"""
    listed = _layer_list(text, "moe_layers")
    step = text.whole("interleave_moe_layer_step", 1)
    if listed is not None and not all(isinstance(i, int) and 0 <= i < num_layers for i in listed):
        raise text.error("moe_layers", f"it must list layers from 0 to {num_layers - 1}")
    layers = tuple(sorted(set(listed))) if listed is not None else every_nth_layer(step, num_layers)
    if layers and not num_experts:
        named = "moe_layers" if listed is not None else "interleave_moe_layer_step"
        raise text.error(named, "it asks for MoE layers, but num_local_experts is 0; a dense model has moe_layers [] or step 0")
    return layers


def _chunk(text: Fields, num_layers: int, nope_layers: tuple[int, ...]) -> int | None:
    """The chunk of the RoPE layers; None if they see the whole context, or if there are none.

    `layer_types` and `attention_chunk_size` both may say so. Llama Guard's `chunked_attention` without a size can only mean full.
    """
    chunk = None if text.get("attention_chunk_size", 8192) is None else text.whole("attention_chunk_size", 8192, least=1)
    types = _layer_list(text, "layer_types")
    if types is None:
        return chunk if len(nope_layers) < num_layers else None
    if len(types) != num_layers or not set(types) <= {_CHUNKED, _FULL}:
        raise text.error("layer_types", f"it must name {_CHUNKED!r} or {_FULL!r} for each of {num_layers} layers")
    wrong = [i for i in nope_layers if types[i] != _FULL and chunk is not None]
    if wrong:
        raise text.error("layer_types", f"layer {wrong[0]} is a NoPE layer, and those see the whole context: it must be {_FULL!r}")
    rope_types = {kind for i, kind in enumerate(types) if i not in nope_layers}
    if len(rope_types) > 1:
        raise text.error("layer_types", "the RoPE layers must be all chunked or all full")
    return chunk if rope_types == {_CHUNKED} else None


def _rope_parameters(fields: Fields) -> Fields:
    """The new `rope_parameters`, or the old `rope_scaling`: the same object under two names."""
    new, old = fields.get("rope_parameters", None), fields.get("rope_scaling", None)
    if isinstance(new, Mapping) and isinstance(old, Mapping) and new and old and {**new, "rope_theta": 0} != {**old, "rope_theta": 0}:
        raise fields.error("rope_scaling", f"it contradicts rope_parameters, {shown(new)}")
    return Fields(fields.label("rope_parameters" if new else "rope_scaling"), new or old or {}, file=fields.file)


def _rope_theta(fields: Fields, default: float) -> float:
    inner = _rope_parameters(fields)
    outer_theta = fields.number("rope_theta", default)
    theta = inner.number("rope_theta", outer_theta)
    if "rope_theta" in fields.values and theta != outer_theta:
        raise fields.error("rope_theta", f"it contradicts {inner.label('rope_theta')}, {theta}")
    return theta


def _rope_scaling(text: Fields) -> RopeScaling | None:
    rope = _rope_parameters(text)
    kind = rope.get("rope_type", rope.get("type", "default"))
    rope.get("rope_theta", None)
    rope.only("type", (kind,), f"it contradicts rope_type {kind!r}")
    rope.only("partial_rotary_factor", (1,), "Llama 4 rotates whole heads")
    if kind == "default":
        rope.finish()
        return None
    if kind != "llama3":
        raise CheckpointError(f"config.json: {rope.label('rope_type')} is {shown(kind)}; Llama 4 has 'llama3' (Scout) or none (Maverick)")
    scaling = RopeScaling(
        factor=rope.number("factor"),
        low_freq_factor=rope.number("low_freq_factor"),
        high_freq_factor=rope.number("high_freq_factor"),
        original_max_positions=rope.whole("original_max_position_embeddings", least=1),
    )
    rope.finish()
    return scaling


def _vision_from_hf(vision: Fields, max_tiles: int) -> VisionConfig:
    width, adapter = vision.whole("hidden_size", least=1), vision.whole("projector_output_dim", least=1)
    vision.only("model_type", ("llama4_vision_model",), "the vision tower of Llama 4 is 'llama4_vision_model'")
    vision.only("hidden_act", ("gelu",), "Llama 4's vision tower uses the exact gelu")
    vision.only("num_channels", (3,), "tiles have three colours")
    vision.only("intermediate_size", (4 * width,), f"it must be 4 x hidden_size = {4 * width}: the adapter reads four patches side by side")
    for field in ("projector_input_dim", "vision_output_dim"):
        vision.only(field, (adapter,), f"it must equal projector_output_dim = {adapter}")
    vision.only("multi_modal_projector_bias", (False,), "Llama 4's projector has no bias")
    vision.only("attention_dropout", (0,), "Puna computes no dropout")
    vision.only("projector_dropout", (0,), "Puna computes no dropout")
    vision.only("norm_eps", (1e-5,), "it must be 1e-05: transformers computes with that whatever the field says, and so did Meta")
    rope = _rope_parameters(vision)
    rope.only("rope_type", ("default",), "the vision tower's RoPE is not scaled")
    rope.get("rope_theta", None)
    rope.finish()
    vision.get("initializer_range", None)
    try:
        config = VisionConfig(
            tile_size=_side(vision, "image_size"),
            patch_size=_side(vision, "patch_size"),
            width=width,
            num_layers=vision.whole("num_hidden_layers", least=1),
            num_heads=vision.whole("num_attention_heads", least=1),
            adapter_width=adapter,
            max_tiles=max_tiles,
            pixel_shuffle_ratio=vision.number("pixel_shuffle_ratio", 0.5),
            rope_theta=_rope_theta(vision, 10000.0),
        )
    except ConfigError as error:
        raise CheckpointError(f"config.json: vision_config: {error}") from error
    vision.finish()
    return config


def _side(vision: Fields, name: str) -> int:
    value = vision.get(name)
    if isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]:
        return Fields(vision.where, {name: value[0]}).whole(name, least=1)
    return vision.whole(name, least=1)


def _text_to_hf(config: ModelConfig) -> dict[str, Any]:
    if config.floor_scale != int(config.floor_scale):
        raise CheckpointError(f"floor_scale={config.floor_scale}: Hugging Face's format keeps it as a whole number")
    layers = config.layers()
    scaling = config.rope_scaling
    return {
        "model_type": "llama4_text",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.expert_width,
        "intermediate_size_mlp": config.dense_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_positions,
        "initializer_range": float(config.initializer_range),
        "rms_norm_eps": float(config.norm_eps),
        "bos_token_id": config.bos_id,
        "eos_token_id": one_or_list(config.eos_ids),
        "pad_token_id": config.pad_id,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "num_local_experts": config.num_experts,
        "num_experts_per_tok": 1,
        "moe_layers": list(config.moe_layers),
        "interleave_moe_layer_step": _interval(config.moe_layers, config.num_layers, none=0),
        "router_aux_loss_coef": 0.001,
        "router_jitter_noise": 0.0,
        "output_router_logits": False,
        "use_cache": True,
        "use_qk_norm": config.qk_norm,
        "rope_theta": float(config.rope_theta),
        "rope_scaling": None
        if scaling is None
        else {
            "rope_type": "llama3",
            "factor": float(scaling.factor),
            "low_freq_factor": float(scaling.low_freq_factor),
            "high_freq_factor": float(scaling.high_freq_factor),
            "original_max_position_embeddings": scaling.original_max_positions,
        },
        "no_rope_layers": [int(layer.rope) for layer in layers],
        "no_rope_layer_interval": _interval(config.nope_layers, config.num_layers, none=config.num_layers + 1),
        "layer_types": [_CHUNKED if layer.is_local else _FULL for layer in layers],
        # transformers 5 builds a chunked mask for every model and fails on null; with all layers full the size is never used. [hf]
        "attention_chunk_size": config.max_positions if config.chunk is None else config.chunk,
        "attn_temperature_tuning": config.temperature_tuning,
        "floor_scale": int(config.floor_scale),
        "attn_scale": float(config.attn_scale),
    }


def _interval(layers: tuple[int, ...], num_layers: int, *, none: int) -> int:
    """The step that gives these layers by Llama 4's rule; the lists beside it decide when there is no such step."""
    if not layers:
        return none
    step = layers[0] + 1
    return step if every_nth_layer(step, num_layers) == layers else 1


def _vision_to_hf(vision: VisionConfig) -> dict[str, Any]:
    if vision.norm_eps != 1e-5:
        raise CheckpointError(
            f"vision norm_eps={vision.norm_eps}: transformers always computes the tower with 1e-05, so no other value can be saved"
        )
    return {
        "model_type": "llama4_vision_model",
        "hidden_size": vision.width,
        "hidden_act": "gelu",
        "num_hidden_layers": vision.num_layers,
        "num_attention_heads": vision.num_heads,
        "num_channels": 3,
        "intermediate_size": vision.shuffled_width,
        "vision_output_dim": vision.adapter_width,
        "image_size": vision.tile_size,
        "patch_size": vision.patch_size,
        "norm_eps": float(vision.norm_eps),
        "vision_feature_select_strategy": "default",
        "initializer_range": 0.02,
        "pixel_shuffle_ratio": float(vision.pixel_shuffle_ratio),
        "projector_input_dim": vision.adapter_width,
        "projector_output_dim": vision.adapter_width,
        "multi_modal_projector_bias": False,
        "projector_dropout": 0.0,
        "attention_dropout": 0.0,
        "rope_theta": float(vision.rope_theta),
    }
