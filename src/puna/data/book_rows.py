"""Kinds of rows about pictures from files: pages of picture books with their texts, runs of pages, photographs of clothes."""

import random
from collections.abc import Callable, Sequence

import numpy as np

from puna.data import photos, phrases, phrases_seen, skills
from puna.data.backgrounds import recolour
from puna.data.photos import Page
from puna.data.row import Sample, chat

_LONGEST_RUN = 700  # bytes of UTF-8 of all its pages together


def _view(page: Page, rng: random.Random) -> np.ndarray:
    return recolour(photos.picture("storybooks_144", page.picture), rng)


def book_page(rng: random.Random) -> Sample:
    """One page: its picture and its text, as a caption or as an answer."""
    page = rng.choice(rng.choice(photos.books("train")).pages)
    language = rng.choice(tuple(page.texts))
    shown = (_view(page, rng),)
    if rng.random() < 0.5:
        return Sample("book_page", document=page.texts[language], pictures=shown)
    return chat("book_page", [(rng.choice(phrases_seen.ASK_PAGE[language]), page.texts[language])], shown, rng)


def book_pages(rng: random.Random) -> Sample:
    """Three to six pages that follow each other, as pictures or as a film of one page a second, and their texts, a line a page."""
    while True:
        book = rng.choice(photos.books("train"))
        if len(book.pages) >= 3 and (run := page_run(book.pages, rng)):
            break
    pages, language = run
    shown = [_view(page, rng) for page in pages]
    timestamps = tuple(map(float, range(len(pages)))) if rng.random() < 0.5 else ()
    told = "\n".join(page.texts[language] for page in pages)
    if rng.random() < 0.4:
        return Sample("book_pages", document=told, pictures=tuple(shown), timestamps=timestamps)
    return chat("book_pages", [(rng.choice(phrases_seen.ASK_STORY[language]), told)], shown, rng, timestamps)


def page_run(pages: Sequence[Page], rng: random.Random) -> tuple[Sequence[Page], str] | None:
    """Three to six pages that follow each other, with short texts in one language, and that language; None where chance found none."""
    number = min(len(pages), rng.randint(3, 6))
    start = rng.randrange(len(pages) - number + 1)
    run = pages[start : start + number]
    if run[-1].place - run[0].place != number - 1:  # a page between them has no picture, or too long a text
        return None
    shared = [language for language in run[0].texts if all(language in page.texts for page in run)]
    fitting = [language for language in shared if sum(len(page.texts[language].encode()) for page in run) <= _LONGEST_RUN]
    return (run, rng.choice(fitting)) if fitting else None


def clothing(rng: random.Random) -> Sample:
    """A photograph of a piece of clothing: what is this?"""
    name, what = rng.choice(photos.clothes("train"))
    language = skills.pick_language(rng)
    view = recolour(photos.picture("clothing_128", name, rng.random() < 0.5), rng)
    turns = [(rng.choice(phrases.ASK_NAME[language]), phrases_seen.CLOTHES_NAMES[language][what])]
    return chat("clothing", turns, (view,), rng)


KINDS: dict[str, Callable[[random.Random], Sample]] = {"book_page": book_page, "book_pages": book_pages, "clothing": clothing}
