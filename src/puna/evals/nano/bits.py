"""Bits per byte of held-out prose, language by language."""

import math
from collections import Counter
from typing import Any

import numpy as np

from puna.data.text import language_documents

_PAGES_PER_SOURCE = 8


def bits_per_byte(pipeline: Any, language: str, max_bytes: int = 40_000, window: int = 512) -> tuple[float, int]:
    """Held-out bits per UTF-8 byte in one language, and how many bytes were read. Each window starts from begin-of-text alone."""
    special = pipeline.tokenizer.special
    bits, num_bytes = 0.0, 0
    # The openings of a few held-out pages of each source, so that no one book decides.
    pages: Counter[str] = Counter()
    for document in language_documents(language, "held_out"):
        pages[document.source] += 1
        if pages[document.source] > _PAGES_PER_SOURCE:
            continue
        ids = pipeline.tokenizer.encode(document.text[:2000])[: window - 1]
        scores = np.asarray(pipeline.logits([special.bos, *ids]), dtype=np.float32)[:-1]
        top = scores.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
        bits += float((log_total - scores[np.arange(len(ids)), ids]).sum()) / math.log(2)
        num_bytes += len(pipeline.tokenizer.decode_bytes(ids))
        if num_bytes >= max_bytes:
            break
    return (bits / num_bytes if num_bytes else math.nan), num_bytes
