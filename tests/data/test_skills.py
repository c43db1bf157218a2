"""Drills say what is so."""

import random
from pathlib import Path

from puna.data import ask_text, formats, phrases, skills
from puna.data.cards import CARDS
from puna.data.emoji import inventory
from puna.data.english import MASS_OR_PLURAL, plural, with_article
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.data.stories import HEROES, story


def test_every_table_speaks_all_twelve_languages() -> None:
    tables = {
        name: table
        for module in (phrases, ask_text, formats)
        for name, table in vars(module).items()
        if name[0].isalpha() and name.isupper() and isinstance(table, dict) and name != "ASK_WHAT_IS"
    }
    assert len(tables) > 45
    for name, table in tables.items():
        assert tuple(table) == LANGUAGES, name
    assert tuple(CARDS) == LANGUAGES and tuple(LANGUAGE_NAMES) == LANGUAGES
    assert all(
        len(table[language]) == len(table["en"])
        for table in (phrases.COLOURS, phrases.SHAPES, phrases.SIDES, phrases.NUMBER_WORDS, phrases.TENS_WORDS)
        for language in LANGUAGES
    )


def test_every_language_greets_says_who_it_is_and_admits_what_it_cannot_know() -> None:
    for language, cards in CARDS.items():
        topics = {"greeting", "identity", "abilities", "pictures", "video", "browse", "thanks", "goodbye", "unknown", "too_hard"}
        assert topics <= {card.topic for card in cards}, language
        assert all(card.answer and len(card.questions) >= 2 for card in cards)


def test_english_plurals_and_articles() -> None:
    assert [plural(name) for name in ("cat", "butterfly", "mouse", "maple leaf", "bus", "key", "tooth", "sheep")] == [
        "cats",
        "butterflies",
        "mice",
        "maple leaves",
        "buses",
        "keys",
        "teeth",
        "sheep",
    ]
    assert [with_article(name) for name in ("cat", "owl", "unicorn", "umbrella", "bread", "sun")] == [
        "a cat",
        "an owl",
        "a unicorn",
        "an umbrella",
        "bread",
        "the sun",
    ]
    assert MASS_OR_PLURAL <= {emoji.names["en"] for emoji in inventory().values()}


def test_a_fact_is_a_first_sentence_that_defines_its_title(data: Path) -> None:
    facts = dict(skills.facts())
    assert facts["What is an apple?"] == "An apple is a round fruit that grows on trees."
    assert facts["What is a boat?"] == "A boat is a thing that floats on the water."
    assert not any("Jane" in question for question in facts)
    assert skills.fact("Table salt", "Table salt, is a mineral that people eat.") == (
        "What is table salt?",
        "Table salt is a mineral that people eat.",
    )
    assert skills.fact("Kingdom", "A kingdom is the period in history between.") is None


def test_stories_are_about_their_hero_and_seldom_alike() -> None:
    stories = {story(random.Random(index), "fox") for index in range(300)}
    assert len(stories) == 300
    assert all("fox" in text and text.endswith((".", "!")) for text in stories)
    assert set(HEROES) <= {emoji.names["en"] for emoji in inventory().values()}


def test_the_table_of_names_has_the_right_names() -> None:
    names = dict(inventory()["1f431"].names)
    for index in range(20):
        for line in skills.name_lines(random.Random(index), names).split("\n"):
            language, _, name = line.partition(": ")
            assert names[language] == name
