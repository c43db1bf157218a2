"""Which training texts hold words of an evaluation set: runs of 13 words in a row (20 characters in Chinese and Japanese).

Every set of the evaluation manifest is cut into items: each string of each row, line by line, without the answer sheet's own labels. An
item shorter than a run is looked for as a whole if it has 8 words (12 characters) at least; shorter ones would be found everywhere, so that
they are counted and left. [paper: the 13-gram rule of GPT-3, arXiv:2005.14165]
"""

import csv
import io
import json
import lzma
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from puna.data.sources import DataError, Source, eval_manifest, fetch_source
from puna.data.text import normalised
from puna.data.words import Runs, batches, words_of

# Longest and shortest run, in words; characters where every character is a word.
WORDS, CHARACTERS = (13, 8), (20, 12)
# "Question:", "A." and their kind belong to the sheet, not to the text.
_LABEL = re.compile(r"^(?:(?:Question|Passage|Context|Sentence|Choices|Answer|Premise|Q|A)\s*:|[A-E][.)])\s*")
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_TABLE_BITS = 24


def lengths(language: str) -> range:
    """Run lengths to look for in a text of `language`, shortest first."""
    longest, shortest = CHARACTERS if language in ("ja", "zh") else WORDS
    return range(shortest, longest + 1)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("id", "idx", "type", "lang", "task_id"):
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def items(evaluation: Source, path: Path) -> Iterator[str]:
    """The texts of an evaluation set: JSONL, JSON or tab-separated, packed by xz."""
    try:
        content = lzma.decompress(path.read_bytes()).decode("utf-8")
        if ".tsv" in path.name:
            rows: Iterable[Any] = csv.reader(io.StringIO(content), delimiter="\t", quoting=csv.QUOTE_NONE)
        elif ".jsonl" in path.name:
            rows = [json.loads(line) for line in content.split("\n") if line.strip()]
        else:
            rows = [json.loads(content)]
    except (lzma.LZMAError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"evaluation set {evaluation.name}: {path} cannot be read ({error}); delete it and fetch it again") from error
    for row in rows:
        for text in _strings(row):
            for line in normalised(_CALCULATOR.sub("", text)).split("\n"):
                if stripped := _LABEL.sub("", line.strip()):
                    yield stripped


@dataclass(slots=True)
class EvalRuns:
    """All runs of all evaluation sets: for each length the sorted hashes, and which set each is from."""

    sets: tuple[str, ...]
    items: dict[str, int]
    too_short: dict[str, int]
    _hashes: dict[int, np.ndarray] = field(default_factory=dict)
    _owners: dict[int, np.ndarray] = field(default_factory=dict)
    _tables: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, sets: dict[str, tuple[str, Sequence[str]]]) -> "EvalRuns":
        """From {name: (language, items)}; the language "ja" or "zh" means that characters are counted."""
        made = cls(tuple(sets), {name: len(texts) for name, (_, texts) in sets.items()}, dict.fromkeys(sets, 0))
        gathered: defaultdict[int, list[tuple[np.ndarray, int]]] = defaultdict(list)
        for number, (name, (language, texts)) in enumerate(sets.items()):
            sought = lengths(language)
            for batch in batches(texts):
                words = words_of(batch)
                runs, size = Runs(words), words.per_text()
                made.too_short[name] += int((size < sought[0]).sum())
                for length in sought:
                    hashes, text = runs.of(length)
                    whole = size[text] == length
                    gathered[length].append((hashes if length == sought[-1] else hashes[whole], number))
        for length, parts in gathered.items():
            hashes = np.concatenate([part for part, _ in parts])
            owners = np.concatenate([np.full(len(part), number) for part, number in parts])
            order = np.argsort(hashes, kind="stable")
            made._hashes[length], made._owners[length] = hashes[order], owners[order]
            # A table of bits turns nearly every run of a training text away before the search.
            made._tables[length] = np.zeros(1 << _TABLE_BITS, dtype=bool)
            made._tables[length][hashes >> np.uint64(64 - _TABLE_BITS)] = True
        return made

    @classmethod
    def of_manifest(cls, left_out: Sequence[str] = ()) -> "EvalRuns":
        """Of every set of the evaluation manifest but those of `left_out`."""
        sets: dict[str, tuple[str, Sequence[str]]] = {}
        for evaluation in eval_manifest().values():
            if evaluation.name in left_out:
                continue
            texts = list(items(evaluation, fetch_source(evaluation)))
            if len(evaluation.languages) == 1:
                sets[evaluation.name] = (evaluation.languages[0], texts)
            else:  # a set of many languages counts as two: by words and by characters
                by_width: dict[bool, list[str]] = {False: [], True: []}
                for text in texts:
                    by_width[_is_wide(text)].append(text)
                sets[evaluation.name] = ("", by_width[False])
                sets[f"{evaluation.name} (ja, zh)"] = ("zh", by_width[True])
        return cls.of(sets)

    def num_runs(self, name: str) -> int:
        number = self.sets.index(name)
        return sum(int((owners == number).sum()) for owners in self._owners.values())

    def found_in(self, runs: Runs, num_texts: int, language: str) -> list[Counter[str]]:
        """For each text how many of its runs stand in each evaluation set."""
        found: list[Counter[str]] = [Counter() for _ in range(num_texts)]
        for length in lengths(language):
            if length not in self._hashes:
                continue
            hashes, text = runs.of(length)
            maybe = np.flatnonzero(self._tables[length][hashes >> np.uint64(64 - _TABLE_BITS)])
            known = self._hashes[length]
            left, right = np.searchsorted(known, hashes[maybe]), np.searchsorted(known, hashes[maybe], side="right")
            for hit in np.flatnonzero(right > left):
                for owner in set(self._owners[length][left[hit] : right[hit]].tolist()):
                    found[text[maybe[hit]]][self.sets[owner]] += 1
        return found


def _is_wide(text: str) -> bool:
    """Whether most of the text is ideographs or kana."""
    return sum("\u3040" <= character <= "\u9fff" for character in text) * 2 > len(text)


def eval_report(summaries: Sequence[dict[str, Any]], evals: EvalRuns) -> dict[str, Any]:
    """For each evaluation set its size, and what of it was found in training text and removed with it."""
    return {
        name: {
            **{"items": evals.items[name], "too_short": evals.too_short[name], "runs": evals.num_runs(name)},
            "removed_passages": sum(summary["overlap"].get(name, {}).get("passages", 0) for summary in summaries),
            "found_runs": sum(summary["overlap"].get(name, {}).get("runs", 0) for summary in summaries),
            "examples": [example for summary in summaries for example in summary["examples"].get(name, [])][:3],
        }
        for name in evals.sets
    }
