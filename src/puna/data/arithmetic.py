"""Sums, differences, small products and exact quotients, comparisons; and which pairs of two-digit numbers are never trained on.

[ours] Whoever has seen 27 + 58 = 85 has also seen 85 - 58 = 27. So a problem is taken as its triple (27, 58, 85), and it trains only if no
two of the three are an evaluated pair, in either order. Answers come short ("85"), or with one step between when "step by step" is
asked for: both forms are learned alike (`docs/log.md`), so the short one stays the default. Knows no tokens.
"""

import random
from hashlib import sha256
from typing import NamedTuple

from puna.data import ask_text, phrases

_HELD_OUT_ONE_IN = 16
# Signs that people type, commonest first.
_MINUS = ("-", "-", "-", "−")
_TIMES = ("×", "x", "*")
_DIVIDED = ("÷", "/", ":")


class Problem(NamedTuple):
    """`a sign b` for two whole numbers; sign is one of "+", "-", "×", "÷"."""

    a: int
    sign: str
    b: int

    @property
    def value(self) -> int:
        """The right answer, never negative, always whole."""
        if self.sign == "+":
            return self.a + self.b
        if self.sign == "-":
            return self.a - self.b
        return self.a * self.b if self.sign == "×" else self.a // self.b

    @property
    def triple(self) -> tuple[int, int, int]:
        """The numbers of the fact: (smaller, larger, whole) of a sum or a product."""
        small, large, whole = (self.a, self.b, self.value) if self.sign in "+×" else (self.b, self.value, self.a)
        return min(small, large), max(small, large), whole


def is_held_out_pair(a: int, b: int) -> bool:
    """Whether sums and differences of these two (in either order) belong to the evaluation; always two numbers of two digits."""
    small, large = min(a, b), max(a, b)
    return small >= 10 and large <= 99 and sha256(f"pair {small} {large}".encode()).digest()[0] % _HELD_OUT_ONE_IN == 0


def may_train(problem: Problem) -> bool:
    """Whether no two numbers of a sum's or difference's triple are a held-out pair."""
    if problem.sign not in "+-":
        return True
    small, large, whole = problem.triple
    return not (is_held_out_pair(small, large) or is_held_out_pair(small, whole) or is_held_out_pair(large, whole))


def two_digits(rng: random.Random, held_out: bool = False) -> Problem:
    """A sum or a difference of two two-digit numbers, on one side of the split."""
    while True:
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        problem = Problem(a, "+", b) if rng.random() < 0.5 else Problem(max(a, b), "-", min(a, b))
        if is_held_out_pair(a, b) if held_out else may_train(problem):
            return problem


def easy(rng: random.Random) -> Problem:
    """What is known by heart: sums and differences to 20, tens, products and quotients to 10 times 10, two digits and one."""
    while True:
        problem = _easy(rng)
        if may_train(problem):
            return problem


def _easy(rng: random.Random) -> Problem:
    draw = rng.random()
    if draw < 0.3:
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        return Problem(a, "+", b) if rng.random() < 0.5 else Problem(a + b, "-", b)
    if draw < 0.65:
        a, b = rng.randint(10, 99), rng.randint(0, 9)
        if rng.random() < 0.5:
            return Problem(a, "+", b) if rng.random() < 0.5 else Problem(b, "+", a)
        return Problem(a, "-", b)
    if draw < 0.72:
        a, b = 10 * rng.randint(1, 9), 10 * rng.randint(1, 9)
        return Problem(a, "+", b) if rng.random() < 0.5 else Problem(a + b, "-", b)
    a, b = rng.randint(0, 10), rng.randint(0, 10)
    return Problem(a, "×", b) if draw < 0.92 or not b else Problem(a * b, "÷", b)


def written(problem: Problem, rng: random.Random) -> str:
    """The problem as people type it."""
    sign = {"+": "+", "-": rng.choice(_MINUS), "×": rng.choice(_TIMES), "÷": rng.choice(_DIVIDED)}[problem.sign]
    space = "" if rng.random() < 0.2 else " "
    return f"{problem.a}{space}{sign}{space}{problem.b}"


