"""Samples: every kind of training row by name, and `Mixture`, which makes row `index` of run `seed` whatever ran before.

A `Sample` is a chat (messages, loss on the assistant's turns), a document (text under pictures, loss on all text), or a window of
stored tokens. `to_stream` turns it into a `Stream` with the chat format's tokenizer. Everything is a pure function of (purpose,
seed, index): a loader that resumes at a number sees the very sample it would have seen. Rows with pictures: `picture_rows`.
"""

import random
from bisect import bisect
from collections.abc import Callable, Mapping
from itertools import accumulate

import numpy as np

from puna.data import picture_rows, skills
from puna.data.chance import Purpose, generator
from puna.data.pack import TextShards
from puna.data.row import Sample, chat, tiles_of
from puna.stream import Stream
from puna.tokens.chat import ChatFormat

MAX_TEXT_TOKENS = 512


def names_list(rng: random.Random) -> Sample:
    """The names of a few things as lines, without a picture."""
    return Sample("names_list", document="\n\n".join(skills.name_lines(rng) for _ in range(rng.choice((1, 2, 3)))))


def story_text(rng: random.Random) -> Sample:
    """A template story as a plain document."""
    return Sample("story_text", document="\n\n".join(skills.story(rng) for _ in range(rng.choice((1, 1, 2)))))


def _drill(kind: str, drill: Callable[[random.Random], skills.Drill]) -> Callable[[random.Random], Sample]:
    return lambda rng: chat(kind, drill(rng).turns)


KINDS: dict[str, Callable[[random.Random], Sample]] = {
    **picture_rows.KINDS,
    "translate": _drill("translate", skills.translate),
    "into_english": _drill("into_english", skills.into_english),
    "names_list": names_list,
    "number_words": _drill("number_words", skills.number_words),
    "sums": _drill("sums", skills.sums),
    "what_is": _drill("what_is", skills.what_is),
    "story": _drill("story", skills.tell_story),
    "story_text": story_text,
    "card": _drill("card", skills.card),
    "repeat": _drill("repeat", skills.repeat),
}
TEXT_KIND = "text"

# Shares of samples, not of tokens. Names in many scripts cost most, so naming and captions lead. [ours]
NANO_WEIGHTS: dict[str, float] = {
    "naming": 20, "caption": 11, "verify": 2, "which": 2.5,
    "counting": 13, "placing": 9.5, "side": 2.5, "shapes": 4, "comparing": 2.5, "scene_caption": 3,
    "translate": 4, "into_english": 1.5, "names_list": 1.5, "number_words": 3, "sums": 7, "what_is": 4, "story": 2, "story_text": 0.5,
    "card": 3, "repeat": 1.5, "text": 5.5, "first_name": 0,
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
            return Sample(TEXT_KIND, token_ids=self.shards.window(rng, MAX_TEXT_TOKENS))
        return KINDS[kind](rng)

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
    pictures = [token for _ in row.pictures for token in chat_format.image_ids((1, 1))]
    text = [*chat_format.tokenizer.encode(row.document), special.end_of_text]
    ids = np.array([special.bos, *pictures, *text], dtype=np.int64)
    if not row.pictures:
        return Stream(ids)
    mask = np.zeros(len(ids), dtype=bool)
    mask[1 + len(pictures) :] = True
    return Stream(ids, tiles_of(row.pictures), mask)
