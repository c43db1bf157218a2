"""Short passages of prose for rows that need real text: sentences in up to 12 languages that say the same, and haystacks.

Sentences come from picture books (page by page) and from novels aligned paragraph for paragraph, whose sentences are paired where both
sides have equally many. The split is that of `text`: a page of a held-out book never trains. Knows no questions.
"""

import random
import re
from collections.abc import Iterator, Mapping
from functools import cache
from statistics import median

from puna.data.languages import LANGUAGES
from puna.data.text import clean, rows, split_of

# In English letters; other languages by their usual length beside English.
_LONGEST, _SHORTEST = 100, 12
# A translation this much longer or shorter than is usual for its language has lost or gained a clause.
_RATIO = 1.45
_SENTENCE = re.compile(r"[^.!?。！？।؟…]+[.!?。！？।؟…]+[”\"»“’]*")
# Speech comes apart when it is cut into sentences; digits, brackets, dashes and colons mostly stand in headings and notes.
_BROKEN = re.compile(r"[\"“”„«»「」『』‘()\[\]{}<>*_|#0-9०-९—–/:：]|--|\.\.|…")
_END = tuple(".!?。！？।؟")

Passage = Mapping[str, str]


def sentences(text: str) -> list[str]:
    """`text` cut behind full stops, question and exclamation marks of all scripts."""
    return [sentence.strip() for sentence in _SENTENCE.findall(text)]


@cache
def _books(split: str) -> tuple[dict[str, list[str]], ...]:
    """Aligned paragraphs of each chapter, by language."""
    chapters: dict[str, dict[str, list[str]]] = {}
    for row in rows("books_parallel_12"):
        if split_of("books_parallel_12", row["key"]) == split and clean(row["text"], "books_parallel_12"):
            chapters.setdefault(f"{row['src']} {row['key']}", {})[row["lang"]] = row["text"].split("\n")
    return tuple(chapters.values())


@cache
def picture_books(split: str) -> tuple[dict[str, tuple[str, tuple[str, ...]]], ...]:
    """Each picture book's title and pages by language. `split` is "train" or "held_out"."""
    return tuple(
        {
            language: (" ".join(book["title"].split()), tuple(" ".join(page.split()) for page in book["pages"]))
            for language, book in row["langs"].items()
            if language in LANGUAGES
        }
        for row in rows("storybooks")
        if split_of("storybooks", row["id"]) == split
    )


@cache
def held_out_pages() -> frozenset[str]:
    """The texts of all pages of held-out picture books: some stand in other books, too."""
    return frozenset(page for book in picture_books("held_out") for _, pages in book.values() for page in pages if page)


def _same_pages(book: Mapping[str, tuple[str, tuple[str, ...]]]) -> Iterator[Passage]:
    """The pages that all of a book's languages have, from those languages with as many pages as its first."""
    number = len(next(iter(book.values()))[1])
    paged = {language: pages for language, (_, pages) in book.items() if len(pages) == number}
    for place in range(number):
        yield {language: pages[place] for language, pages in paged.items()}


def _same_sentences(chapter: Mapping[str, list[str]]) -> Iterator[Passage]:
    """Sentences of paragraphs that have as many of them in English as in the language."""
    for place, paragraph in enumerate(chapter.get("en", ())):
        cut = {language: sentences(side[place]) for language, side in chapter.items() if place < len(side)}
        number = len(sentences(paragraph))
        for sentence in range(number):
            yield {language: parts[sentence] for language, parts in cut.items() if len(parts) == number}


@cache
def lengths() -> dict[str, float]:
    """Letters that a language takes for one English letter, measured on the aligned chapters."""
    ratios: dict[str, list[float]] = {language: [] for language in LANGUAGES}
    for chapter in _books("train"):
        for place, paragraph in enumerate(chapter.get("en", ())):
            for language in LANGUAGES:
                if len(paragraph) > 80 and place < len(chapter.get(language, ())):
                    ratios[language].append(len(chapter[language][place]) / len(paragraph))
    return {language: median(found) if found else 1.0 for language, found in ratios.items()}


def is_clean(text: str, language: str) -> bool:
    """Whether `text` is one whole sentence of speakable length, with nothing in it that its cutting could have broken."""
    length = len(text) / lengths()[language]
    if not _SHORTEST <= length <= _LONGEST or _BROKEN.search(text) or not text.endswith(_END):
        return False
    # A sentence of a cased script that opens small was cut in the middle.
    return not text[0].islower()


@cache
def parallel(split: str) -> tuple[Passage, ...]:
    """Sentences and pages that at least two languages have, each side clean; picture books first. Without the training ones that a
    held-out passage repeats: a chapter's title stands in the list of chapters as well.
    """
    said = {text for passage in parallel("held_out") for text in passage.values()} if split == "train" else frozenset[str]()
    found: list[Passage] = []
    for source in (map(_same_pages, picture_books(split)), map(_same_sentences, _books(split))):
        for passages in source:
            for passage in passages:
                kept = {language: text for language, text in passage.items() if is_clean(text, language)}
                if len(kept) > 1 and said.isdisjoint(kept.values()):
                    found.append(kept)
    return tuple(found)


@cache
def said_in(language: str) -> tuple[str, ...]:
    """The training sentences of a language."""
    return tuple(passage[language] for passage in parallel("train") if language in passage)


def agree(passage: Passage, source: str, target: str) -> bool:
    """Whether two sides differ, and their lengths are those of a translation."""
    first, second = passage[source], passage[target]
    ratio = len(second) / lengths()[target] / (len(first) / lengths()[source])
    return first != second and 1 / _RATIO <= ratio <= _RATIO


@cache
def pairs(source: str, target: str, split: str = "train") -> tuple[Passage, ...]:
    """The passages that make a translation from `source` into `target`."""
    return tuple(p for p in parallel(split) if source in p and target in p and agree(p, source, target))


@cache
def directions() -> tuple[tuple[str, str], ...]:
    """(source, target) of all translations that have training pairs."""
    return tuple((source, target) for source in LANGUAGES for target in LANGUAGES if source != target and pairs(source, target))


@cache
def _paragraphs(language: str, split: str) -> tuple[str, ...]:
    """Paragraphs to hide something in."""
    chapters = [paragraph for chapter in _books(split) for paragraph in chapter.get(language, ())]
    return tuple(paragraph for paragraph in chapters if 60 < len(paragraph) / lengths()[language] < 700)


def haystack(rng: random.Random, language: str, letters: int, split: str = "train") -> list[str]:
    """Whole sentences that follow each other in some chapter, about `letters` English letters in all."""
    paragraphs = _paragraphs(language, split)
    place, found, length = rng.randrange(len(paragraphs)), [], 0.0
    while length < letters:
        for sentence in sentences(paragraphs[place % len(paragraphs)]):
            found.append(sentence)
            length += len(sentence) / lengths()[language]
            if length >= letters:
                break
        place += 1
    return found
