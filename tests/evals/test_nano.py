"""Scores count what a pipeline says, on questions that training cannot have drawn."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from puna.data import lexicon
from puna.data.arithmetic import is_held_out_pair
from puna.data.chance import generator
from puna.data.languages import LANGUAGES
from puna.data.numbers import is_held_out, number_word
from puna.evals.nano import bits, words
from puna.evals.nano.card import QUESTIONS, TASKS, run_task
from puna.evals.nano.replies import has_loop, is_well_formed, mixed_prompts, starters, stopping
from puna.evals.nano.tables import WHAT, markdown
from puna.evals.score import Question, exact, interval, normalised, part, question_rng
from puna.stream import Message


class Scripted:
    """Says what `answers` hold for a question, else `otherwise`."""

    def __init__(self, answers: dict[str, str], otherwise: str = "") -> None:
        self.answers, self.otherwise = answers, otherwise

    def chat(self, messages: Sequence[Message], *, max_tokens: int) -> Any:
        return SimpleNamespace(text=self.answers.get(messages[-1].text, self.otherwise), finish_reason="stop")


def test_answers_match_but_for_case_articles_spaces_and_a_full_stop() -> None:
    assert normalised(" A Cat. ") == normalised("cat") == normalised("the  cat")
    assert normalised("猫。") == normalised("猫")
    assert normalised("cat face") != normalised("cat")


def test_a_perfect_pipeline_scores_all_and_a_silent_one_none() -> None:
    questions = list(words.number_word_questions())
    right = exact("number-words", Scripted({question.text: question.expected for question in questions}), questions)
    wrong = exact("number-words", Scripted({}), questions)
    assert right.rate == 1.0 and right.correct == right.total == len(questions) and not right.misses
    assert wrong.rate == 0.0 and len(wrong.misses) == 40
    assert set(right.groups.values()) == {(30, 30)}


def test_groups_are_counted_apart() -> None:
    questions = [Question("one", (), "1", "a"), Question("two", (), "2", "b"), Question("three", (), "3", "b")]
    score = exact("x", Scripted({"one": "1", "two": "2"}), questions)
    assert score.groups == {"a": (1, 1), "b": (1, 2)} and score.misses == [("three", "3", "")]
    assert score.low < score.rate < score.high


def test_the_interval_is_wilsons() -> None:
    low, high = interval(8, 10)
    assert low == pytest.approx(0.490, abs=0.001) and high == pytest.approx(0.943, abs=0.001)
    assert interval(0, 0) == (0.0, 1.0)


def test_sums_asked_are_right_and_of_held_out_pairs() -> None:
    for question in (*words.sum_questions(100), *words.step_questions(50)):
        a, sign, b = re.search(r"(\d+) ([+-]) (\d+)", question.text).groups()  # pyright: ignore[reportOptionalMemberAccess]
        value = int(a) + int(b) if sign == "+" else int(a) - int(b)
        assert question.expected.split(" = ")[-1] == str(value) and question.group == sign
        assert is_held_out_pair(int(a), int(b))
    assert len({question.text for question in words.sum_questions(300)}) > 280


def test_large_numbers_asked_are_held_out() -> None:
    for question in words.number_word_questions():
        number = int(re.search(r"\d+", question.text)[0])  # pyright: ignore[reportOptionalSubscript]
        assert question.expected == number_word(number, question.group) and (number <= 100 or is_held_out(number))


def test_names_asked_across_languages_are_held_out_and_not_spelled_the_same() -> None:
    asked = list(words.translation_questions(120))
    assert {question.group for question in asked} == {"noun", "country"}
    names = {name for word in lexicon.words() for name in word.names.values()}
    assert all(question.expected in names for question in asked)
    for index in range(200):
        word, target = words._held_out_word(question_rng("a test", index), "country", "es")
        assert lexicon.is_held_out(word.names["es"], target) and word.names["es"].casefold() != word.names[target].casefold()


def test_needles_lie_in_held_out_prose_at_each_length(data: Path) -> None:
    asked = list(words.needle_questions(1))
    assert len(asked) == len(words.NEEDLE_TOKENS) * len(words.NEEDLE_DEPTHS)
    assert all(question.text.count(question.expected) == 1 for question in asked)
    sizes = {question.group: len(question.text) for question in asked}
    assert sizes["1800 tokens"] > 6 * sizes["128 tokens"]


def test_finite_sets_are_asked_in_all_their_languages(data: Path) -> None:
    for questions in (words.card_questions, words.geography_questions, words.copy_questions):
        asked = list(questions())
        assert {question.group for question in asked} == set(LANGUAGES) and all(question.expected for question in asked)
    assert {question.group for question in words.fact_questions()} == {"en", "ko"}


@pytest.mark.parametrize(
    ("text", "finish_reason", "is_right"),
    [
        ("A cat.", "stop", True),
        ("", "stop", False),
        ("A cat", "length", False),
        ("A cat <|eot|>", "stop", False),
        ("A \ufffd", "stop", False),
        ("the cat the cat the cat the cat", "stop", False),
        ("cat cat cat", "stop", True),
        ("哈哈哈哈哈哈哈哈", "stop", False),
        ("1000000000", "stop", True),
    ],
)
def test_well_formed_replies(text: str, finish_reason: str, is_right: bool) -> None:
    assert is_well_formed(text, finish_reason) == is_right


def test_a_loop_of_several_words_is_seen() -> None:
    assert has_loop("abcde" * 4) and has_loop("走到河边" * 4) and not has_loop("abcde" * 3) and not has_loop("hahahaha")
    assert has_loop("so he went home and " * 4) and not has_loop("He went home. She went home. They slept.")


def test_stopping_asks_two_hundred_prompts() -> None:
    assert len(mixed_prompts()) == 200
    assert stopping(Scripted({}, "Fine."), 40).rate == 1.0


def test_bits_per_byte_of_a_model_that_knows_nothing_is_the_uniform_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    from puna.data.text import Document
    from puna.testing.tokenizer import byte_tokenizer

    tokenizer = byte_tokenizer()
    monkeypatch.setattr(
        bits, "language_documents", lambda language, split: iter([Document(language, "s", "k", "A quiet day in May. " * 9, split)])
    )
    pipeline = SimpleNamespace(tokenizer=tokenizer, logits=lambda ids: np.zeros((len(ids), 256), np.float32))
    cost, num_bytes = bits.bits_per_byte(pipeline, "en")
    assert cost * num_bytes == pytest.approx(8 * len(tokenizer.encode("A quiet day in May. " * 9)))


def test_the_shipped_starters_are_asked_in_every_language() -> None:
    said: list[str] = []

    class Listener:
        def chat(self, messages: Sequence[Any], *, max_tokens: int) -> Any:
            said.append(messages[0]["content"][1]["text"])
            return SimpleNamespace(text="llama", finish_reason="stop")

    score = starters(Listener())
    assert len(said) == score.total and len(score.groups) == 12
    assert score.groups["en"][0] == 1


@pytest.mark.parametrize("scale", [0.1, 0.25, 0.5])
def test_a_part_of_the_questions_asks_about_all_answers(data: Path, scale: float) -> None:
    for task in ("video-way", "placing", "sums", "translation"):
        whole = list(QUESTIONS[task]())
        some = part(whole, scale)
        assert len(some) == int(len(whole) * scale) and {each.group for each in some} == {each.group for each in whole}
        assert some == part(whole, scale)


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'nameing'.*naming"):
        run_task("nameing", Scripted({}))


def test_a_card_has_a_row_for_every_task_and_a_column_for_every_language() -> None:
    assert set(TASKS) - set(WHAT) == {"sentences", "bits-per-byte"} and set(WHAT) < set(TASKS)
    counted = {"correct": 1, "total": 4, "rate": 0.25, "low": 0.05, "high": 0.7}
    tables = markdown(
        [
            {"task": "stopping", **counted, "groups": {"all": (1, 4)}},
            {"task": "where", **counted, "groups": {language: (1, 4) for language in LANGUAGES}},
            {"task": "sentences", "chrf": 12.34, "chrf_of_copying": 20.0, "total": 9, "by_direction": {}},
            {"task": "bits-per-byte", "bits_per_byte": {"simple": 1.987, "en": 2.0}, "bytes": {"simple": 9, "en": 9}},
        ]
    )
    scores, languages, bits_table = tables.split("\n\n")
    assert "| **25.0%** [5.0%, 70.0%] | 1 of 4 | `where` |" in scores and scores.index("`where`") < scores.index("`stopping`")
    assert "| chrF **12.3** | 20.0 by copying | `sentences` |" in scores
    assert languages.split("\n")[2] == "| `where` |" + " 25% |" * 12 and bits_table.endswith("| held-out prose | 1.99 | 2.00 |")
    assert markdown([]) == ""


def test_questions_come_from_generators_that_training_cannot_reach() -> None:
    assert question_rng("naming", 3).random() == question_rng("naming", 3).random()
    firsts = {question_rng(task, index).random() for task in TASKS for index in range(20)}
    trained = {generator("train", seed, index).random() for seed in range(20) for index in range(20)}
    assert len(firsts) == 20 * len(TASKS) and not firsts & trained
