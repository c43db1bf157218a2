"""From raw files to stored tokens: fetch, refine each source, drop what is said twice, choose by budget, learn a vocabulary, write shards.

    raw files -> refine (clean, cut, judge, evaluation overlap, signatures) -> twins -> budget -> tokenizer -> shards and a report

Killed, it goes on where it stopped: refined sources, the tokenizer and finished shards are kept, and moved into place only when whole. The
same files and settings give the same bytes. What each step drops is counted by reason and stands in every shard's provenance.
"""

import errno
import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from puna.data.dedup import earlier_twins
from puna.data.languages import LANGUAGES
from puna.data.overlap import eval_report
from puna.data.progress import Bars
from puna.data.refine import Job, Refined, eval_runs, load, refine_or_reason
from puna.data.report import write_report
from puna.data.shards import read_provenance, verify_shard, write_json, write_shard
from puna.data.sources import DataError, Source, eval_manifest, fetch_source, manifest, sha256_of
from puna.data.text import prose_sources
from puna.data.vocabulary import tokenizer_texts
from puna.tokens.bpe import Tokenizer
from puna.tokens.train import train_tokenizer

# Raised whenever the same files and settings would give other shards.
VERSION = 2
DUPLICATE, NEAR_DUPLICATE, NEAR_HELD_OUT, OVER_BUDGET = "duplicate", "near_duplicate", "near_held_out", "over_budget"
SPLITS: tuple[str, ...] = ("train", "held_out")


@dataclass(frozen=True, slots=True)
class Size:
    """How much to store. Bytes are of cleaned text; None means everything."""

    name: str
    bytes_per_language: int | None
    bytes_per_document: int | None
    held_out_bytes: int
    num_ranks: int
    tokenizer_bytes: int
    # Simple English is what a nano speaks best: it is fed this many times as much as another language.
    english_factor: float = 3.0


SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        Size("micro", 300_000, 16_000, 20_000, 2048, 150_000),
        Size("cpu", 8_000_000, 64_000, 120_000, 8192, 2_500_000),
        Size("gpu", None, None, 400_000, 32_768, 5_000_000),
    )
}
# The most that one kind of source may fill of a language's budget, so that no kind crowds out another. For "docs", each manual by itself.
_SOURCE_SHARE: dict[str, float] = {"storybooks": 0.2, "books": 0.4, "wikipedia": 0.7, "novels": 0.35, "docs": 0.1, "tldr": 0.03}
# Manuals keep to their share even if the budget is not filled: a language must not be learned from them.
_STRICT = ("docs", "tldr")
_T = TypeVar("_T")


def budget(size: Size, language: str, source: str) -> int | None:
    """The most bytes of `source` that can be stored of a language's training text."""
    if size.bytes_per_language is None:
        return None
    kind = source.split("_")[0]
    return int(_SOURCE_SHARE[kind] * size.bytes_per_language if kind in _STRICT else _language_budget(size, language))


def _language_budget(size: Size, language: str) -> float:
    return float("inf") if size.bytes_per_language is None else size.bytes_per_language * (size.english_factor if language == "en" else 1)


def build(
    out: Path,
    size: Size,
    *,
    tokenizer: Tokenizer | None = None,
    languages: Sequence[str] = LANGUAGES,
    processes: int = 2,
    skip_bad: bool = False,
    keep_work: bool = False,
    bars: Bars | None = None,
) -> dict[str, Any]:
    """Fill `out` with a tokenizer, shards of both splits and a report, which is returned.

    A source that is missing or broken, and a language without text, end the build, or are left out and named with `skip_bad`.
    """
    bars = bars or Bars(quiet=True)
    languages = tuple(language for language in LANGUAGES if language in languages)
    try:
        with ExitStack() as stack:
            pool = stack.enter_context(ProcessPoolExecutor(processes)) if processes > 1 else None
            return _build(out, size, tokenizer, languages, pool, skip_bad, keep_work, bars)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(
                f"the disk is full ({error.filename or out}); make room, then run the same command: it goes on where it stopped"
            ) from error
        raise


