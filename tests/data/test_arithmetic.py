"""Arithmetic is right, and no row of training shows a sum or a difference of a held-out pair."""

import random
import re

from puna.data.arithmetic import (
    Problem,
    compare_turn,
    easy,
    is_held_out_pair,
    may_train,
    neighbour_turn,
    step,
    two_digits,
    word_problem,
    worked,
)
from puna.data.chance import generator
from puna.data.languages import LANGUAGES
from puna.data.samples import sample

_SUM = re.compile(r"(\d+) ?([-−+×x*÷/:]) ?(\d+)")
_SIGNS: dict[str, str] = {"−": "-", "x": "×", "*": "×", "/": "÷", ":": "÷"}


def _problems(text: str) -> list[Problem]:
    return [Problem(int(a), _SIGNS.get(sign) or sign, int(b)) for a, sign, b in _SUM.findall(text)]


def test_held_out_pairs_have_two_digits_in_any_order_and_are_one_in_sixteen() -> None:
    pairs = [(a, b) for a in range(100) for b in range(a, 100)]
    held_out = [pair for pair in pairs if is_held_out_pair(*pair)]
    assert all(min(pair) >= 10 and is_held_out_pair(*pair[::-1]) for pair in held_out)
    assert 0.05 < len(held_out) / (90 * 91 / 2) < 0.075


def test_no_training_row_shows_a_held_out_pair_in_either_order_or_its_inverse() -> None:
    seen = 0
    for index in range(20_000):
        row = sample("sums", generator("train", 9, index))
        for message in row.messages:
            for problem in _problems(message.text):
                if problem.sign in "+-" and max(problem.a, problem.b) <= 99:
                    assert may_train(problem), message.text
                    assert not is_held_out_pair(problem.a, problem.b), message.text
                    seen += 1
    assert seen > 20_000


def test_evaluation_asks_held_out_pairs_alone() -> None:
    problems = [two_digits(generator("eval", 1, index), held_out=True) for index in range(300)]
    assert all(is_held_out_pair(problem.a, problem.b) and not may_train(problem) for problem in problems)
    assert {problem.sign for problem in problems} == {"+", "-"}


def test_every_answer_is_right() -> None:
    for index in range(2000):
        row = sample("sums", generator("train", 8, index))
        for question, answer in zip(row.messages[::2], row.messages[1::2], strict=True):
            for problem in _problems(question.text):
                assert answer.text.split(" = ")[-1] == str(problem.value) and problem.value >= 0


def test_lines_of_sums_are_right_and_show_no_held_out_pair() -> None:
    two_digits_seen = 0
    for index in range(1000):
        lines = sample("sums_text", generator("train", 7, index)).document.split("\n")
        assert 5 <= len(lines) <= 12
        for line in lines:
            (problem,) = _problems(line)
            assert may_train(problem) and line.split("=")[1].strip() == str(problem.value)
            two_digits_seen += problem.sign in "+-" and min(problem.a, problem.b) >= 10
    assert two_digits_seen > 5000


def test_a_step_has_the_same_value_and_is_written_out() -> None:
    assert worked(Problem(27, "+", 58)) == "27 + 58 = 70 + 15 = 85"
    assert worked(Problem(82, "-", 27)) == "82 - 27 = 62 - 7 = 55"
    for index in range(500):
        problem = two_digits(random.Random(index))
        assert step(problem).value == problem.value


def test_easy_problems_stay_easy() -> None:
    problems = [easy(random.Random(index)) for index in range(1000)]
    assert {problem.sign for problem in problems} == {"+", "-", "×", "÷"}
    assert all(problem.b and problem.a % problem.b == 0 for problem in problems if problem.sign == "÷")
    assert all(problem.a <= 10 and problem.b <= 10 for problem in problems if problem.sign == "×")


def test_comparisons_and_neighbours_are_true() -> None:
    for index in range(600):
        rng, language = random.Random(index), LANGUAGES[index % 12]
        question, answer = compare_turn(rng, language)
        numbers = [int(number) for number in re.findall(r"\d+", question)]
        assert int(answer) in numbers and numbers[0] != numbers[1]
        question, answer = neighbour_turn(rng, language)
        number = int(re.findall(r"\d+", question)[0])
        assert (
            abs(int(answer) - number) == 1
            and not is_held_out_pair(min(number, int(answer)), 1)
            and not is_held_out_pair(number, int(answer))
        )
    question, answer = next(
        turn for index in range(200) if (turn := compare_turn(random.Random(index), "en"))[0].startswith("Which is smaller")
    )
    assert int(answer) == min(int(number) for number in re.findall(r"\d+", question))


def test_word_problems_count_right() -> None:
    for index in range(200):
        question, answer = word_problem(random.Random(index))
        a, b = (int(number) for number in re.findall(r"\d+", question))
        expected = a - b if "left" in question else a * b if "boxes" in question else a + b
        assert int(answer) == expected
