"""Prose as stored tokens, read by memory map: windows of each language that start with begin-of-text. `build` writes them.

Knows no pictures.
"""

import random
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import numpy as np

from puna.data.build import build, sized
from puna.data.languages import LANGUAGES
from puna.data.progress import Bars
from puna.data.shards import WINDOW, Shard, open_shard
from puna.data.sources import DataError
from puna.tokens.bpe import Tokenizer

# Thin languages come up as size ** 0.3 [paper: UniMax and after, through training.md]; English, which the drills lean on, twice that.
_BALANCE = 0.3
_ENGLISH_BOOST = 2.0


class TextShards:
    """Stored tokens by language. `shares` are probabilities of a window's language: size ** 0.3, English doubled.

    A shard that is not as long as it should be is an error that names it. A language without a shard has no share; one that `shares`
    names is an error.
    """

    def __init__(self, directory: Path, split: str = "train", shares: Mapping[str, float] | None = None) -> None:
        self.split = split
        opened = {language: open_shard(directory, split, language) for language in LANGUAGES}
        self._shards: dict[str, Shard] = {language: shard for language, shard in opened.items() if shard is not None}
        if not self._shards:
            raise DataError(f"{directory} holds no {split} shards; make them with puna data build {directory}")
        missing = [language for language, share in (shares or {}).items() if share > 0 and language not in self._shards]
        if missing:
            raise DataError(
                f"{directory} has no {split} text in {', '.join(missing)}, but shares were asked for; it has {', '.join(self._shards)}"
            )
        sizes = {
            language: shard.starts[-1] ** _BALANCE * (_ENGLISH_BOOST if language == "en" else 1) for language, shard in self._shards.items()
        }
        weights = {language: float((shares or sizes).get(language, 0)) for language in self._shards}
        total = sum(weights.values())
        self.shares = {language: weight / total for language, weight in weights.items()}
        self._languages = tuple(self.shares)
        self._edges = tuple(accumulate(self.shares.values()))

    def draw(self, rng: random.Random, max_tokens: int = WINDOW) -> tuple[str, np.ndarray]:
        """A language, drawn by `shares`, and a stored window of it."""
        language = self._languages[min(bisect(self._edges, rng.random() * self._edges[-1]), len(self._languages) - 1)]
        return language, self.window_of(language, rng.randrange(self.num_windows(language)))[:max_tokens]

    def window(self, rng: random.Random, max_tokens: int = WINDOW) -> np.ndarray:
        """A stored window of some language."""
        return self.draw(rng, max_tokens)[1]

    def num_windows(self, language: str) -> int:
        return len(self._shards[language].starts) - 1

    def window_of(self, language: str, place: int) -> np.ndarray:
        """Window number `place` of a language, begin-of-text first."""
        shard = self._shards[language]
        return np.array(shard.tokens[shard.starts[place] : shard.starts[place + 1]])

    @property
    def languages(self) -> tuple[str, ...]:
        return self._languages


def prepare(
    directory: Path,
    num_ranks: int | None = None,
    max_bytes_per_language: int | None = None,
    size: str = "cpu",
    processes: int = 2,
    english: float = 1.0,
) -> tuple[Tokenizer, TextShards]:
    """The tokenizer and the training shards in `directory`, built from the raw files if they are not there yet (about two minutes).

    What lies there may have been built by hand, with more text or a given tokenizer; one of another size than `num_ranks` is refused.
    `english`: how many times its usual share of windows English gets.
    """
    if not (directory / "tokens.json").is_file():
        with Bars() as bars:
            build(directory, sized(size, num_ranks, max_bytes_per_language), processes=processes, bars=bars)
    tokenizer = Tokenizer.from_hf(directory / "tokenizer")
    if num_ranks is not None and tokenizer.special.base != num_ranks:
        raise DataError(
            f"{directory} holds text of a vocabulary of {tokenizer.special.base:,} BPE ids, and {num_ranks:,} are needed; move it away"
        )
    shards = TextShards(directory)
    if english != 1:
        shards = TextShards(directory, shares={name: share * (english if name == "en" else 1) for name, share in shards.shares.items()})
    return tokenizer, shards