def _build(
    out: Path,
    size: Size,
    tokenizer: Tokenizer | None,
    languages: tuple[str, ...],
    pool: ProcessPoolExecutor | None,
    skip_bad: bool,
    keep_work: bool,
    bars: Bars,
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, size, languages, tokenizer)
    bad: dict[str, str] = {}

    # 1. Files.
    sources = _fetched(
        [manifest()[name] for name in prose_sources() if set(manifest()[name].languages) & set(languages)], bad, skip_bad, bars
    )
    evaluations = _fetched(list(eval_manifest().values()), bad, skip_bad, bars)
    if not evaluations:
        bars.say("no evaluation sets are listed: overlap is not measured")

    # 2. Each source by itself.
    digest = hashlib.sha256("".join(each.sha256 for each in evaluations).encode()).hexdigest() if evaluations else ""
    left_out = tuple(name for name in eval_manifest() if name in bad)
    jobs = [_job(source, size, languages, digest, left_out) for source in sources]
    work = out / "work"
    work.mkdir(exist_ok=True)
    packed = {source.name: source.bytes for source in sources}
    refined: dict[str, Refined] = {}
    for job, (path, reason) in _each(pool, refine_or_reason, [(job, work) for job in jobs], lambda a: packed[a[0].source], "refine", bars):
        if path is None:
            _bad(job.source, reason, bad, skip_bad)
        else:
            refined[job.source] = load(path)
    kept = [refined[job.source] for job in jobs if job.source in refined]

    # 3. All sources together: what repeats something, then what the budget holds.
    table = _Table.of(kept)
    reasons = table.repetitions()
    chosen = _choose(table, reasons, size, languages)
    empty = [language for language in languages if not len(chosen["train", language])]
    for language in empty:
        why = f"language {language!r} has no training text left in {', '.join(refined) or 'any source'}"
        _bad(f"language {language}", f"{why}; leave it out with --languages, or go on without it with --skip-bad", bad, skip_bad)

    # 4. Vocabulary.
    present = [language for language in languages if language not in empty]
    tokenizer = _vocabulary(out, size, tokenizer, table, chosen, present, bars)

    # 5. Shards.
    provenance = _shards(out, table, reasons, chosen, present, size, pool, bars)

    report = {
        **{"size": asdict(size), "languages": present, "bad": bad, "tokenizer": _tokenizer_facts(out, tokenizer)},
        "shards": {f"{split}_{language}": facts for (split, language), facts in provenance.items()},
        "dropped": {language: _dropped(table, reasons, chosen, language) for language in present},
        "read": _read(kept, present),
        "evaluation": eval_report([each.summary for each in kept], eval_runs(digest, left_out)) if evaluations else {},
        "sources": {source.name: {"licence": source.licence, "origin": source.origin, "sha256": source.sha256} for source in sources},
    }
    write_report(out, report)
    write_json(out / "tokens.json", {language: provenance["train", language]["tokens"] for language in present})
    if not keep_work:
        shutil.rmtree(work)
    return report


def _claim(out: Path, size: Size, languages: Sequence[str], tokenizer: Tokenizer | None) -> None:
    """Write what is being built, or refuse a folder that holds something else."""
    settings = {
        **{"version": VERSION, "size": asdict(size), "languages": list(languages)},
        "given_tokenizer": _vocabulary_hash(tokenizer) if tokenizer else None,
    }
    path = out / "build.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != settings:
            other = next(key for key in {**found, **settings} if found.get(key) != settings.get(key))
            raise DataError(
                f"{out} holds a build with another {other} ({found.get(other)}, now {settings.get(other)}); name another folder or empty it"
            )
    elif any(out.glob("*.bin")):
        raise DataError(f"{out} holds shards that another program made; name another folder or empty it")
    write_json(path, settings)


def _vocabulary_hash(tokenizer: Tokenizer) -> str:
    digest = hashlib.sha256()
    for token_id in range(tokenizer.vocab_size):
        digest.update(tokenizer.token_bytes(token_id, keep_special=True) + b"\0")
    return digest.hexdigest()


def _bad(name: str, reason: str, bad: dict[str, str], skip_bad: bool) -> None:
    if not skip_bad:
        raise DataError(reason)
    bad[name] = reason


