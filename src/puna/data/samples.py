"""Samples: every kind of training row by name, and `Mixture`, which makes row `index` of run `seed` whatever ran before.

A `Sample` is a chat (messages, loss on the assistant's turns), a document (text under pictures, loss on all text), or a window of
stored tokens. `to_stream` turns it into a `Stream` with the chat format's tokenizer. Everything is a pure function of (purpose,
seed, index): a loader that resumes at a number sees the very sample it would have seen. Rows with pictures: `picture_rows`,
`video_rows`, `book_rows`; rows in words alone: `text_rows`.
"""

import random
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

import numpy as np

from puna.data import book_rows, picture_rows, text_rows, video_rows
from puna.data.chance import Purpose, generator
from puna.data.pack import TextShards
from puna.data.row import Sample, tiles_of
from puna.stream import Stream
from puna.tokens.chat import ChatFormat

MAX_TEXT_TOKENS = 512


KINDS: dict[str, Callable[[random.Random], Sample]] = {
    **picture_rows.KINDS, **video_rows.KINDS, **book_rows.KINDS, **text_rows.KINDS
}  # fmt: skip
TEXT_KIND = "text"
# Kinds whose answers are as long as prose, and no easier to guess.
LONG_ANSWERS: frozenset[str] = frozenset(("book_page", "book_pages", "sentence", "story", "story_text", "tale"))

# Shares of samples, not of tokens. Names in many scripts cost most, so naming and captions lead. [ours]
NANO_WEIGHTS: dict[str, float] = {
    "naming": 20, "caption": 11, "verify": 2, "which": 2.5,
    "counting": 13, "placing": 9.5, "side": 2.5, "shapes": 4, "comparing": 2.5, "scene_caption": 3, "number": 5, "word": 2,
    "video_moving": 5, "video_order": 4, "video_appear": 2, "video_change": 1.5, "book_page": 1, "book_pages": 0.5, "clothing": 0.5,
    "translate": 7, "into_english": 2, "names_list": 2.5, "number_words": 3.5, "sums": 8, "sums_text": 3, "what_is": 3, "geography": 1.5,
    "story": 1.5, "tale": 0.8, "story_text": 0.3, "card": 3, "repeat": 1.5, "needle": 0.5, "command": 0.7, "sentence": 1, "form": 1.5,
    "free": 0.5, "text": 5.5,
    "first_name": 0, "naming_all": 0, "first_name_all": 0, "caption_all": 0,
}  # fmt: skip


def sample(kind: str, rng: random.Random) -> Sample:
    """One sample of `kind` (any of `KINDS`; stored text needs a `Mixture` with shards)."""
    if kind not in KINDS:
        raise ValueError(f"no kind of sample is called {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](rng)


class Mixture:
    """Kinds by weight. `sample(seed, index)` depends on nothing else."""

    def __init__(self, weights: Mapping[str, float] | None = None, shards: TextShards | None = None, purpose: Purpose = "train") -> None:
        chosen = dict(NANO_WEIGHTS if weights is None else weights)
        unknown = [kind for kind in chosen if kind not in KINDS and kind != TEXT_KIND]
        if unknown:
            raise ValueError(f"no kind of sample is called {unknown[0]!r}; there are {', '.join((*KINDS, TEXT_KIND))}")
        if chosen.get(TEXT_KIND) and shards is None:
            raise ValueError(
                f"the mixture gives {TEXT_KIND!r} weight {chosen[TEXT_KIND]} but has no shards; pass TextShards(dir) or leave it out"
            )
        self.weights = {kind: weight for kind, weight in chosen.items() if weight > 0}
        self.shards = shards
        self.purpose: Purpose = purpose
        self._kinds = tuple(self.weights)
        self._edges = tuple(accumulate(self.weights.values()))

    def sample(self, seed: int, index: int) -> Sample:
        """Row `index` of run `seed`."""
        rng = generator(self.purpose, seed, index)
        kind = self._kinds[min(bisect(self._edges, rng.random() * self._edges[-1]), len(self._kinds) - 1)]
        if kind == TEXT_KIND:
            assert self.shards is not None  # __init__ has refused it
            language, window = self.shards.draw(rng, MAX_TEXT_TOKENS)
            return Sample(TEXT_KIND, token_ids=window, language=language)
        return sample(kind, rng)

    def stream(self, seed: int, index: int, chat_format: ChatFormat) -> Stream:
        """Row `index` of run `seed`, ready for a batch."""
        return to_stream(self.sample(seed, index), chat_format)


def to_stream(row: Sample, chat_format: ChatFormat) -> Stream:
    """The sample as token ids, tiles and loss mask (None where every token trains)."""
    if row.messages:
        return chat_format.encode_training(row.messages)
    if row.token_ids is not None:
        return Stream(row.token_ids.astype(np.int64))
    special = chat_format.tokenizer.special
    if row.timestamps:
        pictures = chat_format.video_ids(row.timestamps)
    else:
        pictures = [token for _ in row.pictures for token in chat_format.image_ids((1, 1))]
    ids, trained = [special.bos, *pictures], [not pictures] * (1 + len(pictures))
    for text, counts in _pieces(row.document, row.asked_by):
        encoded = chat_format.tokenizer.encode(text)
        ids += encoded
        trained += [counts] * len(encoded)
    ids.append(special.end_of_text)
    trained.append(True)
    tiles = tiles_of(row.pictures) if row.pictures else None
    return Stream(np.array(ids, dtype=np.int64), tiles, None if all(trained) else np.array(trained))


def _pieces(document: str, asked_by: str) -> Iterator[tuple[str, bool]]:
    """The document as pieces that train and pieces that do not: with `asked_by`, what stands up to that mark in each line does not."""
    if not asked_by:
        yield document, True
        return
    for line in document.splitlines(keepends=True):
        asked, mark, answer = line.partition(asked_by)
        yield asked + mark, False
        yield answer, True
