"""Decode one sequence: prefill once, then a token at a time. The engine's naive twin: contiguous memory, nothing shared, nothing guessed.

Letters: T tokens, D model width, V vocabulary.
"""

from collections.abc import Collection, Iterator

import numpy as np
import torch

from puna.engine.cache import HybridCache
from puna.engine.request import check_prompt
from puna.engine.sampling import Sampler, Sampling
from puna.kernels.attention import cached_attention, invariant_attention
from puna.kernels.invariant import batch_invariant
from puna.model import Batch, Model
from puna.stream import Stream


def generate(model: Model, prompt: Stream, sampling: Sampling, stop_ids: Collection[int], *, is_invariant: bool = False) -> Iterator[int]:
    """Yield new token ids, the stop token included as the last; without one, `sampling.max_tokens` were produced.

    The caller may stop iterating at any time. Raises `ContextError` before the first token if the prompt leaves no room. `is_invariant`:
    with the arithmetic of an engine that is `batch_invariant`.
    """
    limit = check_prompt(model.config, prompt)
    device = model.text.embed.weight.device
    # A patch stands for a row of a picture, and an answer has no pictures.
    sampler = Sampler(sampling, prompt.token_ids, model.config.vocab_size, banned=(model.config.patch_id,))
    cache = HybridCache(model.config, attend=invariant_attention if is_invariant else cached_attention)
    step = prompt
    for _ in range(min(sampling.max_tokens, limit - len(prompt))):
        with torch.inference_mode(), batch_invariant(is_invariant):  # inside the loop: a waiting generator must leave nothing switched on
            hidden_TD = model(Batch.from_streams([step], cache.next_positions, device), cache)
            logits_V = model.logits(hidden_TD[-1:])[0].cpu()
            token = sampler.choose(logits_V).token
            sampler.accept(token)
        yield token
        if token in stop_ids:
            return
        step = Stream(np.array([token], dtype=np.int64))
