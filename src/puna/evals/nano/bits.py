"""Bits per byte of held-out prose, language by language, and of Simple English Wikipedia by itself."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from puna.data.text import documents, language_documents

_PAGES_PER_SOURCE = 8
_PAGE_LETTERS = 2000
_WINDOW = 512


def bits_per_byte(pipeline: Any, language: str, max_bytes: int = 40_000) -> tuple[float, int]:
    """Held-out bits per UTF-8 byte in one language, and how many bytes were read: the openings of a few pages of each source, so that no
    one book decides.
    """
    return bits_of(pipeline, _openings(language), max_bytes)


def simple_english(pipeline: Any, max_bytes: int = 60_000) -> tuple[float, int]:
    """The same of held-out pages of Simple English Wikipedia: the herd's main figure for text."""
    source = "wikipedia_simple_en"
    return bits_of(pipeline, (page.text for page in documents(source, ("en",)) if page.split == "held_out"), max_bytes)


def _openings(language: str) -> Iterator[str]:
    pages: Counter[str] = Counter()
    for document in language_documents(language, "held_out"):
        pages[document.source] += 1
        if pages[document.source] <= _PAGES_PER_SOURCE:
            yield document.text


def bits_of(pipeline: Any, texts: Iterable[str], max_bytes: int) -> tuple[float, int]:
    """Bits per UTF-8 byte of the openings of `texts`, each of at most one window that starts from begin-of-text alone."""
    special = pipeline.tokenizer.special
    bits, num_bytes = 0.0, 0
    for text in texts:
        ids = pipeline.tokenizer.encode(text[:_PAGE_LETTERS])[: _WINDOW - 1]
        scores = np.asarray(pipeline.logits([special.bos, *ids]), dtype=np.float32)[:-1]
        top = scores.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
        bits += float((log_total - scores[np.arange(len(ids)), ids]).sum()) / math.log(2)
        num_bytes += len(pipeline.tokenizer.decode_bytes(ids))
        if num_bytes >= max_bytes:
            break
    return (bits / num_bytes if num_bytes else math.nan), num_bytes
