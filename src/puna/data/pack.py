"""Prose as stored tokens: one flat uint16 file a language, cut into windows that each start with begin-of-text.

Built once per tokenizer (`build_text_shards`), read by memory map (`TextShards`). Also the texts that a nano tokenizer is trained on, in
which the drills' own words have their share. Knows no pictures.
"""

import argparse
import json
import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from puna.data import phrases
from puna.data.cards import CARDS
from puna.data.chance import generator
from puna.data.emoji import inventory
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.data.skills import facts, name_lines
from puna.data.sources import DataError
from puna.data.stories import story
from puna.data.text import language_documents
from puna.tokens.bpe import Tokenizer
from puna.tokens.train import train_tokenizer

# Thin languages come up as size ** 0.3 [paper: UniMax and after, through training.md]; English, which the drills lean on, twice that.
_BALANCE = 0.3
_ENGLISH_BOOST = 2.0
# No one source may fill a language: 64 kB of a novel or a page are enough of its manner.
_BYTES_PER_DOCUMENT = 64_000
# The most that one kind of source may fill of a language's allowance: everyday prose before manuals. For "docs", each manual by itself.
_SOURCE_SHARE: dict[str, float] = {"wikipedia": 0.5, "novels": 0.35, "docs": 0.1, "tldr": 0.03}
_WINDOW = 512


@dataclass(frozen=True, slots=True)
class Shard:
    """One language's stored tokens and where its windows start."""

    tokens: np.ndarray
    starts: np.ndarray


def _selected(language: str, split: str, max_bytes: int) -> Iterator[str]:
    """Texts of a language up to `max_bytes`, long ones cut, each kind of source within its share."""
    taken: Counter[str] = Counter()
    for document in language_documents(language, split):
        kind = document.source.split("_")[0]
        counted = document.source if kind == "docs" else kind
        text = document.text.encode()[:_BYTES_PER_DOCUMENT].decode(errors="ignore")
        size = len(text.encode())
        if taken[counted] + size > _SOURCE_SHARE.get(kind, 1.0) * max_bytes:
            continue
        if taken.total() + size > max_bytes:
            return
        taken[counted] += size
        yield text


def _write(tokenizer_dir: str, out: str, language: str, split: str, max_bytes: int) -> int:
    """Tokenise one language into `out`; returns the number of tokens. Runs in its own process."""
    tokenizer = Tokenizer.from_hf(tokenizer_dir)
    special = tokenizer.special
    chunks: list[np.ndarray] = []
    starts: list[int] = []
    total = 0
    for text in _selected(language, split, max_bytes):
        ids = [*tokenizer.encode(text), special.end_of_text]
        for first in range(0, len(ids), _WINDOW - 1):
            piece = [special.bos, *ids[first : first + _WINDOW - 1]]
            if len(piece) < 16 and first:
                continue
            starts.append(total)
            total += len(piece)
            chunks.append(np.array(piece, dtype=np.uint16))
    starts.append(total)
    folder = Path(out)
    (np.concatenate(chunks) if chunks else np.empty(0, np.uint16)).tofile(folder / f"{split}_{language}.bin")
    np.save(folder / f"{split}_{language}_starts.npy", np.array(starts, dtype=np.int64))
    return total


def build_text_shards(
    tokenizer: Tokenizer, out_dir: Path, max_bytes_per_language: int = 8_000_000, held_out_bytes: int = 120_000, processes: int = 2
) -> dict[str, int]:
    """Write the shards of both splits; returns the training tokens per language. A minute or two on two cores."""
    if tokenizer.vocab_size > 1 << 16:
        raise DataError(f"shards store 16-bit ids, but the tokenizer has {tokenizer.vocab_size}; use a nano tokenizer (at most 65,536 ids)")
    out_dir.mkdir(parents=True, exist_ok=True)
    tokenizer.save_hf(out_dir / "tokenizer")
    arguments = [(str(out_dir / "tokenizer"), str(out_dir), language, "train", max_bytes_per_language) for language in LANGUAGES]
    arguments += [(str(out_dir / "tokenizer"), str(out_dir), language, "held_out", held_out_bytes) for language in LANGUAGES]
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            counts = list(pool.map(_write, *zip(*arguments, strict=True)))
    else:
        counts = [_write(*each) for each in arguments]
    totals = dict(zip(LANGUAGES, counts, strict=False))
    (out_dir / "tokens.json").write_text(json.dumps(totals), encoding="utf-8")
    return totals


