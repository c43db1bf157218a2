"""Decode one sequence: prefill once, then a token at a time.

Letters: T tokens, D model width, V vocabulary.
"""

from collections.abc import Collection, Iterator

import numpy as np
import torch

from puna.config import ModelConfig
from puna.engine.cache import HybridCache
from puna.engine.sampling import Sampling, choose
from puna.model import Batch, Model
from puna.stream import Stream


class ContextError(ValueError):
    """A prompt, or a prompt and its answer, longer than the model's context."""


def check_prompt(config: ModelConfig, prompt: Stream) -> int:
    """The model's context in tokens; `ContextError` if the prompt is empty or leaves no room for an answer."""
    limit = config.max_positions
    if not len(prompt):
        raise ContextError("the prompt is empty; give at least one token")
    if len(prompt) >= limit:
        way_out = f"shorten it, or send fewer pictures and videos: {prompt.num_tiles} tiles are in it" if prompt.num_tiles else "shorten it"
        raise ContextError(f"the prompt has {len(prompt)} tokens, but {config.name} reads at most {limit}, answer included; {way_out}")
    return limit


def generate(model: Model, prompt: Stream, sampling: Sampling, stop_ids: Collection[int]) -> Iterator[int]:
    """Yield new token ids, the stop token included as the last; without one, `sampling.max_tokens` were produced.

    The caller may stop iterating at any time. Raises `ContextError` before the first token if the prompt leaves no room.
    """
    limit = check_prompt(model.config, prompt)
    device = model.text.embed.weight.device
    generator = None if sampling.seed is None else torch.Generator().manual_seed(sampling.seed)
    cache = HybridCache(model.config)
    step = prompt
    for _ in range(min(sampling.max_tokens, limit - len(prompt))):
        with torch.inference_mode():  # inside the loop: a generator must not leave it switched on while it waits
            hidden_TD = model(Batch.from_streams([step], cache.next_positions, device), cache)
            logits_V = model.logits(hidden_TD[-1:])[0].cpu()
            logits_V[model.config.patch_id] = -torch.inf  # a patch stands for a row of a picture, and an answer has no pictures
            token = choose(logits_V, sampling, generator)
        yield token
        if token in stop_ids:
            return
        step = Stream(np.array([token], dtype=np.int64))
