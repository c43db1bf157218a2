"""`transformers` as a contestant: the model that made the weights, with its own cache, in the precision that is faster here."""

import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers.cache_utils import DynamicCache
from transformers.models.llama4.modeling_llama4 import Llama4ForCausalLM


class TransformersSide:
    """`dtype` "bfloat16" or "float32"; None tries both on a few tokens and keeps the faster."""

    def __init__(self, directory: Path, dtype: str | None = None) -> None:
        if dtype is None:
            dtype = max(("bfloat16", "float32"), key=lambda each: TransformersSide(directory, each)._probe())
        self.dtype = dtype
        self._model: Any = Llama4ForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype), attn_implementation="sdpa").eval()
        self._caches: dict[tuple[int, int], DynamicCache] = {}

    @torch.inference_mode()
    def decode(self, streams: int, context: int, steps: int) -> float:
        """Tokens/s in all, of the `steps` tokens of each stream that end at `context`. The prompt is computed at the first call only."""
        first = context - steps
        ids = self._ids(streams, first, seed=0)
        if (cache := self._caches.get((streams, first))) is None:
            cache = self._caches[streams, first] = DynamicCache(config=self._model.config)
            self._model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = deepcopy(cache)
        token = ids[:, -1:]
        began = time.perf_counter()
        for _ in range(steps):
            logits = self._model(token, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            token = logits[:, -1].argmax(-1, keepdim=True)
        seconds = time.perf_counter() - began
        return streams * steps / seconds

    @torch.inference_mode()
    def prefill(self, tokens: int, seed: int) -> float:
        """Tokens/s of a prompt, the logits of its last token included."""
        ids = self._ids(1, tokens, seed=1 + seed)
        began = time.perf_counter()
        self._model(ids, past_key_values=DynamicCache(config=self._model.config), use_cache=True, logits_to_keep=1)
        return tokens / (time.perf_counter() - began)

    def _probe(self) -> float:
        self.prefill(4, seed=0)
        return self.prefill(4, seed=0)

    def _ids(self, streams: int, length: int, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, int(self._model.config.bos_token_id), (streams, length), generator=generator)
