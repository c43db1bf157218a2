"""Passages say the same in several languages, and keep the split of their documents."""

from pathlib import Path

from puna.data import photos, tales
from puna.data.languages import LANGUAGES
from puna.data.prose import (
    agree,
    directions,
    held_out_pages,
    is_clean,
    lengths,
    pairs,
    parallel,
    picture_books,
    said_in,
    sentences,
)


def test_sentences_end_at_full_stops_of_all_scripts() -> None:
    assert sentences("It rains. Does it? Yes!") == ["It rains.", "Does it?", "Yes!"]
    assert sentences("雨です。本当？はい！") == ["雨です。", "本当？", "はい！"]
    assert sentences("यह घर है। वह पेड़ है।") == ["यह घर है।", "वह पेड़ है।"]


def test_broken_pieces_are_not_sentences(data: Path) -> None:
    assert is_clean("The house stands by the river.", "en")
    assert not is_clean("and then he went away.", "en")
    assert not is_clean("“Come here, said the fox.", "en")
    assert not is_clean("The house stands by", "en")


def test_translations_of_odd_length_are_left_out(data: Path) -> None:
    passage = {"en": "The big house stands near the old river.", "de": "Haus."}
    assert not agree(passage, "en", "de") and not agree({"en": "The same text.", "es": "The same text."}, "en", "es")


def test_passages_keep_the_split_of_their_books(data: Path) -> None:
    train = {text for passage in parallel("train") for text in passage.values()}
    held_out = {text for passage in parallel("held_out") for text in passage.values()}
    assert train and held_out and not train & held_out
    assert set(said_in("ja")) <= train
    pages = held_out_pages()
    assert pages and pages.isdisjoint(page for language in LANGUAGES for _, told in tales.books(language) for page in told)
    assert pages.isdisjoint(" ".join(text.split()) for book in photos.books("train") for page in book.pages for text in page.texts.values())
    assert len(picture_books("train")) + len(picture_books("held_out")) == 120
    assert all(pairs(source, target) for source, target in directions()) and len(directions()) > 100
    assert lengths()["en"] == 1.0 and 0.2 < lengths()["zh"] < 0.8
