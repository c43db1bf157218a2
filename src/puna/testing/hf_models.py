"""Random Llama 4 models made by `transformers`, the reference of the parity suite. The only file that needs `transformers`.

Fresh `transformers` weights give logits near zero, where any two programs agree. Here every product keeps the size of its input, router
logits differ by about one, norms and biases are not trivial, and logits come out of order several.
"""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers.models.llama4.configuration_llama4 import Llama4Config, Llama4TextConfig
from transformers.models.llama4.modeling_llama4 import Llama4ForCausalLM, Llama4ForConditionalGeneration

HFModel = Llama4ForCausalLM | Llama4ForConditionalGeneration
AnyHF = TypeVar("AnyHF", Llama4ForCausalLM, Llama4ForConditionalGeneration)

# 8 layers over 384 ids, chunk 8 and floor_scale 4: a few dozen tokens reach every branch.
TEXT: dict[str, Any] = dict(
    vocab_size=384,
    hidden_size=48,
    intermediate_size=40,
    intermediate_size_mlp=64,
    num_hidden_layers=8,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    num_local_experts=4,
    attention_chunk_size=8,
    floor_scale=4,
    max_position_embeddings=4096,
    bos_token_id=256,
    eos_token_id=[257, 263, 264],
    pad_token_id=274,
)
VISION: dict[str, Any] = dict(
    hidden_size=32,
    intermediate_size=128,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=24,
    patch_size=4,
    projector_input_dim=20,
    projector_output_dim=20,
    vision_output_dim=20,
)
IMAGE_IDS: dict[str, Any] = dict(boi_token_index=336, eoi_token_index=337, image_token_index=348)
SCALED_ROPE: dict[str, Any] = dict(
    # The wavelengths of 8 pairs at theta 500 are 6.3, 14, 30, 65, ...: a limit of 16 leaves two alone and slows down six.
    rope_type="llama3",
    rope_theta=500.0,
    factor=16.0,
    low_freq_factor=1.0,
    high_freq_factor=1.0,
    original_max_position_embeddings=16,
)


def hf_text_model(seed: int = 0, **changes: Any) -> Llama4ForCausalLM:
    """A text-only model of `TEXT` with `changes`, in fp32."""
    config = Llama4TextConfig(**{**TEXT, **changes})
    config._attn_implementation = "eager"
    return _scaled(Llama4ForCausalLM(config), seed)


def hf_vision_model(seed: int = 0, vision: dict[str, Any] | None = None, **changes: Any) -> Llama4ForConditionalGeneration:
    """A multimodal model of `TEXT` with `changes` and `VISION` with `vision`, in fp32."""
    config = Llama4Config(text_config={**TEXT, **changes}, vision_config={**VISION, **(vision or {})}, **IMAGE_IDS)
    config._attn_implementation = "eager"
    return _scaled(Llama4ForConditionalGeneration(config), seed)


def save_hf(model: HFModel, directory: Path, **options: Any) -> Path:
    """`save_pretrained`; returns the directory."""
    model.save_pretrained(directory, **options)
    return directory


def hf_logits(model: HFModel, token_ids: Tensor, tiles: Tensor | None = None) -> Tensor:
    """Logits `[T, V]` of one sequence on its own: in padded batches `transformers` takes wrong temperatures."""
    pictures = {} if tiles is None else {"pixel_values": tiles}
    with torch.no_grad():
        return model(input_ids=token_ids[None], use_cache=False, **pictures).logits[0]


def _scaled(model: AnyHF, seed: int) -> AnyHF:
    generator = torch.Generator().manual_seed(seed)

    def normal(parameter: nn.Parameter, std: float, mean: float = 0.0) -> None:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std + mean)

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fan_in = parameter.shape[1] if parameter.dim() > 1 else 1  # experts [E, in, out] and linear layers [out, in] alike
            if "norm" in name and name.endswith("weight"):
                normal(parameter, 0.2, mean=1.0)
            elif parameter.dim() == 1 or "embed" in name:  # biases, class token, token and position embeddings
                normal(parameter, 1.0 if "embed" in name else 0.2)
            elif "lm_head" in name:
                normal(parameter, 3.0 * fan_in**-0.5)
            else:
                normal(parameter, 1.3 * fan_in**-0.5)
    return model.eval()
