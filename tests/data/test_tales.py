"""Picture books are told whole or gone on with from their own pages."""

import random
from pathlib import Path

from puna.data.prose import picture_books
from puna.data.tales import books, languages, short_books, tale_turn


def test_what_is_told_stands_in_a_training_book(data: Path) -> None:
    held_out = {page for book in picture_books("held_out") for _, pages in book.values() for page in pages}
    assert held_out and len(languages()) == 12
    for language in languages():
        pages = {page for _, book in books(language) for page in book}
        between = "" if language in ("ja", "zh") else " "
        whole = {between.join(book) for _, book in short_books(language)}
        assert not pages & held_out
        for index in range(30):
            _, answer = tale_turn(random.Random(index), language)
            assert answer in pages or answer in whole
