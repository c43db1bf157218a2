"""How near one model's predictions are to another's over the same text: bits per byte, perplexity, Kullback-Leibler divergence.

Both read the same windows, one model after the other, so that only one is in memory.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from puna.checkpoint import load_model
from puna.evals.nano.language import OPEN_QUESTIONS
from puna.model import Batch
from puna.stream import Stream
from puna.tokens.bpe import Tokenizer

WINDOW = 512
# Of the first model the whole distributions are kept: 4,096 tokens of Scout's vocabulary take 3.3 GB, of a nano's 136 MB.
MAX_TOKENS = 4096
# Read when no other text is given: short, but in the twelve languages.
SAMPLE = tuple(" ".join(questions) for questions in OPEN_QUESTIONS.values())


@dataclass(frozen=True, slots=True)
class Likeness:
    """`kl` in nats a token, of the second from the first; `same_first` is the share of places where both find the same token likeliest."""

    tokens: int
    bytes: int
    bits_per_byte: tuple[float, float]
    perplexity: tuple[float, float]
    kl: float
    same_first: float


@torch.inference_mode()
def likeness(first: Path, second: Path, texts: Sequence[str] = SAMPLE) -> Likeness:
    """Compare two directories that have one tokenizer, over windows of at most `WINDOW` tokens and of `MAX_TOKENS` in all.

    Large models are computed in bf16, small ones in fp32; both in the same.
    """
    size = sum(file.stat().st_size for file in first.glob("*.safetensors"))
    dtype = torch.float32 if size < 1 << 30 else torch.bfloat16
    tokenizer = Tokenizer.from_hf(first)
    windows = list(_windows(tokenizer, texts))
    expected = list(_log_probabilities(first, dtype, tokenizer, windows))
    targets = [torch.tensor(window) for window in windows]
    num_tokens, num_bytes = sum(map(len, windows)), sum(len(tokenizer.decode_bytes(window)) for window in windows)
    nats, divergence, same = [0.0, 0.0], 0.0, 0
    for target, old_TV, new_TV in zip(targets, expected, _log_probabilities(second, dtype, tokenizer, windows), strict=True):
        for place, log_TV in enumerate((old_TV, new_TV)):
            nats[place] -= float(log_TV.gather(1, target[:, None]).sum(dtype=torch.float64))
        divergence += float((old_TV.exp() * (old_TV - new_TV)).sum(dtype=torch.float64))
        same += int((old_TV.argmax(dim=1) == new_TV.argmax(dim=1)).sum())
    before, after = nats
    return Likeness(
        num_tokens,
        num_bytes,
        (before / math.log(2) / num_bytes, after / math.log(2) / num_bytes),
        (math.exp(before / num_tokens), math.exp(after / num_tokens)),
        divergence / num_tokens,
        same / num_tokens,
    )


def _windows(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[int]]:
    left = MAX_TOKENS
    for text in texts:
        # A token is at least one byte, and no text is encoded further than it can be read.
        ids = tokenizer.encode(text[: 16 * MAX_TOKENS])[:left]
        left -= len(ids)
        yield from (ids[start : start + WINDOW - 1] for start in range(0, len(ids), WINDOW - 1))


def _log_probabilities(directory: Path, dtype: torch.dtype, tokenizer: Tokenizer, windows: Sequence[list[int]]) -> Iterator[Tensor]:
    """Of each window [T, V] in fp32, each starting from begin-of-text."""
    model = load_model(directory, dtype).requires_grad_(False)
    for window in windows:
        stream = Stream(np.array([tokenizer.special.bos, *window]))
        yield model.logits(model(Batch.from_streams([stream])))[:-1].float().log_softmax(dim=-1)
