"""Words mean the same in all languages, and a held-out direction of a word is never asked in training."""

import json
import random
import re
from pathlib import Path

from puna.data import geography
from puna.data.chance import generator
from puna.data.formats import json_turn
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.data.lexicon import is_held_out, means_turn, say_turns, third_turn, words, words_of
from puna.data.phrases import ASK_IN, ASK_SAY
from puna.data.picture_rows import naming
from puna.data.samples import sample


def test_every_word_has_a_name_in_every_language() -> None:
    assert {word.kind for word in words()} == {"noun", "country", "capital", "month", "day", "colour", "phrase"}
    for word in words():
        assert all(word.names[language].strip() == word.names[language] != "" for language in LANGUAGES)
    assert len(words_of("month")) == 12 and len(words_of("day")) == 7
    assert {word.names["en"]: word.names["ru"] for word in words_of("day")}["Wednesday"] == "среда"


def test_about_one_direction_in_twelve_is_held_out() -> None:
    directions = [
        is_held_out(word.names[source], target)
        for word in words_of("noun")
        for source in LANGUAGES
        for target in LANGUAGES
        if source != target
    ]
    assert 0.06 < sum(directions) / len(directions) < 0.11


def test_case_alone_gives_no_held_out_direction_away() -> None:
    assert is_held_out("panda", "ja", by_all=True) != is_held_out("panda", "ja")  # English and German write it differently
    names = {name for word in words() for name in word.names.values()}
    for name in names:
        for other in {name.lower(), name.capitalize()} & names:
            assert all(is_held_out(name, target) == is_held_out(other, target) for target in LANGUAGES), (name, other)


def test_no_held_out_direction_is_asked_in_training(data: Path) -> None:
    held_out = {
        (template.format(word=word.names[speaker], language=LANGUAGE_NAMES[speaker][target]), word.names[target])
        for word in words()
        for speaker in LANGUAGES
        for target in LANGUAGES
        if target != speaker and is_held_out(word.names[speaker], target)
        for template in ASK_SAY[speaker]
    }
    assert len(held_out) > 5000
    rows = [sample(kind, generator("train", 5, index)) for kind in ("translate", "into_english") for index in range(10_000)]
    asked = {(question.text, answer.text) for row in rows for question, answer in zip(row.messages[::2], row.messages[1::2], strict=True)}
    assert len(asked) > 15_000 and not asked & held_out


def test_no_held_out_direction_is_asked_for_as_json() -> None:
    english = {word.names["en"]: word for word in words()}
    languages = {name: language for language, name in LANGUAGE_NAMES["en"].items()}
    for index in range(3000):
        question, answer = json_turn(random.Random(index))
        word = english[question.split('"')[1]]
        assert not any(is_held_out(word.names["en"], languages[name]) for name in json.loads(answer))


def test_no_held_out_direction_is_asked_for_beside_a_picture(data: Path) -> None:
    targets = {
        text.format(language=LANGUAGE_NAMES[one][target]): target for one in LANGUAGES for target in LANGUAGES for text in ASK_IN[one]
    }
    followed = 0
    for index in range(3000):
        said = [message.text for message in naming(generator("train", 6, index)).messages]
        for question in filter(targets.__contains__, said[2::2]):
            assert not is_held_out(said[1], targets[question]), (said[1], question)
            followed += 1
    assert followed > 1000


def test_a_word_is_said_where_it_has_one_name(data: Path) -> None:
    told: dict[str, set[str]] = {}
    for index in range(20_000):
        question, answer = say_turns(generator("train", 7, index), LANGUAGES[index % 12])[0]  # the others say "and in Korean?"
        told.setdefault(question, set()).add(answer)
    assert not {question: answers for question, answers in told.items() if len(answers) > 1}


def test_what_a_foreign_word_means_has_one_answer() -> None:
    quoted = re.compile('[«“„「"] ?(.+?) ?[»”“」"]')
    asked = 0
    for index in range(600):
        speaker = LANGUAGES[index % 12]
        question, answer = means_turn(random.Random(index), speaker)
        if match := quoted.search(question):
            assert {word.names[speaker] for word in words() if match[1] in word.names.values()} == {answer}, question
            asked += 1
    assert asked > 200


def test_between_two_foreign_languages_the_answer_is_in_the_one_asked_for() -> None:
    for index in range(200):
        question, answer = third_turn(random.Random(index), "en")
        target = next(language for language in LANGUAGES if question.endswith(f"in {LANGUAGE_NAMES['en'][language]}?"))
        assert any(word.names[target] == answer for word in words())


def test_capitals_and_continents() -> None:
    by_letters = {country.letters: country for country in geography.countries()}
    assert by_letters["FR"].capital["ru"] == "Париж" and by_letters["FR"].of_country["fr"] == "de la France"
    assert by_letters["NL"].of_country["es"] == "de los Países Bajos" and by_letters["PE"].of_country["es"] == "de Perú"
    assert by_letters["BR"].capital["ja"] == "ブラジリア" and by_letters["PH"].of_country["en"] == "the Philippines"
    assert by_letters["IQ"].capital["zh"] == "巴格达" and by_letters["BD"].capital["ko"] == "다카"
    continent = by_letters["NG"].continent
    assert continent is not None and geography.CONTINENTS["de"][continent] == "Afrika"
    assert len(geography.with_capital()) == 48
    # Whole rows: a name too few would shift everything behind it.
    assert all(len(set(country.capital[language] for country in geography.with_capital())) == 48 for language in LANGUAGES)


def test_the_continent_of_every_country_is_said_once() -> None:
    listed = [letters for row in geography._ON for letters in row.split()]
    assert len(listed) == len(set(listed))
    assert {country.letters for country in geography.countries()} - set(listed) == {"EG", "GE", "KZ", "RU", "TR", "CY"}