class TextShards:
    """Stored tokens by language. `shares` are probabilities of a window's language: size ** 0.3, English doubled."""

    def __init__(self, directory: Path, split: str = "train", shares: Mapping[str, float] | None = None) -> None:
        self.split = split
        self._shards: dict[str, Shard] = {}
        for language in LANGUAGES:
            path = directory / f"{split}_{language}.bin"
            if path.is_file() and path.stat().st_size:
                starts = np.load(directory / f"{split}_{language}_starts.npy", allow_pickle=False)
                self._shards[language] = Shard(np.memmap(path, dtype=np.uint16, mode="r"), starts)
        if not self._shards:
            raise DataError(f"{directory} holds no {split} shards; make them with puna.data.pack.build_text_shards(tokenizer, directory)")
        sizes = {
            language: shard.starts[-1] ** _BALANCE * (_ENGLISH_BOOST if language == "en" else 1) for language, shard in self._shards.items()
        }
        weights = {language: float((shares or sizes).get(language, 0)) for language in self._shards}
        total = sum(weights.values())
        self.shares = {language: weight / total for language, weight in weights.items()}
        self._languages = tuple(self.shares)
        self._edges = tuple(accumulate(self.shares.values()))

    def window(self, rng: random.Random, max_tokens: int = _WINDOW) -> np.ndarray:
        """A stored window of some language, drawn by `shares`."""
        language = self._languages[min(bisect(self._edges, rng.random() * self._edges[-1]), len(self._languages) - 1)]
        return self.window_of(language, rng.randrange(self.num_windows(language)))[:max_tokens]

    def num_windows(self, language: str) -> int:
        return len(self._shards[language].starts) - 1

    def window_of(self, language: str, place: int) -> np.ndarray:
        """Window number `place` of a language, begin-of-text first."""
        shard = self._shards[language]
        return np.array(shard.tokens[shard.starts[place] : shard.starts[place + 1]])

    @property
    def languages(self) -> tuple[str, ...]:
        return self._languages


def tokenizer_texts(bytes_per_language: int = 2_500_000) -> Iterator[str]:
    """What a nano vocabulary is learned from: prose in equal parts, and the drills often enough that names become short."""
    for language in LANGUAGES:
        yield from _selected(language, "train", bytes_per_language * (2 if language == "en" else 1))
    yield from _drill_texts()


def _drill_texts(repeats: int = 60) -> Iterable[str]:
    """Names, questions, cards, facts and stories, as often as training will meet them in proportion to the prose."""
    lines = [name for emoji in inventory().values() for name in emoji.names.values()]
    lines += [name for table in LANGUAGE_NAMES.values() for name in table.values()]
    for table in vars(phrases).values():
        if isinstance(table, dict):
            lines += [
                line for entry in table.values() for line in (entry if isinstance(entry, tuple) else (entry,)) if isinstance(line, str)
            ]
    lines += [line for cards in CARDS.values() for entry in cards for line in (*entry.questions, entry.answer)]
    yield from ("\n".join(lines) for _ in range(repeats))
    yield from ("\n".join(part for turn in facts() for part in turn) for _ in range(3))
    for index in range(3000):
        rng = generator("train", 0, index)
        yield story(rng)
        yield name_lines(rng)


def prepare(directory: Path, num_ranks: int = 8192, max_bytes_per_language: int = 8_000_000) -> tuple[Tokenizer, TextShards]:
    """The tokenizer and the training shards in `directory`, made if they are not there yet (about two minutes)."""
    if not (directory / "tokens.json").is_file():
        saved = directory / "tokenizer"
        if not (saved / "tokenizer.json").is_file():
            train_tokenizer(tokenizer_texts(), num_ranks).save_hf(saved)
        build_text_shards(Tokenizer.from_hf(saved), directory, max_bytes_per_language)
    return Tokenizer.from_hf(directory / "tokenizer"), TextShards(directory)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Learn a nano vocabulary and store the prose as tokens.")
    parser.add_argument("directory", type=Path, help="where the tokenizer and the shards go, e.g. data_cache/nano")
    parser.add_argument("--num-ranks", type=int, default=8192, help="BPE ids, the 256 bytes included")
    options = parser.parse_args(arguments)
    tokenizer, shards = prepare(options.directory, options.num_ranks)
    counts = json.loads((options.directory / "tokens.json").read_text(encoding="utf-8"))
    print(f"{options.directory}: {tokenizer.vocab_size} ids; tokens by language: " + ", ".join(f"{k} {v:,}" for k, v in counts.items()))
    print("shares of windows: " + ", ".join(f"{language} {share:.1%}" for language, share in shards.shares.items()))


if __name__ == "__main__":
    main()
