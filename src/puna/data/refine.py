"""One source, refined: cleaned, cut into passages, judged, looked through for evaluation text, and described by signatures.

The result lies in a folder of its own (`SOURCE.txt`, `.npz`, `.json`, the last written last), so that a build that was killed goes on with
the next source. What is dropped because another source says the same is decided later, in `build`.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from puna.data import quality
from puna.data.dedup import NUM_HASHES, signatures
from puna.data.languages import LANGUAGES
from puna.data.overlap import EvalRuns
from puna.data.shards import write_json
from puna.data.sources import DataError
from puna.data.text import Document, documents
from puna.data.words import Runs, words_of

# Long documents are judged and dropped by parts: one quoted page must not cost a novel.
PASSAGE_CHARS = 12_000
_BATCH_CHARS = 100_000
_MAX_EXAMPLES = 3
# How much more than its budget a source gives, because some of it will turn out to be said elsewhere.
_MARGIN = 1.25
OVERLAP = "evaluation_overlap"


@dataclass(frozen=True, slots=True)
class Job:
    """What to read of one source: at most `train_bytes` and `held_out_bytes` of each language, None for all of it."""

    source: str
    sha256: str
    languages: tuple[str, ...]
    train_bytes: Mapping[str, int] | None
    held_out_bytes: int | None
    bytes_per_document: int | None
    evaluation: str  # digest of the evaluation sets that are kept out, "" for none
    left_out: tuple[str, ...] = ()  # evaluation sets that cannot be read

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Refined:
    """The passages of one source, in the file's order. Arrays have one entry a passage; `start` and `end` are bytes of `text`."""

    source: str
    text: Path
    language: np.ndarray
    held_out: np.ndarray
    is_end: np.ndarray
    document: np.ndarray
    start: np.ndarray
    end: np.ndarray
    exact: np.ndarray
    signatures: np.ndarray
    summary: dict


