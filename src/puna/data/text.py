"""Prose in 12 languages, one document at a time, cleaned; and the split that keeps about 2 % of it for bits per byte.

The split is a hash of source and key without the language, so that a page held out in one language is held out in all: an
aligned translation of a held-out page never trains. Knows no tokens.
"""

import hashlib
import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from puna.data.languages import LANGUAGES
from puna.data.sources import fetch, manifest

HELD_OUT_PER_MILLE = 20
_MIN_CHARS = 80
# A paragraph that speaks of the project which typed the book is licence text, in whatever script.
_LICENCE = re.compile(r"gutenberg|gutenburg|غوتنب|جوتنب|غوتينب|구텐베르|グーテンベルク|古腾堡|古騰堡|गुटेनबर्ग|гутенберг", re.IGNORECASE)
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_TAG = re.compile(r"<[^<>\n]{1,300}>")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_ADDRESS = re.compile(r"https?://\S+")
_DEBRIS = re.compile(r"^\s*(:::|///|import |export |---|\||\{|\}|#+\s*$|>\s*$|&nbsp;|\[!)")


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


def clean(text: str, kind: str) -> str:
    """`text` without licence paragraphs and markup debris. `kind` is the source's name; "" means that nothing is left worth reading."""
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


def text_sources(language: str) -> tuple[str, ...]:
    """Names of the prose sources that have `language`: books, encyclopedia and novels, then documentation."""
    names = [name for name, source in manifest().items() if source.file.startswith("text/") and language in source.languages]
    return tuple(sorted(names, key=lambda name: (name.startswith(("docs_", "tldr_")), not name.startswith("books_"))))


def rows(source: str) -> Iterator[dict[str, Any]]:
    """The raw rows of an xz-packed JSONL source."""
    with lzma.open(fetch(source), "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def documents(source: str, languages: tuple[str, ...] = LANGUAGES) -> Iterator[Document]:
    """Cleaned documents of one source, in the file's order; both splits."""
    if source == "storybooks":
        yield from _storybooks(languages)
        return
    for row in rows(source):
        if row["lang"] in languages and (text := clean(row["text"], source)):
            yield Document(row["lang"], source, row["key"], text, split_of(source, row["key"]))


def _storybooks(languages: tuple[str, ...]) -> Iterator[Document]:
    """Picture books as plain stories: title, then the pages."""
    for row in rows("storybooks"):
        for language, book in row["langs"].items():
            if language in languages:
                pages = [page.strip() for page in book["pages"] if page.strip()]
                text = "\n".join([book["title"].strip(), *pages])
                yield Document(language, "storybooks", row["id"], text, split_of("storybooks", row["id"]))


def language_documents(language: str, split: str = "train") -> Iterator[Document]:
    """Everything in one language: storybooks first, then `text_sources` in order."""
    names = text_sources(language)
    if language in manifest()["storybooks"].languages:
        names = ("storybooks", *names)
    for name in names:
        for document in documents(name, (language,)):
            if document.split == split:
                yield document
