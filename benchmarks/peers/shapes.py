"""The reference shapes as Hugging Face directories: random weights, made once by `transformers` and kept in a cache directory.

mid A is Scout in small (experts in every layer, llama3 rope scaling), mid B Maverick in small (experts in every second layer, plain
rope). Chunk, floor scale, temperature and norms are those that llama.cpp has in its code, so that it computes the same function.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from peers.llama_cpp import PeerError
from puna.checkpoint import convert_model
from puna.pipeline import shipped_models
from puna.tokens.bpe import Tokenizer

_COMMON: dict[str, Any] = dict(
    vocab_size=32768,
    hidden_size=1024,
    num_hidden_layers=16,
    num_local_experts=16,
    num_experts_per_tok=1,
    attention_chunk_size=8192,
    floor_scale=8192,
    attn_scale=0.1,
    attn_temperature_tuning=True,
    no_rope_layer_interval=4,
    use_qk_norm=True,
    rms_norm_eps=1e-5,
    max_position_embeddings=262144,
    tie_word_embeddings=False,
    # The shipped nano's tokenizer serves. Ids above its own are never text: their rows of the head are zero, so that no answer holds them.
    bos_token_id=8192,
    eos_token_id=[8193, 8199, 8200],
    pad_token_id=8210,
)
SHAPES: dict[str, dict[str, Any]] = {
    "mid-a": _COMMON
    | dict(
        intermediate_size=1536,
        intermediate_size_mlp=3072,
        num_attention_heads=16,
        num_key_value_heads=4,
        head_dim=64,
        interleave_moe_layer_step=1,
        rope_parameters=dict(
            rope_type="llama3",
            rope_theta=500_000.0,
            factor=16.0,
            low_freq_factor=1.0,
            high_freq_factor=1.0,
            original_max_position_embeddings=8192,
        ),
    ),
    "mid-b": _COMMON
    | dict(
        intermediate_size=2048,
        intermediate_size_mlp=4096,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=128,
        interleave_moe_layer_step=2,
        rope_parameters=dict(rope_type="default", rope_theta=500_000.0),
    ),
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "generation_config.json")


def default_cache() -> Path:
    """`puna/benchmarks` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "puna" / "benchmarks"


def make_model(name: str, cache: Path) -> Path:
    """The directory of shape `name` in bf16 (2 to 3 GB, about a minute), or the one that is there."""
    directory = cache / f"{name}-bf16"
    if not directory.is_dir():
        try:
            from puna.testing.hf_models import hf_text_model
        except ModuleNotFoundError as error:
            raise PeerError(f"{name} is made by transformers, which is not installed; pip install -r requirements-test.txt") from error
        partial = cache / f"{name}-bf16.partial"  # renamed when whole, so that an interrupted run leaves none that looks whole
        shutil.rmtree(partial, ignore_errors=True)
        model = hf_text_model(seed=0, **SHAPES[name]).bfloat16()
        tokenizer = Tokenizer.from_hf(shipped_models()["scout-nano"])
        with torch.no_grad():
            model.lm_head.weight[tokenizer.vocab_size :] = 0
        model.save_pretrained(partial)
        for file in _TOKENIZER_FILES:
            shutil.copy(shipped_models()["scout-nano"] / file, partial / file)
        partial.rename(directory)
    return directory


def nano_in_bf16(cache: Path) -> Path:
    """The shipped scout-nano, its integers as bf16 numbers again, where others may be made of it."""
    shipped, directory = shipped_models()["scout-nano"], cache / "scout-nano-bf16"
    shutil.rmtree(directory, ignore_errors=True)  # of another version, perhaps
    convert_model(shipped, directory, Tokenizer.from_hf(shipped))
    return directory
