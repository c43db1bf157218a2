"""One shard on disk: a language's tokens of one split, cut into windows that each start with begin-of-text, and where they come from.

`{split}_{language}.bin` holds uint16 ids end to end, `..._starts.npy` where each window starts, `{split}_{language}.json` the provenance:
sources, documents, bytes, tokens, drops by reason, checksums. All are written aside and moved into place, the provenance last: a shard
without it, or one that is not as long as it says, is unfinished or damaged.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from puna.data.sources import DataError, sha256_of
from puna.tokens.bpe import Tokenizer

WINDOW = 512
_MIN_WINDOW = 16
_WAY_OUT = "run puna data build on the folder again: it makes damaged shards anew"


@dataclass(frozen=True, slots=True)
class Shard:
    """One language's stored tokens and where its windows start."""

    tokens: np.ndarray
    starts: np.ndarray


def shard_paths(directory: Path, split: str, language: str) -> tuple[Path, Path, Path]:
    """Tokens, starts of windows, provenance."""
    stem = directory / f"{split}_{language}"
    return stem.with_suffix(".bin"), directory / f"{split}_{language}_starts.npy", stem.with_suffix(".json")


def write_shard(
    directory: Path, split: str, language: str, texts: Iterable[tuple[str, bool]], tokenizer: Tokenizer, origin: dict[str, Any]
) -> dict[str, Any]:
    """Tokenise (text, whether a document ends with it) pairs into a shard; returns its provenance, `origin` and what was counted."""
    special = tokenizer.special
    tokens_path, starts_path, provenance_path = shard_paths(directory, split, language)
    for stale in (provenance_path, tokens_path, starts_path):
        stale.unlink(missing_ok=True)
    starts, total = [], 0
    aside = tokens_path.with_suffix(".bin.part")
    with aside.open("wb") as file:
        for text, is_end in texts:
            ids = [*tokenizer.encode(text), special.end_of_text] if is_end else tokenizer.encode(text)
            for first in range(0, len(ids), WINDOW - 1):
                piece = [special.bos, *ids[first : first + WINDOW - 1]]
                if len(piece) < _MIN_WINDOW and first:  # a few left-over words teach nothing but where windows end
                    continue
                starts.append(total)
                total += len(piece)
                file.write(np.array(piece, dtype=np.uint16).tobytes())
    starts.append(total)
    aside_starts = starts_path.with_name(starts_path.name + ".part")
    with aside_starts.open("wb") as file:
        np.save(file, np.array(starts, dtype=np.int64))
    os.replace(aside, tokens_path)
    os.replace(aside_starts, starts_path)
    provenance = {
        **{"split": split, "language": language, "tokens": total, "windows": len(starts) - 1},
        **{"file_bytes": tokens_path.stat().st_size, "sha256": sha256_of(tokens_path), "starts_sha256": sha256_of(starts_path)},
        **origin,
    }
    write_json(provenance_path, provenance)
    return provenance


def write_json(path: Path, content: object) -> None:
    """Written aside and moved into place."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, path)


def read_provenance(directory: Path, split: str, language: str) -> dict[str, Any] | None:
    """What is known of a shard; None if it was not finished."""
    path = shard_paths(directory, split, language)[2]
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no provenance ({error}); delete it, and {_WAY_OUT}") from error


def open_shard(directory: Path, split: str, language: str) -> Shard | None:
    """The shard by memory map, None if there is none. A size that is not as stated is an error; contents are `verify_shard`'s business."""
    tokens_path, starts_path, _ = shard_paths(directory, split, language)
    if not tokens_path.is_file():
        return None
    if not starts_path.is_file():
        raise DataError(f"{tokens_path} has no {starts_path.name} beside it; {_WAY_OUT}")
    try:
        starts = np.load(starts_path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{starts_path} is broken ({error}); {_WAY_OUT}") from error
    size = tokens_path.stat().st_size
    stated = (read_provenance(directory, split, language) or {}).get("file_bytes", 2 * int(starts[-1]))
    if size != stated or size != 2 * int(starts[-1]):
        what = "truncated" if size < stated else "damaged"
        raise DataError(f"{tokens_path} is {what}: {size:,} bytes, {stated:,} stated, {2 * int(starts[-1]):,} by its windows; {_WAY_OUT}")
    return Shard(np.memmap(tokens_path, dtype=np.uint16, mode="r"), starts) if size else None


def verify_shard(directory: Path, split: str, language: str) -> dict[str, Any]:
    """The provenance of a whole shard, checksums and sizes compared; `DataError` names what is wrong."""
    provenance = read_provenance(directory, split, language)
    tokens_path, starts_path, provenance_path = shard_paths(directory, split, language)
    if provenance is None:
        raise DataError(f"{provenance_path} is missing, so that {tokens_path.name} is unfinished; {_WAY_OUT}")
    if not tokens_path.is_file():
        raise DataError(f"{tokens_path} is missing; {_WAY_OUT}")
    open_shard(directory, split, language)
    for path, key in ((tokens_path, "sha256"), (starts_path, "starts_sha256")):
        if sha256_of(path) != provenance[key]:
            raise DataError(f"{path} has another sha256 than {provenance_path.name} states; {_WAY_OUT}")
    return provenance