def _fetched(wanted: list[Source], bad: dict[str, str], skip_bad: bool, bars: Bars) -> list[Source]:
    good = []
    for each in wanted:
        try:
            fetch_source(each, lambda arrived, each=each: bars.advance(each.file, arrived, each.bytes))
        except DataError as error:
            _bad(each.name, str(error), bad, skip_bad)
        else:
            good.append(each)
    return good


def _job(source: Source, size: Size, languages: Sequence[str], digest: str, left_out: tuple[str, ...]) -> Job:
    wanted = tuple(language for language in languages if language in source.languages)
    train_bytes = None if size.bytes_per_language is None else {language: budget(size, language, source.name) or 0 for language in wanted}
    held_out_bytes = None if train_bytes is None else size.held_out_bytes
    return Job(source.name, source.sha256, wanted, train_bytes, held_out_bytes, size.bytes_per_document, digest, left_out)


def _each(
    pool: ProcessPoolExecutor | None,
    function: Callable[..., _T],
    arguments: list[tuple],
    weight: Callable[[tuple], int],
    what: str,
    bars: Bars,
) -> Iterator[tuple[Any, _T]]:
    """`function` of each, the heaviest first, as (first argument, result) in the order of finishing."""
    total, done = sum(map(weight, arguments)), 0
    bars.advance(what, 0, total)
    ordered = sorted(arguments, key=weight, reverse=True)
    if pool is None:
        results: Iterable[tuple[tuple, _T]] = ((each, function(*each)) for each in ordered)
    else:
        results = _finished({pool.submit(function, *each): each for each in ordered})
    for each, result in results:
        done += weight(each)
        bars.advance(what, done, total)
        yield each[0], result


def _finished(futures: dict[Future[_T], tuple]) -> Iterator[tuple[tuple, _T]]:
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            if future.exception():
                for other in waiting:
                    other.cancel()
            yield futures[future], future.result()


@dataclass(frozen=True, slots=True)
class _Table:
    """All passages of all sources, in order of preference: what is held out, then better sources, then English, then the file's order."""

    refined: list[Refined]
    source: np.ndarray
    row: np.ndarray
    language: np.ndarray
    held_out: np.ndarray
    num_bytes: np.ndarray
    order: np.ndarray  # places in file order of the concatenation

    @classmethod
    def of(cls, refined: list[Refined]) -> "_Table":
        if not refined:
            raise DataError("no source of prose is left; check the manifest, or what was skipped as bad")
        source = np.concatenate([np.full(len(each.start), number) for number, each in enumerate(refined)])
        row = np.concatenate([np.arange(len(each.start)) for each in refined])
        language = np.concatenate([each.language for each in refined])
        held_out = np.concatenate([each.held_out for each in refined])
        num_bytes = np.concatenate([each.end - each.start for each in refined])
        order = np.lexsort((row, language, source, ~held_out))
        return cls(refined, source[order], row[order], language[order], held_out[order], num_bytes[order], order)

    def repetitions(self) -> np.ndarray:
        """For each passage why it repeats an earlier one, or "". What is held out stays as it is: the scores read it."""
        exact = np.concatenate([each.exact for each in self.refined])[self.order]
        _, first, inverse = np.unique(exact, return_index=True, return_inverse=True)
        earlier = first[inverse]  # np.unique gives the first place of each value
        near = earlier_twins(np.concatenate([each.signatures for each in self.refined])[self.order])
        is_exact = earlier < np.arange(len(exact))
        twin = np.where(is_exact, earlier, near)
        reasons = np.where(is_exact, DUPLICATE, np.where(twin >= 0, NEAR_DUPLICATE, "")).astype("U16")
        reasons[(twin >= 0) & self.held_out[twin]] = NEAR_HELD_OUT
        reasons[self.held_out] = ""
        return reasons


