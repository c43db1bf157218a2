"""Answers have the form that was asked for, and are true."""

import json
import random
import re
from pathlib import Path

from puna.data.formats import answer_in_turn, geography_turn, groups, json_turn, list_question, list_turn, spelling_turn
from puna.data.geography import with_capital
from puna.data.languages import LANGUAGES


def test_lists_hold_as_many_members_as_asked_for() -> None:
    for index in range(300):
        language = LANGUAGES[index % 12]
        question, answer = list_turn(random.Random(index), language)
        number = int(re.search(r"\d", question)[0])  # pyright: ignore[reportOptionalSubscript]
        members = {member for _, group in groups(language) for member in group}
        if "\n" in answer:
            parts = [re.sub(r"^\d\. ", "", line) for line in answer.split("\n")]
        else:
            parts = re.split(r"[,،、] ?", answer)
        assert len(parts) == len(set(parts)) == number and set(parts) <= members, answer


def test_every_group_can_be_listed_in_every_language() -> None:
    for language in LANGUAGES:
        assert [len(members) >= 5 for _, members in groups(language)] == [True] * 6
        assert list_question(random.Random(0), language, "x", 3, "lines") != list_question(random.Random(0), language, "x", 3, "line")


def test_json_answers_are_json() -> None:
    for index in range(60):
        question, answer = json_turn(random.Random(index))
        assert all(language in question for language in json.loads(answer))


def test_spelling_is_right() -> None:
    for index in range(200):
        question, answer = spelling_turn(random.Random(index))
        word = question.split('"')[1]
        if question.startswith("Spell"):
            assert answer.replace("-", "") == word.upper()
        elif question.startswith("Write"):
            assert answer == word.upper()
        elif "letters" in question:
            assert int(answer) == len(word)
        else:
            assert answer == word[0].upper()


def test_capitals_belong_to_their_countries() -> None:
    for index in range(300):
        language = LANGUAGES[index % 12]
        question, answer = geography_turn(random.Random(index), language)
        country = next((c for c in with_capital() if c.capital[language] == answer and c.of_country[language] in question), None)
        is_capital = any(answer == c.capital[language] for c in with_capital())
        assert not is_capital or country or any(answer == c.names[language] for c in with_capital()), question


def test_an_answer_in_another_language_is_in_that_language(data: Path) -> None:
    answers = [answer_in_turn(random.Random(index), "en") for index in range(100)]
    in_russian = [answer for question, answer in answers if question.endswith("in Russian.")]
    assert in_russian and all(re.fullmatch(r"[а-яё -]+", answer, re.IGNORECASE) for answer in in_russian)
