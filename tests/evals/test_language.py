"""Languages of answers, lists as asked for, and chrF."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from puna.data.cards import CARDS
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.evals.nano.language import OPEN_QUESTIONS, asked_language, is_listed, languages_of, lists, prompts
from puna.evals.nano.sentences import chrf, held_out_sentences, sentences
from puna.stream import Message


class Saying:
    """Says what a function of the question says, and stops."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply

    def chat(self, messages: Sequence[Message], *, max_tokens: int) -> Any:
        return SimpleNamespace(text=self.reply(messages[-1].text), finish_reason="stop")


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_of_each_language_are_told(language: str) -> None:
    card = next(card for card in CARDS[language] if card.topic == "abilities")
    assert languages_of(card.answer) == (language,)


def test_a_word_may_be_of_several_languages_and_a_number_of_all() -> None:
    assert languages_of("85") == LANGUAGES
    assert "es" in languages_of("Madrid") and "ru" not in languages_of("Madrid")
    assert languages_of("猫") == ("zh", "ja") and languages_of("ねこ") == languages_of("コーヒー") == ("ja",)
    assert languages_of("Ελλάδα") == ()


def test_an_answer_in_the_language_of_the_question_counts_and_another_does_not() -> None:
    language_of = {text: language for language, text in prompts()}
    unknown = {language: next(card.answer for card in CARDS[language] if card.topic == "too_hard") for language in LANGUAGES}
    right = asked_language(Saying(lambda text: unknown[language_of[text]]))
    assert right.rate == 1.0 and set(right.groups) == set(LANGUAGES) and right.total == 168
    english = asked_language(Saying(lambda text: unknown["en"]))
    assert english.groups["en"] == (14, 14) and english.correct == 14 and english.misses
    assert asked_language(Saying(lambda text: "da " * 40)).correct == 0


def test_open_questions_are_as_many_in_each_language() -> None:
    assert tuple(OPEN_QUESTIONS) == LANGUAGES and {len(questions) for questions in OPEN_QUESTIONS.values()} == {12}


@pytest.mark.parametrize(
    ("said", "form", "is_right"),
    [
        ("cat, dog, cow", "line", True),
        ("cat, dog", "line", False),
        ("cat, cat, dog", "line", False),
        ("cat, dog, stone", "line", False),
        ("cat\ndog\ncow", "lines", True),
        ("cat, dog, cow", "lines", False),
        ("1. cat\n2. dog\n3. cow", "numbered", True),
        ("1. cat\n3. dog\n2. cow", "numbered", False),
        ("cat、dog、cow", "line", True),
        ("Cat, dog, cow.", "line", True),
        ("Cat, cat, cow", "line", False),
    ],
)
def test_a_list_is_as_long_and_of_the_kind_asked_for(said: str, form: str, is_right: bool) -> None:
    assert is_listed(said, ("cat", "dog", "cow", "owl"), 3, form) == is_right


def test_silence_lists_nothing() -> None:
    score = lists(Saying(lambda text: ""), 36)
    assert score.correct == 0 and score.total == 36 and set(score.groups) == {"line", "lines", "numbered"}


def test_chrf_is_of_characters() -> None:
    assert chrf(["The cat sleeps."], ["The cat sleeps."]) == pytest.approx(100)
    assert 20 < chrf(["The cat sleeps."], ["The cats slept."]) < 90
    assert chrf(["猫"], ["The cat sleeps."]) == 0


def test_sentences_are_scored_by_direction_beside_a_mere_copy(data: Path) -> None:
    asked = held_out_sentences(2)
    answers = {f"{LANGUAGE_NAMES[source][target]} {text}": expected for source, target, text, expected in asked}

    def translated(question: str) -> str:
        return next(expected for key, expected in answers.items() if all(part in question for part in key.split(" ", 1)))

    result = sentences(Saying(translated), 0.2)
    assert result["chrf"] > 99 and result["chrf_of_copying"] < 60 and result["total"] == len(asked)
    assert all("en" in direction for direction in result["by_direction"])
