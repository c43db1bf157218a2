"""Picture books (CC-BY) as conversations: tell it, how does it begin, what happens next, in the 11 languages that have any.

Only whole short books are told, so that a telling ends where its story ends. Knows no pictures and no tokens.
"""

import random
from functools import cache

from puna.data import ask_text
from puna.data.prose import held_out_pages, lengths, picture_books

_LONGEST_BOOK = 600  # English letters
_LONGEST_PAGE = 160
# Markup, credits, and French words that lost their hyphens when the books were read in.
_UNWANTED = ("http", "©", "@", "|", "<", "\\", "estelle", "estil", "estce", "sparents")
_END = (*".!?。！？।؟…", "”", '"', "»", "」", "’")


@cache
def books(language: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(title, pages) of the training books in `language` whose every page is clean, short, and in no held-out book."""
    found = []
    for book in picture_books("train"):
        if language in book:
            title, pages = book[language]
            pages = tuple(page for page in pages if page)
            letters = [len(page) / lengths()[language] for page in pages]
            is_short = len(pages) >= 4 and 0 < len(title) < 60 and max(letters) <= _LONGEST_PAGE
            if is_short and _is_prose(title, pages) and held_out_pages().isdisjoint(pages):
                found.append((title, pages))
    return tuple(found)


def _is_prose(title: str, pages: tuple[str, ...]) -> bool:
    """Sentences, not single words under pictures; no debris."""
    # A page that opens small has lost its beginning.
    has_debris = any(mark in text for text in (title, *pages) for mark in _UNWANTED) or any(page[0].islower() for page in pages)
    return not has_debris and sum(page.endswith(_END) for page in pages) > 0.7 * len(pages)


def _joined(pages: tuple[str, ...], language: str) -> str:
    return ("" if language in ("ja", "zh") else " ").join(pages)


@cache
def short_books(language: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The books that can be told whole."""
    return tuple((title, pages) for title, pages in books(language) if sum(map(len, pages)) / lengths()[language] <= _LONGEST_BOOK)


@cache
def languages() -> tuple[str, ...]:
    """The languages with books to read."""
    return tuple(language for language in lengths() if books(language))


def tale_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """Tell a book, or go on from two or three of its pages."""
    if rng.random() < 0.4 and short_books(language):
        title, pages = rng.choice(short_books(language))
        asks = (*ask_text.ASK_ANY_STORY[language], *ask_text.ASK_STORY[language], *ask_text.ASK_STORY[language])
        return rng.choice(asks).format(title=title), _joined(pages, language)
    _, pages = rng.choice(books(language))
    first = rng.randrange(len(pages) - 2)
    read = _joined(pages[first : first + 2], language)
    return f"{ask_text.READ[language].format(text=read)}\n{ask_text.ASK_NEXT_SENTENCE[language]}", pages[first + 2]