def _choose(table: _Table, reasons: np.ndarray, size: Size, languages: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
    """The places in `table` that each shard holds: sources in order, each within its share; then what the budget still has room for."""
    chosen: dict[tuple[str, str], np.ndarray] = {}
    for language in languages:
        for split in SPLITS:
            mine = np.flatnonzero(
                (table.language == LANGUAGES.index(language)) & (table.held_out == (split == "held_out")) & (reasons == "")
            )
            limit = _language_budget(size, language)
            plain: float = size.bytes_per_language or limit
            if split == "held_out":
                limit = plain = size.held_out_bytes
            chosen[split, language] = (
                mine if limit == float("inf") else np.array(_within(table, mine.tolist(), limit, plain), dtype=np.int64)
            )
    return chosen


def _within(table: _Table, places: list[int], limit: float, plain: float) -> list[int]:
    """Those of `places` that fit into `limit` bytes. `plain` is the limit of a language that is fed once: more brings no manuals."""
    taken: Counter[str] = Counter()
    kept: list[int] = []
    for shares in (_SOURCE_SHARE, {kind: _SOURCE_SHARE[kind] for kind in _STRICT}):
        left = []
        for place in places:
            name = table.refined[table.source[place]].source
            kind = name.split("_")[0]
            counted = name if kind == "docs" else kind
            num_bytes = int(table.num_bytes[place])
            if (
                taken[counted] + num_bytes > shares.get(kind, 1.0) * (plain if kind in _STRICT else limit)
                or taken.total() + num_bytes > limit
            ):
                left.append(place)
                continue
            taken[counted] += num_bytes
            kept.append(place)
        places = left
    return sorted(kept)


def _texts(table: _Table, places: np.ndarray) -> Iterator[tuple[str, bool]]:
    """(text, whether its document ends with it) of each place."""
    for number, each in enumerate(table.refined):
        rows = table.row[places[table.source[places] == number]]
        if not len(rows):
            continue
        with each.text.open("rb") as file:
            for row in rows.tolist():
                file.seek(int(each.start[row]))
                yield file.read(int(each.end[row] - each.start[row])).decode(), bool(each.is_end[row])


def _vocabulary(
    out: Path,
    size: Size,
    given: Tokenizer | None,
    table: _Table,
    chosen: Mapping[tuple[str, str], np.ndarray],
    languages: Sequence[str],
    bars: Bars,
) -> Tokenizer:
    """The tokenizer in `out`: the given one, the one of an earlier attempt, or one learned from the chosen text."""
    folder = out / "tokenizer"
    if given is None and (folder / "tokenizer.json").is_file():
        return Tokenizer.from_hf(folder)
    if given is None:
        bars.say(f"learning {size.num_ranks:,} BPE ids")
        prose = (text for language in languages for text in _some(table, chosen["train", language], size, language))
        given = train_tokenizer(tokenizer_texts(prose) if "wikipedia_simple_en" in manifest() else prose, size.num_ranks)
    if given.vocab_size > 1 << 16:
        raise DataError(f"shards store 16-bit ids, but the tokenizer has {given.vocab_size}; use a nano tokenizer (at most 65,536 ids)")
    # tokenizer.json is what a resumed build looks for: it goes in last, with its folder.
    aside = out / "tokenizer.part"
    given.save_hf(aside)
    if folder.exists():
        shutil.rmtree(folder)
    aside.rename(folder)
    return given


def _some(table: _Table, places: np.ndarray, size: Size, language: str) -> Iterator[str]:
    """Passages spread evenly over the chosen ones, up to the vocabulary's share."""
    limit = size.tokenizer_bytes * (2 if language == "en" else 1)
    total = int(table.num_bytes[places].sum())
    stride = max(1, -(-total // limit))
    yield from (text for text, _ in _texts(table, places[::stride]))


def _tokenizer_facts(out: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    return {"ids": tokenizer.vocab_size, "sha256": sha256_of(out / "tokenizer" / "tokenizer.json")}


def _shards(
    out: Path,
    table: _Table,
    reasons: np.ndarray,
    chosen: Mapping[tuple[str, str], np.ndarray],
    languages: Sequence[str],
    size: Size,
    pool: ProcessPoolExecutor | None,
    bars: Bars,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Write those shards that are not there whole; the provenance of all."""
    tokenizer_sha256 = sha256_of(out / "tokenizer" / "tokenizer.json")
    provenance, jobs, weights = {}, [], {}
    for split in SPLITS:
        for language in languages:
            places = chosen[split, language]
            origin = {
                **_composition(table, places),
                "dropped": _dropped(table, reasons, chosen, language) if split == "train" else {},
                "tokenizer_sha256": tokenizer_sha256,
            }
            origin["fingerprint"] = hashlib.sha256(
                json.dumps([VERSION, origin], sort_keys=True).encode() + table.order[places].tobytes()
            ).hexdigest()
            if (found := _whole(out, split, language, origin["fingerprint"])) is not None:
                provenance[split, language] = found
                continue
            jobs.append(((split, language), str(out), table, places, origin))
            weights[split, language] = origin["bytes"]
    slim = [(key, folder, _slim(table, places), origin) for key, folder, table, places, origin in jobs]
    for key, written in _each(pool, _write, slim, lambda each: weights[each[0]], "tokenise", bars):
        provenance[key] = written
    return {(split, language): provenance[split, language] for split in SPLITS for language in languages}


def _whole(out: Path, split: str, language: str, fingerprint: str) -> dict[str, Any] | None:
    """The provenance of a shard that is there and needs no work."""
    try:
        found = read_provenance(out, split, language)
        return verify_shard(out, split, language) if found and found["fingerprint"] == fingerprint else None
    except DataError:
        return None  # damaged: it is written anew, which is what the error would advise


def _slim(table: _Table, places: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Where the places' texts lie, by file: what another process needs."""
    found = []
    for number, each in enumerate(table.refined):
        rows = table.row[places[table.source[places] == number]]
        found.append((str(each.text), each.start[rows], each.end[rows], each.is_end[rows]))
    return found


def _write(
    key: tuple[str, str], out: str, files: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]], origin: dict[str, Any]
) -> dict[str, Any]:
    """Tokenise one shard. Runs in a process of its own."""

    def texts() -> Iterator[tuple[str, bool]]:
        for path, starts, ends, is_end in files:
            with open(path, "rb") as file:
                for start, end, last in zip(starts.tolist(), ends.tolist(), is_end.tolist(), strict=True):
                    file.seek(start)
                    yield file.read(end - start).decode(), last

    return write_shard(Path(out), *key, texts(), Tokenizer.from_hf(Path(out) / "tokenizer"), origin)


def _composition(table: _Table, places: np.ndarray) -> dict[str, Any]:
    """Documents, passages and bytes of a shard, in all and by source."""
    sources = {}
    for number, each in enumerate(table.refined):
        mine = places[table.source[places] == number]
        if len(mine):
            documents = len(np.unique(each.document[table.row[mine]]))
            sources[each.source] = {"documents": documents, "passages": len(mine), "bytes": int(table.num_bytes[mine].sum())}
    totals = {key: sum(each[key] for each in sources.values()) for key in ("documents", "passages", "bytes")}
    return {**totals, "sources": sources}


def _dropped(table: _Table, reasons: np.ndarray, chosen: Mapping[tuple[str, str], np.ndarray], language: str) -> dict[str, int]:
    """Passages of one language that were left out, by reason."""
    counts: Counter[str] = Counter()
    for each in table.refined:
        counts.update(each.summary["dropped"].get(language, {}))
    mine = (table.language == LANGUAGES.index(language)) & ~table.held_out
    counts.update(reason for reason in reasons[mine].tolist() if reason)
    counts[OVER_BUDGET] = int((mine & (reasons == "")).sum()) - len(chosen["train", language])
    return {reason: count for reason, count in sorted(counts.items()) if count}


def _read(refined: list[Refined], languages: Sequence[str]) -> dict[str, dict[str, int]]:
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for each in refined:
        for language, counts in each.summary["read"].items():
            totals[language].update(counts)
    return {language: dict(totals[language]) for language in languages}


def sized(name: str, num_ranks: int | None = None, max_bytes_per_language: int | None = None) -> Size:
    """The size called `name`, changed where a number is given."""
    if name not in SIZES:
        raise DataError(f"no size is called {name!r}; there are {', '.join(SIZES)}")
    size = SIZES[name]
    if max_bytes_per_language is not None:
        if max_bytes_per_language < 10_000:
            raise DataError(f"max_bytes_per_language={max_bytes_per_language} is too little; 10,000 is the least that fills windows")
        size = replace(size, bytes_per_language=max_bytes_per_language, tokenizer_bytes=min(size.tokenizer_bytes, max_bytes_per_language))
    return size if num_ranks is None else replace(size, num_ranks=num_ranks)
