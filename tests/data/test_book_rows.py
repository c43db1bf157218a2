"""Pages go with their pictures, held-out books stay out, and photographs are called what their folder says."""

import random
from pathlib import Path

import numpy as np
import pytest

from puna.data import book_rows, photos
from puna.data.chance import generator
from puna.data.photos import Page
from puna.data.phrases_seen import CLOTHES_NAMES
from puna.data.samples import to_stream
from puna.data.text import rows, split_of
from puna.presets import preset
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.chat import ChatFormat


def test_page_and_picture_belong_together(data: Path) -> None:
    raw = {row["id"]: row for row in rows("storybooks")}
    for book in photos.books("train")[:10]:
        for page in book.pages:
            number = int(page.picture.split("/")[1].removesuffix(".jpg"))
            # Picture 01 is the cover, so the first page has picture 02.
            assert all(raw[book.id]["langs"][language]["pages"][number - 2].strip() == text for language, text in page.texts.items())
            assert all(len(text.encode()) <= photos.LONGEST_PAGE for text in page.texts.values())


def test_books_are_split_by_their_id(data: Path) -> None:
    train, held_out = ({book.id for book in photos.books(split)} for split in ("train", "held_out"))
    assert train and not train & held_out
    assert all(split_of("storybooks", book) == "held_out" for book in held_out)


def test_a_picture_keeps_its_proportions_and_is_black_beside_them(data: Path) -> None:
    page = photos.picture("storybooks_144", "0001/02.jpg")
    assert page.shape == (64, 64, 3) and page[:48].any(axis=-1).all() and not page[48:].any()
    garment = photos.picture("clothing_128", photos.clothes("train")[0][0], True)
    assert not garment[:, 43:].any() and garment[:, :42].any(axis=-1).all()


@pytest.mark.parametrize("kind", book_rows.KINDS)
def test_rows_are_functions_of_their_generator(data: Path, kind: str) -> None:
    for index in range(20):
        row, again = (book_rows.KINDS[kind](generator("train", 1, index)) for _ in range(2))
        assert row.kind == kind and bool(row.messages) != bool(row.document)
        assert row.document == again.document and all(np.array_equal(a, b) for a, b in zip(row.pictures, again.pictures, strict=True))


def test_pages_in_a_row_are_neighbours_told_line_by_line(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    picture = photos.picture
    monkeypatch.setattr(book_rows.photos, "picture", lambda source, name: shown.append(name) or picture(source, name))
    pages = {page.picture: page for book in photos.books("train") for page in book.pages}
    for index in range(40):
        shown.clear()
        row = book_rows.book_pages(generator("train", 2, index))
        assert 3 <= len(row.pictures) <= 6 and len(row.timestamps) in (0, len(row.pictures))
        numbers = [int(name.split("/")[1].removesuffix(".jpg")) for name in shown]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        told = (row.document or row.messages[-1].text).split("\n")
        assert all(line in pages[name].texts.values() for line, name in zip(told, shown, strict=True))


def test_pages_with_one_left_out_between_them_are_no_run() -> None:
    pages = [Page(place, f"1/{place}.jpg", {"en": "A page."}) for place in (0, 1, 2, 4, 5)]
    found = [run for seed in range(60) if (run := book_rows.page_run(pages, random.Random(seed)))]
    assert {tuple(page.place for page in run) for run, _ in found} == {(0, 1, 2)}


def test_clothes_have_the_name_of_their_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    picture = photos.picture
    monkeypatch.setattr(book_rows.photos, "picture", lambda source, name, mirrored: shown.append(name) or picture(source, name, mirrored))
    for index in range(40):
        answer = book_rows.clothing(generator("train", 3, index)).messages[-1].text
        split, folder, _ = shown[-1].split("/")
        place = photos.CLOTHES.index(folder)
        assert split == "train" and answer in {names[place] for names in CLOTHES_NAMES.values()}


def test_a_film_of_pages_as_a_document_is_one_video(data: Path) -> None:
    vision = preset("scout-nano").vision
    assert vision is not None
    chat_format = ChatFormat(byte_tokenizer(), vision)
    films = [row for index in range(60) if (row := book_rows.book_pages(generator("train", 4, index))).document and row.timestamps]
    stream = to_stream(films[0], chat_format)
    special = chat_format.tokenizer.special
    assert stream.num_tiles == (stream.token_ids == special.frame).sum() == len(films[0].pictures)
    assert stream.loss_mask is not None
    assert chat_format.tokenizer.decode(stream.token_ids[stream.loss_mask][:-1].tolist()) == films[0].document
