"""Scores count what a pipeline says, on questions that training cannot have drawn."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from puna.data.chance import generator
from puna.data.emoji import inventory
from puna.data.phrases import number_word
from puna.evals.nano import bits, words
from puna.evals.nano.card import TASKS, run_task
from puna.evals.nano.replies import has_loop, is_well_formed, mixed_prompts, starters, stopping
from puna.evals.score import Question, exact, interval, normalised, question_rng
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
    assert set(right.groups.values()) == {(29, 29)}


def test_groups_are_counted_apart() -> None:
    questions = [Question("one", (), "1", "a"), Question("two", (), "2", "b"), Question("three", (), "3", "b")]
    score = exact("x", Scripted({"one": "1", "two": "2"}), questions)
    assert score.groups == {"a": (1, 1), "b": (1, 2)} and score.misses == [("three", "3", "")]
    assert score.low < score.rate < score.high


def test_the_interval_is_wilsons() -> None:
    low, high = interval(8, 10)
    assert low == pytest.approx(0.490, abs=0.001) and high == pytest.approx(0.943, abs=0.001)
    assert interval(0, 0) == (0.0, 1.0)


def test_sums_asked_are_right() -> None:
    for question in words.sum_questions(100):
        expression = question.text.replace("×", "*").replace(" x ", " * ")
        a, sign, b = next(expression.split()[k : k + 3] for k in range(len(expression.split())) if expression.split()[k + 1] in "+-*")
        value = {"+": int(a) + int(b.rstrip("?.")), "-": int(a) - int(b.rstrip("?.")), "*": int(a) * int(b.rstrip("?."))}[sign]
        assert question.expected == str(value)


def test_number_words_and_translations_expect_the_drilled_words() -> None:
    assert {q.expected for q in words.number_word_questions() if q.group == "fr"} >= {number_word(17, "fr"), "cent"}
    names = {emoji.names["ja"] for emoji in inventory().values()}
    assert all(question.expected in names for question in words.translation_questions() if question.group == "ja")


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


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'nameing'.*naming"):
        run_task("nameing", Scripted({}))


def test_questions_come_from_generators_that_training_cannot_reach() -> None:
    assert question_rng("naming", 3).random() == question_rng("naming", 3).random()
    firsts = {question_rng(task, index).random() for task in TASKS for index in range(20)}
    trained = {generator("train", seed, index).random() for seed in range(20) for index in range(20)}
    assert len(firsts) == 20 * len(TASKS) and not firsts & trained