def worked(problem: Problem) -> str:
    """A two-digit sum or difference with one step between: "27 + 58 = 70 + 15 = 85", "82 - 27 = 62 - 7 = 55"."""
    between = step(problem)
    return f"{problem.a} {problem.sign} {problem.b} = {between.a} {between.sign} {between.b} = {problem.value}"


def step(problem: Problem) -> Problem:
    """The easier problem with the same value: tens and ones apart for a sum, the tens taken away first for a difference."""
    a, sign, b = problem
    ones = b % 10
    return Problem(a - a % 10 + b - ones, "+", a % 10 + ones) if sign == "+" else Problem(a - b + ones, "-", ones)


def sum_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """A question and its answer: half of them two-digit sums, one in eight of those step by step."""
    if rng.random() < 0.5:
        return easy_turn(rng, language)
    problem = two_digits(rng)
    # The step between is itself a sum: "70 + 15" must not show a held-out pair.
    if rng.random() < 0.125 and may_train(step(problem)):
        return ask_text.ASK_STEPS[language].format(sum=written(problem, rng)), worked(problem)
    return _asked(problem, rng, language), str(problem.value)


def sum_lines(rng: random.Random, count: int) -> str:
    """Problems with their values, one a line, three of four with two-digit numbers: under half of a conversation's tokens for each."""
    equals = rng.choice((" = ", "="))
    problems = (two_digits(rng) if rng.random() < 0.75 else easy(rng) for _ in range(count))
    return "\n".join(f"{written(problem, rng)}{equals}{problem.value}" for problem in problems)


def easy_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """A problem known by heart."""
    problem = easy(rng)
    return _asked(problem, rng, language), str(problem.value)


def _asked(problem: Problem, rng: random.Random, language: str) -> str:
    asks = (*phrases.ASK_SUM[language], *ask_text.ASK_SUM_BARE)
    return rng.choice(asks).format(sum=written(problem, rng))


def compare_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """Which of two numbers is larger, or smaller. Near and far, one to four digits."""
    size = rng.choice((10, 100, 100, 1000, 10_000))
    first = rng.randrange(size)
    second = rng.randrange(size) if rng.random() < 0.5 else max(0, first + rng.choice((-11, -10, -2, -1, 1, 2, 10, 11)))
    if first == second:
        second += 1
    asks_larger = rng.random() < 0.5
    table = ask_text.ASK_LARGER if asks_larger else ask_text.ASK_SMALLER
    return table[language].format(a=first, b=second), str(max(first, second) if asks_larger else min(first, second))


def neighbour_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """The number after, or the number before: a sum with one, which keeps to the split of sums."""
    while True:
        number = rng.randint(1, 20) if rng.random() < 0.4 else rng.randint(1, 999)
        after = rng.random() < 0.6
        if may_train(Problem(number, "+" if after else "-", 1)):
            break
    return ask_text.ASK_NEIGHBOUR[language][0 if after else 1].format(number=number), str(number + 1 if after else number - 1)


_THINGS = ("apples", "balls", "books", "cookies", "eggs", "flowers", "keys", "stars", "pencils", "coins")
_PEOPLE = "Tom Lily Max Anna Ben Mia Sam Nina Leo Zoe".split()


def word_problem(rng: random.Random) -> tuple[str, str]:
    """A one-step problem in English, numbers to 20."""
    who, other = rng.sample(_PEOPLE, 2)
    things = rng.choice(_THINGS)
    a, b = rng.randint(2, 10), rng.randint(2, 9)
    draw = rng.randrange(4)
    if draw == 0:
        return f"{who} has {a} {things} and gets {b} more. How many {things} does {who} have now?", str(a + b)
    if draw == 1:
        return f"{who} has {a + b} {things} and gives {b} to {other}. How many {things} does {who} have left?", str(a)
    if draw == 2:
        return f"{who} has {a} {things} and {other} has {b} {things}. How many {things} do they have together?", str(a + b)
    return f"There are {a} boxes with {b} {things} in each box. How many {things} are there?", str(a * b)