def passages(text: str) -> list[str]:
    """`text` cut at line ends into parts of about `PASSAGE_CHARS` characters."""
    if len(text) <= 1.5 * PASSAGE_CHARS:
        return [text]
    parts, start = [], 0
    while len(text) - start > 1.5 * PASSAGE_CHARS:
        end = text.rfind("\n", start + PASSAGE_CHARS // 2, start + PASSAGE_CHARS) + 1 or start + PASSAGE_CHARS
        parts.append(text[start:end].strip())
        start = end
    return [part for part in (*parts, text[start:].strip()) if part]


def first_passages(text: str, most_bytes: int | None) -> tuple[list[str], bool]:
    """The passages of a document, the first and as many more as fit into `most_bytes` with it, and whether they are all of it."""
    parts = passages(text)
    if most_bytes is None:
        return parts, True
    taken, size = [], 0
    for part in parts:
        size += len(part.encode())
        if taken and size > most_bytes:
            return taken, False
        taken.append(part)
    return taken, True


def exact_hash(text: str) -> int:
    """The same for texts that differ in case and spaces alone."""
    return int.from_bytes(hashlib.blake2b(" ".join(text.lower().split()).encode(), digest_size=8).digest(), "little")


@cache
def eval_runs(digest: str, left_out: tuple[str, ...]) -> EvalRuns:
    """The runs of all evaluation sets but `left_out`, gathered once a process; `digest` tells their versions apart, "" is none."""
    return EvalRuns.of_manifest(left_out) if digest else EvalRuns.of({})


def refine(job: Job, folder: Path) -> Path:
    """Do one job, or find it done; the path of its summary."""
    summary_path = folder / f"{job.source}.json"
    if summary_path.is_file() and json.loads(summary_path.read_text(encoding="utf-8"))["fingerprint"] == job.fingerprint:
        return summary_path
    summary_path.unlink(missing_ok=True)
    reader = _Reader(job, eval_runs(job.evaluation, job.left_out))
    aside = folder / f"{job.source}.txt.part"
    with aside.open("wb") as file:
        for passage in reader.kept():
            file.write(passage)
    os.replace(aside, folder / f"{job.source}.txt")
    np.savez(folder / f"{job.source}.npz", **reader.arrays())  # pyright: ignore[reportArgumentType]
    write_json(summary_path, reader.summary())
    return summary_path


def load(summary_path: Path) -> Refined:
    """What `refine` left."""
    summary = json.loads(summary_path.read_text(encoding="utf-8"))
    with np.load(summary_path.with_suffix(".npz"), allow_pickle=False) as arrays:
        return Refined(summary["source"], summary_path.with_suffix(".txt"), **dict(arrays), summary=summary)


_Passage = tuple[Document, int, bool, str]  # document, its number, whether it ends here, text


class _Reader:
    """Goes through a source once and remembers what `Refined` needs."""

    def __init__(self, job: Job, evals: EvalRuns) -> None:
        self._job, self._evals = job, evals
        self._read: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._dropped_bytes: Counter[tuple[str, str]] = Counter()
        self._kept: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        self._overlap: dict[str, Counter[str]] = defaultdict(Counter)
        self._examples: dict[str, list[str]] = defaultdict(list)
        self._rows: list[tuple[int, bool, bool, int, int, int, int]] = []
        self._signatures: list[np.ndarray] = []
        self._bytes = 0

    def kept(self) -> Iterator[bytes]:
        """The text of each passage that stays, while everything else about it is remembered."""
        for batch in self._batches():
            yield from self._judged(batch)

    def _is_full(self, language: str, held_out: bool) -> bool:
        if self._job.train_bytes is None or self._job.held_out_bytes is None:
            return False
        limit = self._job.held_out_bytes if held_out else _MARGIN * self._job.train_bytes[language]
        return self._kept[held_out][language] >= limit

    def _passed_over(self, language: str, split: str) -> bool:
        return self._is_full(language, split == "held_out")

    def _batches(self) -> Iterator[list[_Passage]]:
        """Passages of one language and side of the split, about `_BATCH_CHARS` together; ends early once all languages are full."""
        waiting: dict[tuple[str, bool], list[_Passage]] = defaultdict(list)
        chars: Counter[tuple[str, bool]] = Counter()
        number = 0
        for document in documents(self._job.source, self._job.languages, self._dropped, self._passed_over):
            number += 1
            held_out = document.split == "held_out"
            parts, is_whole = first_passages(document.text, self._job.bytes_per_document)
            self._read[document.language].update(documents=1, passages=len(parts), bytes=sum(len(part.encode()) for part in parts))
            key = (document.language, held_out)
            waiting[key] += [(document, number, is_whole and place == len(parts) - 1, part) for place, part in enumerate(parts)]
            chars[key] += sum(map(len, parts))
            if chars[key] >= _BATCH_CHARS:
                yield waiting.pop(key)
                del chars[key]
                if all(self._is_full(language, side) for language in self._job.languages for side in (False, True)):
                    break
        yield from waiting.values()

    def _judged(self, batch: list[_Passage]) -> Iterator[bytes]:
        language, held_out = batch[0][0].language, batch[0][0].split == "held_out"
        texts = [text for *_, text in batch]
        words = words_of(texts)
        runs = Runs(words)
        reasons = quality.judge(texts, language, words, runs)
        signed = signatures(runs, len(texts), language)
        found = [Counter()] * len(texts) if held_out else self._evals.found_in(runs, len(texts), language)
        stay = []
        for place, (document, number, is_end, text) in enumerate(batch):
            reason = reasons[place] or (OVERLAP if found[place] else "")
            size = len(text.encode())
            if reason:
                self._dropped[language, reason] += 1
                self._dropped_bytes[language, reason] += size
            if reason == OVERLAP:
                for name, hits in found[place].items():
                    self._overlap[name].update(passages=1, runs=hits)
                    if len(self._examples[name]) < _MAX_EXAMPLES:
                        self._examples[name].append(f"{document.source}: {document.key}")
            if not reason:
                self._rows.append((LANGUAGES.index(language), held_out, is_end, number, self._bytes, self._bytes + size, exact_hash(text)))
                self._bytes += size
                self._kept[held_out][language] += size
                stay.append(place)
                yield text.encode()
        self._signatures.append(signed[stay])

    def arrays(self) -> dict[str, np.ndarray]:
        language, held_out, is_end, document, start, end, exact = zip(*self._rows, strict=True) if self._rows else ([],) * 7
        return {
            "language": np.array(language, dtype=np.int8),
            "held_out": np.array(held_out, dtype=bool),
            "is_end": np.array(is_end, dtype=bool),
            "document": np.array(document, dtype=np.int64),
            "start": np.array(start, dtype=np.int64),
            "end": np.array(end, dtype=np.int64),
            "exact": np.array(exact, dtype=np.uint64),
            "signatures": np.concatenate([np.empty((0, NUM_HASHES), np.uint32), *self._signatures]),
        }

    def summary(self) -> dict:
        def by_language(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
            return {language: {r: n for (where, r), n in sorted(counts.items()) if where == language} for language in self._job.languages}

        return {
            **{"source": self._job.source, "fingerprint": self._job.fingerprint},
            **{"read": self._read, "dropped": by_language(self._dropped), "dropped_bytes": by_language(self._dropped_bytes)},
            **{"overlap": self._overlap, "examples": self._examples},
        }


def refine_or_reason(job: Job, folder: Path) -> tuple[Path | None, str]:
    """`refine`, with a broken source as a reason instead of an error."""
    try:
        return refine(job, folder), ""
    except DataError as error:
        return None, str(error)
