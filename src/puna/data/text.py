"""Prose in 12 languages, one document at a time, cleaned; and the split that keeps about 2 % of it for bits per byte.

The split is a hash of source and key without the language, so that a page held out in one language is held out in all: an
aligned translation of a held-out page never trains. Knows no tokens.
"""

import hashlib
import json
import lzma
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from puna.data.languages import LANGUAGES
from puna.data.sources import DataError, fetch, manifest

HELD_OUT_PER_MILLE = 20
_MIN_CHARS = 80
# A paragraph that speaks of the project which typed the book is licence text, in whatever script.
_LICENCE = re.compile(r"gutenberg|gutenburg|غوتنب|جوتنب|غوتينب|구텐베르|グーテンベルク|古腾堡|古騰堡|गुटेनबर्ग|гутенберг", re.IGNORECASE)
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_TAG = re.compile(r"<[^<>\n]{1,300}>")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_ADDRESS = re.compile(r"https?://\S+")
_DEBRIS = re.compile(r"^\s*(:::|///|import |export |---|\||\{|\}|#+\s*$|>\s*$|&nbsp;|\[!)")
# What no reader sees: control characters, lone surrogates, private use, soft hyphens, marks of direction and order, zero-width spaces.
# Zero-width joiners stay: Hindi and emoji are spelled with them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffc-\uffff\ud800-\udfff\ue000-\uf8ff]"
)
_LINE_END = re.compile("\r\n?|\x0b|\x0c|\x85|\u2028|\u2029")


@dataclass(frozen=True, slots=True)
class Document:
    """One text. `split` is "train" or "held_out"."""

    language: str
    source: str
    key: str
    text: str
    split: str


def split_of(source: str, key: str) -> str:
    """Which side of the split a page is on, whatever its language."""
    digest = hashlib.sha256(f"{source}\n{key}".encode()).digest()
    return "held_out" if int.from_bytes(digest[:4], "big") % 1000 < HELD_OUT_PER_MILLE else "train"


def normalised(text: str) -> str:
    """`text` in Unicode's composed form (NFC), lines ended by \\n, without characters that no reader sees."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _UNSEEN.sub("", _LINE_END.sub("\n", text))


def clean(text: str, kind: str) -> str:
    """`text` normalised, without licence paragraphs and markup debris. `kind` is the source's name; "": nothing is left worth reading."""
    text = normalised(text)
    if kind.startswith("books_"):
        if len(_LICENCE.findall(text)) > 12:
            return ""
        text = "\n".join(line for line in text.split("\n") if not _LICENCE.search(line))
    elif kind.startswith("docs_"):
        text = _FENCE.sub("", text)
        text = _ADDRESS.sub("", _TAG.sub("", _LINK.sub(r"\1", text))).replace("**", "")
        text = "\n".join(line for line in text.split("\n") if not _DEBRIS.match(line))
    elif kind.startswith("wikipedia_"):
        text = _TAG.sub("", text).replace("(, ", "(").replace("()", "").replace("[[", "").replace("]]", "")
    text = re.sub(r"[ \t\u00a0]+", " ", text)
    text = re.sub(r" *\n[ \n]*\n", "\n\n", text).strip()
    # An ideograph or a syllable block says about as much as three letters.
    shortest = _MIN_CHARS if text[:1] < "\u2e80" else _MIN_CHARS // 3
    return text if len(text) >= shortest else ""


def prose_sources(language: str | None = None) -> tuple[str, ...]:
    """Names of the sources of prose that have `language` (None: any): picture books, books, encyclopedia and novels, then documentation."""
    kinds = ("picture_books", "prose")
    names = [
        name
        for name, source in manifest().items()
        if source.kind in kinds and (language in source.languages if language else source.languages)
    ]
    order = ("storybooks", "books_", "wikipedia_", "novels_", "", "docs_", "tldr_")  # "": a source of your own
    return tuple(sorted(names, key=lambda name: next((k for k, start in enumerate(order) if start and name.startswith(start)), 4)))


def rows(source: str) -> Iterator[dict[str, Any]]:
    """The raw rows of an xz-packed JSONL source."""
    path, complete = fetch(source), 0
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                complete += 1
                yield row
    except (lzma.LZMAError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"source {source}: {path} is broken behind row {complete} ({error}); delete it and fetch it again") from error


def documents(
    source: str,
    languages: tuple[str, ...] = LANGUAGES,
    dropped: Counter[tuple[str, str]] | None = None,
    passed_over: Callable[[str, str], bool] = lambda language, split: False,
) -> Iterator[Document]:
    """Cleaned documents of one source, in the file's order; both splits. `dropped` counts what cleaning left nothing of, as (language,
    "short_or_empty"). Documents of which `passed_over(language, split)` is true are not even cleaned."""
    for language, key, text in _texts(source):
        split = split_of(source, key)
        if language not in languages or passed_over(language, split):
            continue
        if cleaned := clean(text, source):
            yield Document(language, source, key, cleaned, split)
        elif dropped is not None:
            dropped[language, "short_or_empty"] += 1


def _texts(source: str) -> Iterator[tuple[str, str, str]]:
    """Language, key and raw text of each document; of a picture book its title, then its pages."""
    for number, row in enumerate(rows(source), 1):
        try:
            if "langs" in row:
                for language, book in row["langs"].items():
                    pages = [page.strip() for page in book["pages"] if page.strip()]
                    yield language, row["id"], "\n".join([book["title"].strip(), *pages])
            else:
                yield row["lang"], row["key"], row["text"]
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"source {source}: row {number} has no usable {error}; prose rows hold lang, key and text") from error


def language_documents(language: str, split: str = "train") -> Iterator[Document]:
    """Everything in one language: storybooks first, then `prose_sources` in order."""
    for name in prose_sources(language):
        for document in documents(name, (language,)):
            if document.split == split:
                yield document
