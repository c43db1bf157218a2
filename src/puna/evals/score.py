"""Questions with one right answer, how a reply is compared with it, and shares of right replies with 95 % intervals.

Knows no tasks. Replies are greedy and must match the whole expected text but for case, spaces, a leading English article and closing full
stops or exclamation marks.
"""

import hashlib
import math
import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from puna.data.chance import generator
from puna.data.row import visual_parts
from puna.evals.ask import Answerer, replies
from puna.stream import Message, Text

Item = TypeVar("Item")
MAX_ANSWER_TOKENS = 64  # Korean definitions take up to 50
MAX_MISSES = 40  # wrong replies that a score keeps for reading


def question_rng(task: str, index: int) -> random.Random:
    """The generator of question `index` of `task`: of the "eval" family, which training cannot reach, and apart for each task."""
    return generator("eval", int.from_bytes(hashlib.sha256(task.encode()).digest()[:5]), index)


def part(items: Sequence[Item], scale: float) -> Sequence[Item]:
    """A share of the questions, the same ones each time; all from 1 on. By chance, since questions come in turns (left, right, up, down):
    every second one would leave half of the answers unasked.
    """
    if scale >= 1:
        return items
    return [items[k] for k in sorted(random.Random(0).sample(range(len(items)), max(1, int(len(items) * scale))))]


class Question(NamedTuple):
    """One question, its pictures, what counts as right, and the group that its result is counted under.

    With `timestamps` (seconds, one a picture) the pictures are the frames of one video.
    """

    text: str
    pictures: tuple[np.ndarray, ...]
    expected: str
    group: str
    timestamps: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """`correct` of `total`, with a 95 % Wilson interval, and the same by group. `misses` are a few (question, expected, said)."""

    task: str
    correct: int
    total: int
    rate: float
    low: float
    high: float
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)
    misses: list[tuple[str, str, str]] = field(default_factory=list)


def interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if total == 0:
        return 0.0, 1.0
    z, share = 1.96, correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def score_of(task: str, results: Iterable[tuple[str, bool]], misses: Sequence[tuple[str, str, str]] = ()) -> Score:
    """A score from (group, right or wrong) pairs."""
    groups: dict[str, tuple[int, int]] = {}
    for group, is_right in results:
        right, seen = groups.get(group, (0, 0))
        groups[group] = (right + is_right, seen + 1)
    correct, total = sum(right for right, _ in groups.values()), sum(seen for _, seen in groups.values())
    return Score(task, correct, total, correct / total if total else 0.0, *interval(correct, total), groups, list(misses))


def normalised(text: str) -> str:
    """For comparing: one case, single spaces, no leading English article, no closing full stops or exclamation marks."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return re.sub(r"^(?:an?|the) ", "", folded.rstrip(" .。।!"))


def conversation(question: Question) -> list[Message]:
    """The question as a user's message: its pictures or its video, then its text."""
    return [Message("user", (*visual_parts(question.pictures, question.timestamps), Text(question.text)))]


def exact(task: str, answerer: Answerer, questions: Sequence[Question]) -> Score:
    """Ask all; right means equal after `normalised`."""
    results: list[tuple[str, bool]] = []
    misses: list[tuple[str, str, str]] = []
    said = replies(answerer, [conversation(question) for question in questions], MAX_ANSWER_TOKENS, task)
    for question, reply in zip(questions, said, strict=True):
        is_right = normalised(reply.text) == normalised(question.expected)
        results.append((question.group, is_right))
        if not is_right:
            misses.append((question.text, question.expected, reply.text))
    return score_of(task, results, misses[:MAX_MISSES])
