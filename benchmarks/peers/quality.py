"""What fewer bits cost: how far a quantised model's distributions are from those of its bf16 weights, on the same tokens for all.

The base is Puna's bf16 directory computed in fp32. It is also written in the file format of llama.cpp's `llama-perplexity`, so that its
quantised models are compared with the very same distributions over the very same tokens. Letters: C chunks, T tokens, V vocabulary.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

_SPAN = 16.0  # llama.cpp keeps log-probabilities down to e^-16 of the largest, in 16 bits


class HasLogits(Protocol):
    """Gives logits [T - 1, V] after each token of a sequence but the last."""

    def logits(self, token_ids: np.ndarray) -> Tensor: ...


class Divergence(NamedTuple):
    """`kl`: mean over places, in nats. `same_best`: share of places whose likeliest token is the same."""

    kl: float
    same_best: float


def chunks_of(token_ids: list[int], bos_id: int, count: int, length: int) -> np.ndarray:
    """`count` chunks of a text [C, T], or as many as there are, each begun as llama.cpp begins them."""
    count = min(count, len(token_ids) // length)
    ids = np.array(token_ids[: count * length], dtype=np.int64).reshape(count, length)
    ids[:, 0] = bos_id
    return ids


def compared(length: int) -> slice:
    """Of the logits after each token of a chunk but the last: those that llama.cpp compares, the second half."""
    return slice(length // 2, length - 1)


def divergence(base: list[Tensor], other: list[Tensor]) -> Divergence:
    """Over logits [places, V] of each chunk."""
    kl, same, count = 0.0, 0, 0
    for mine, theirs in zip(base, other, strict=True):
        p, q = mine.double().log_softmax(-1), theirs.double().log_softmax(-1)
        kl += float((p.exp() * (p - q)).sum())
        same += int((p.argmax(-1) == q.argmax(-1)).sum())
        count += len(p)
    return Divergence(kl / count, same / count)


def write_base(path: Path, ids_CT: np.ndarray, logits: list[Tensor]) -> Path:
    """Tokens and log-probabilities as `llama-perplexity --kl-divergence-base` reads them; `logits` of the `compared` places."""
    (count, length), vocab = ids_CT.shape, logits[0].shape[-1]
    with path.open("wb") as file:
        file.write(b"_logits_")
        np.array([length, vocab, count], np.int32).tofile(file)
        ids_CT.astype(np.int32).tofile(file)
        for each in logits:
            logprobs = each.float().log_softmax(-1).numpy()
            largest = logprobs.max(-1, keepdims=True)
            smallest = np.maximum(logprobs.min(-1, keepdims=True), largest - _SPAN)
            scale = (largest - smallest) / 65535
            places = len(logprobs)
            rows = np.zeros((places, 2 * ((vocab + 1) // 2) + 4), np.uint16)
            rows[:, :4] = np.concatenate([scale, smallest], axis=1).astype(np.float32).view(np.uint16)
            rows[:, 4 : 4 + vocab] = np.round(np.maximum(logprobs - smallest, 0) / scale)
            rows.tofile(file)
    return path


def all_logits(side: HasLogits, ids_CT: np.ndarray) -> list[Tensor]:
    """Logits [places, V] of the `compared` places of each chunk."""
    return [side.logits(ids)[compared(len(ids))] for ids in ids_CT]
