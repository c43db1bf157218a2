"""Prose is cleaned, and a held-out page is held out in every language."""

from pathlib import Path

from puna.data.text import clean, language_documents, split_of


def test_licence_paragraphs_go_in_any_script() -> None:
    story = "The rabbit ran down the hole. " * 5
    text = f"{story}\nThe Project Gutenberg eBook is free.\n電子書はグーテンベルクの利用許諾\n{story}"
    assert clean(text, "books_parallel_12") == f"{story}\n{story}".strip()


def test_a_chapter_that_is_all_licence_is_dropped() -> None:
    assert clean("\n".join(["You may copy Project Gutenberg works."] * 20), "books_parallel_12") == ""


def test_markup_goes_and_prose_stays() -> None:
    head = "# Title\n\nSee [the guide](https://example.org/a) for **more** of this.\n\n```python\nsecret = 1\n```\n\n"
    page = (head + "Plain words stay as they were. ") * 2
    cleaned = clean(page, "docs_fastapi")
    assert "secret" not in cleaned and "https" not in cleaned and "**" not in cleaned
    assert "See the guide for more of this." in cleaned and "Plain words stay as they were." in cleaned


def test_very_short_texts_are_left_out_by_script() -> None:
    assert clean("Too short.", "tldr_12") == ""
    assert clean("これは短いけれど、十分に長い文章です。猫が庭で寝ています。", "tldr_12")


def test_the_split_does_not_depend_on_the_language_and_keeps_about_two_percent() -> None:
    held_out = [key for key in range(5000) if split_of("books", str(key)) == "held_out"]
    assert 60 < len(held_out) < 140


def test_no_document_is_on_both_sides(data: Path) -> None:
    train = {(document.source, document.key) for document in language_documents("en", "train")}
    held_out = {(document.source, document.key) for document in language_documents("en", "held_out")}
    assert train and held_out and not train & held_out
    in_spanish = {(document.source, document.key) for document in language_documents("es", "held_out")}
    assert in_spanish <= held_out
