"""One table: our `state_dict` names beside Hugging Face's.

Two forms exist. A multimodal checkpoint (`Llama4ForConditionalGeneration`) keeps its text tensors under `language_model.`; a text-only
one (`Llama4ForCausalLM`) has no prefix. Vision and projector names occur in the first form only. Tensors keep their layout: Hugging
Face's Llama 4 stores q and k in Meta's interleaved RoPE order and experts input-major, as we do. [hf]
"""

import re
from collections.abc import Iterable

from puna.checkpoint.errors import CheckpointError

TEXT_PREFIX = "language_model."

# `{i}` is a layer. `{wb}` stands for two rows, `weight` and `bias`.
TEXT_NAMES: tuple[tuple[str, str], ...] = (
    ("text.embed.weight", "model.embed_tokens.weight"),
    ("text.layers.{i}.attention_norm.weight", "model.layers.{i}.input_layernorm.weight"),
    ("text.layers.{i}.attention.wq.weight", "model.layers.{i}.self_attn.q_proj.weight"),
    ("text.layers.{i}.attention.wk.weight", "model.layers.{i}.self_attn.k_proj.weight"),
    ("text.layers.{i}.attention.wv.weight", "model.layers.{i}.self_attn.v_proj.weight"),
    ("text.layers.{i}.attention.wo.weight", "model.layers.{i}.self_attn.o_proj.weight"),
    ("text.layers.{i}.feed_forward_norm.weight", "model.layers.{i}.post_attention_layernorm.weight"),
    ("text.layers.{i}.feed_forward.w_gate.weight", "model.layers.{i}.feed_forward.gate_proj.weight"),
    ("text.layers.{i}.feed_forward.w_up.weight", "model.layers.{i}.feed_forward.up_proj.weight"),
    ("text.layers.{i}.feed_forward.w_down.weight", "model.layers.{i}.feed_forward.down_proj.weight"),
    ("text.layers.{i}.feed_forward.router.weight", "model.layers.{i}.feed_forward.router.weight"),
    ("text.layers.{i}.feed_forward.experts.w_gate_up", "model.layers.{i}.feed_forward.experts.gate_up_proj"),
    ("text.layers.{i}.feed_forward.experts.w_down", "model.layers.{i}.feed_forward.experts.down_proj"),
    ("text.layers.{i}.feed_forward.shared.w_gate.weight", "model.layers.{i}.feed_forward.shared_expert.gate_proj.weight"),
    ("text.layers.{i}.feed_forward.shared.w_up.weight", "model.layers.{i}.feed_forward.shared_expert.up_proj.weight"),
    ("text.layers.{i}.feed_forward.shared.w_down.weight", "model.layers.{i}.feed_forward.shared_expert.down_proj.weight"),
    ("text.norm.weight", "model.norm.weight"),
    ("text.head.weight", "lm_head.weight"),
)
VISION_NAMES: tuple[tuple[str, str], ...] = (
    ("vision.patch_embed.weight", "vision_model.patch_embedding.linear.weight"),
    ("vision.class_embedding", "vision_model.class_embedding"),
    ("vision.position_embedding", "vision_model.positional_embedding_vlm"),
    ("vision.norm_pre.{wb}", "vision_model.layernorm_pre.{wb}"),
    ("vision.layers.{i}.attention_norm.{wb}", "vision_model.model.layers.{i}.input_layernorm.{wb}"),
    ("vision.layers.{i}.attention.wq.{wb}", "vision_model.model.layers.{i}.self_attn.q_proj.{wb}"),
    ("vision.layers.{i}.attention.wk.{wb}", "vision_model.model.layers.{i}.self_attn.k_proj.{wb}"),
    ("vision.layers.{i}.attention.wv.{wb}", "vision_model.model.layers.{i}.self_attn.v_proj.{wb}"),
    ("vision.layers.{i}.attention.wo.{wb}", "vision_model.model.layers.{i}.self_attn.o_proj.{wb}"),
    ("vision.layers.{i}.feed_forward_norm.{wb}", "vision_model.model.layers.{i}.post_attention_layernorm.{wb}"),
    ("vision.layers.{i}.feed_forward.fc1.{wb}", "vision_model.model.layers.{i}.mlp.fc1.{wb}"),
    ("vision.layers.{i}.feed_forward.fc2.{wb}", "vision_model.model.layers.{i}.mlp.fc2.{wb}"),
    ("vision.norm_post.{wb}", "vision_model.layernorm_post.{wb}"),
    ("vision.adapter.fc1.weight", "vision_model.vision_adapter.mlp.fc1.weight"),
    ("vision.adapter.fc2.weight", "vision_model.vision_adapter.mlp.fc2.weight"),
    ("projector.weight", "multi_modal_projector.linear_1.weight"),
)

_LAYER = re.compile(r"(?<=\.)(\d+)(?=\.)")


def _expanded(rows: Iterable[tuple[str, str]], hf_prefix: str) -> list[tuple[str, str]]:
    return [
        (ours.replace("{wb}", leaf), hf_prefix + theirs.replace("{wb}", leaf))
        for ours, theirs in rows
        for leaf in (("weight", "bias") if "{wb}" in ours else ("weight",))
    ]


_TO_HF = {False: dict(_expanded(TEXT_NAMES, TEXT_PREFIX) + _expanded(VISION_NAMES, "")), True: dict(_expanded(TEXT_NAMES, ""))}


def to_hf_name(name: str, *, text_only: bool) -> str:
    """Hugging Face's name of our tensor.

    >>> to_hf_name("text.layers.3.attention.wq.weight", text_only=False)
    'language_model.model.layers.3.self_attn.q_proj.weight'
    """
    layer = _LAYER.search(name)
    template = _TO_HF[text_only].get(name if layer is None else name[: layer.start()] + "{i}" + name[layer.end() :])
    if template is None:
        raise CheckpointError(f"tensor {name} has no Hugging Face name in the {'text-only' if text_only else 'multimodal'} form")
    return template if layer is None else template.replace("{i}", layer[1])
