"""Looking at data: every picture of an archive decoded, every row of a text read, every shard checked against its provenance.

What is broken is named and counted; nothing is repaired.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from puna.data.languages import LANGUAGES
from puna.data.shards import open_shard, shard_paths, verify_shard
from puna.data.sources import DataError, fetch, source
from puna.data.text import documents, rows
from puna.tokens.bpe import Tokenizer

_PICTURES = (".png", ".jpg", ".jpeg")
_SHOWN_CHARS = 300


def inspect_source(name: str, samples: int = 2) -> dict[str, Any]:
    """What a source of the manifest holds. `broken` maps a part's name to what is wrong with it."""
    entry = source(name)
    facts: dict[str, Any] = {"name": name, "kind": entry.kind, "licence": entry.licence, "origin": entry.origin, "upstream": entry.upstream}
    if entry.kind == "pictures":
        sizes, broken = Counter[str](), {}
        for member, size, wrong in pictures(fetch(name)):
            if wrong:
                broken[member] = wrong
            else:
                sizes[size] += 1
        return {**facts, "pictures": sizes.total(), "sizes": dict(sizes.most_common(5)), "broken": broken}
    if entry.kind in ("prose", "picture_books"):
        dropped: Counter[tuple[str, str]] = Counter()
        counts: Counter[str] = Counter()
        num_bytes: Counter[str] = Counter()
        shown: list[str] = []
        for document in documents(name, dropped=dropped):
            counts[document.language] += 1
            num_bytes[document.language] += len(document.text.encode())
            if len(shown) < samples:
                shown.append(document.text[:_SHOWN_CHARS])
        languages = {language: f"{counts[language]:,} documents, {num_bytes[language] / 1e6:.2f} MB" for language in counts}
        return {
            **facts,
            "languages": languages,
            "short_or_empty": sum(dropped.values()),
            "samples": dict(enumerate(shown, 1)),
            "broken": {},
        }
    if entry.file.endswith(".jsonl.xz"):
        listed = list(rows(name))
        return {**facts, "rows": len(listed), "samples": dict(enumerate(map(str, islice(listed, samples)), 1)), "broken": {}}
    return {**facts, "bytes": fetch(name).stat().st_size, "broken": {}}


def pictures(archive: Path) -> Iterator[tuple[str, str, str]]:
    """(member, size as "72 x 72", "") of each picture of a zip file, or what is wrong in the third place."""
    try:
        opened = zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive} is no zip file ({error}); delete it and fetch it again") from error
    with opened:
        for member in opened.namelist():
            if not member.lower().endswith(_PICTURES):
                continue
            try:
                with Image.open(io.BytesIO(opened.read(member))) as picture:
                    picture.load()
                    yield member, f"{picture.width} x {picture.height}", ""
            except (UnidentifiedImageError, OSError, SyntaxError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
                yield member, "", str(error) or type(error).__name__


def inspect_build(directory: Path, samples: int = 2) -> dict[str, Any]:
    """Every shard of a folder against its provenance, and a few windows as text."""
    tokenizer = Tokenizer.from_hf(directory / "tokenizer")
    shards, broken, shown = {}, {}, {}
    for split in ("train", "held_out"):
        for language in LANGUAGES:
            paths = shard_paths(directory, split, language)
            if not any(path.exists() for path in paths):
                continue
            name = f"{split}_{language}"
            try:
                facts = verify_shard(directory, split, language)
            except DataError as error:
                broken[name] = str(error)
                continue
            shards[name] = f"{facts['tokens']:,} tokens, {facts['windows']:,} windows, {', '.join(facts['sources'])}"
            shard = open_shard(directory, split, language)
            if split == "train" and shard is not None:
                for place in range(min(samples, len(shard.starts) - 1)):
                    window = shard.tokens[shard.starts[place] : shard.starts[place + 1]]
                    shown[f"{name} window {place}"] = tokenizer.decode(window.tolist())[:_SHOWN_CHARS]
    if not shards and not broken:
        raise DataError(f"{directory} holds no shards; make them with puna data build {directory}")
    return {"directory": str(directory), "ids": tokenizer.vocab_size, "shards": shards, "samples": shown, "broken": broken}
