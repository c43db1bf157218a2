"""Puna as a contestant: what `puna.load(DIR)` gives, through its engine. The model in bf16, and as `puna quantize` writes it."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import puna
from puna.checkpoint import Mix, Scheme, convert_model, open_model
from puna.engine import Engine, Generation, Request, Sampling, Settings
from puna.stream import Stream
from puna.tokens.bpe import Tokenizer

_KV_BYTES = 1 << 30  # 32 streams of a few hundred tokens, or one of 8,192, of the reference models
# What `puna quantize` writes, by the name of a kind: --bits 8, --bits 8 --group 32, --bits 4, --bits 4 --dense 4 --embedding 8 (as many
# bits as llama.cpp's 4-bit kinds), and 4 bits for all matrices.
# bf16 is the directory itself.
_ROW, _G32, _FOUR = Scheme(8), Scheme(8, 32), Scheme(4, 32)
KINDS: dict[str, Mix | None] = {
    "bf16": None,
    "int8": Mix.of_one(_ROW),
    "int8-g32": Mix.of_one(_G32),
    "int4": Mix(experts=_FOUR, others=_ROW, embedding=None, head=_ROW),
    "int4-dense": Mix(experts=_FOUR, others=_FOUR, embedding=_ROW, head=_ROW),
    "int4-all": Mix.of_one(_FOUR),
}


def quantized(directory: Path, kind: str) -> Path:
    """The bf16 `directory` as `kind`: written beside it, unless it is there."""
    mix = KINDS[kind]
    if mix is None:
        return directory
    target = directory.with_name(f"{directory.name.removesuffix('-bf16')}-{kind}")
    if not target.is_dir():
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        convert_model(directory, partial, Tokenizer.from_hf(directory), mix)
        partial.rename(target)
    return target


def stored_bits(directory: Path) -> float:
    """Bits a weight in the files, scales included."""
    with open_model(directory) as stored:
        return stored.storage().bits_per_weight


class PunaSide:
    """An engine over `directory`, for up to `streams` sequences at once. `native` False: plain torch, the reference."""

    def __init__(self, directory: Path, streams: int = 1, dtype: str | None = None, native: bool = True) -> None:
        pipeline = puna.load(directory, dtype, settings=Settings(max_streams=streams, kv_bytes=_KV_BYTES, native=native))
        self.model, self.config = pipeline.model, pipeline.config
        self.engine: Engine = pipeline.engine

    def prompts(self, count: int, length: int, seed: int) -> list[Stream]:
        """Random ids, as the peers' own programs take them."""
        rng = np.random.default_rng(seed)
        return [Stream(rng.integers(0, self.config.bos_id, length)) for _ in range(count)]

    def decode(self, streams: int, context: int, steps: int) -> float:
        """Tokens/s in all, of the `steps` tokens of each stream that end at `context`; choosing the likeliest is part of it.

        Prompts are the same each time, so that the engine keeps their pages from one round to the next.
        """
        generations = self._start(self.prompts(streams, context - steps, seed=0))
        before, began = self.engine.counters.tokens_sampled, time.perf_counter()
        for _ in range(steps - 1):
            self.engine.step()
        seconds = time.perf_counter() - began
        sampled = self.engine.counters.tokens_sampled - before
        self._cancel(generations)
        if sampled != streams * (steps - 1):
            raise RuntimeError(f"{streams} streams gave {sampled} tokens in {steps - 1} steps: too little memory for keys and values")
        return sampled / seconds

    def prefill(self, tokens: int, seed: int) -> float:
        """Tokens/s of a prompt that nobody has seen, its next token chosen."""
        (prompt,) = self.prompts(1, tokens, seed=1 + seed)
        began = time.perf_counter()
        generations = self._start([prompt])
        seconds = time.perf_counter() - began
        self._cancel(generations)
        return tokens / seconds

    def logits(self, token_ids: np.ndarray) -> Tensor:
        """Logits [T - 1, V] in fp32 after each token but the last, as the engine computes them for a prompt."""
        rows: list[Tensor] = []
        with _seen(self.engine, rows):
            request = Request(prompt=Stream(token_ids), sampling=Sampling(max_tokens=1), prompt_logprobs=0)
            self.engine.generate([request])
        return torch.cat(rows)[: len(token_ids) - 1]

    def _start(self, prompts: list[Stream]) -> list[Generation]:
        endless = Sampling(max_tokens=self.config.max_positions)
        generations = [self.engine.submit(Request(prompt=prompt, sampling=endless)) for prompt in prompts]
        while not all(generation.token_ids for generation in generations):
            self.engine.step()
        return generations

    def _cancel(self, generations: list[Generation]) -> None:
        for generation in generations:
            self.engine.cancel(generation)


@contextmanager
def _seen(engine: Engine, rows: list[Tensor]) -> Iterator[None]:
    """Keep all logits that the engine computes meanwhile: a request reports the best few, a divergence needs all."""
    compute: Any = engine.runner.logits

    def keep(hidden_TD: Tensor) -> Tensor:
        rows.append(compute(hidden_TD))
        return rows[-1]

    engine.runner.logits = keep  # type: ignore[method-assign]
    try:
        yield
    finally:
        engine.runner.logits = compute  # type: ignore[method-assign]
