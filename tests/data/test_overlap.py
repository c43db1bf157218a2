"""Evaluation text is found wherever 13 of its words stand in a row, and nothing else is."""

import json
import lzma
import random
from collections import Counter
from pathlib import Path

import pytest

from puna.data.overlap import EvalRuns, items
from puna.data.sources import DataError, Source
from puna.data.words import Runs, words_of
from puna.testing.mirror import prose


def found(evals: EvalRuns, text: str, language: str = "en") -> Counter[str]:
    return evals.found_in(Runs(words_of([text])), 1, language)[0]


@pytest.fixture
def question() -> str:
    return prose("en", random.Random(7), 2)


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not(question: str) -> None:
    evals = EvalRuns.of({"set": ("en", [question]), "other": ("en", [prose("en", random.Random(8), 3)])})
    words = question.split()
    around = prose("en", random.Random(9), 4)
    assert found(evals, f"{around} {' '.join(words[2:15]).upper()}, {around}") == {"set": 1}
    assert not found(evals, f"{around} {' '.join(words[2:14])} {around}")


def test_a_short_item_is_found_whole_and_a_very_short_one_is_only_counted() -> None:
    short = "the very old cat sat down near my door"
    evals = EvalRuns.of({"set": ("en", [short, "yes it is"])})
    assert evals.items == {"set": 2} and evals.too_short == {"set": 1} and evals.num_runs("set") == 1
    assert found(evals, f"Once {short}, and yes it is so") == {"set": 1}
    assert not found(evals, short.rpartition(" ")[0] + " window of mine")


def test_chinese_is_looked_for_by_characters() -> None:
    rng = random.Random(1)
    item = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(30))
    evals = EvalRuns.of({"set": ("zh", [item])})
    assert found(evals, f"在{item[3:23]}。", "zh") == {"set": 1}
    assert not found(evals, f"在{item[3:22]}。", "zh")


def test_the_report_names_the_set_it_was_found_in_even_if_two_hold_it(question: str) -> None:
    evals = EvalRuns.of({"one": ("en", [question]), "two": ("en", [question])})
    assert set(found(evals, question)) == {"one", "two"}


def test_labels_and_calculators_are_not_part_of_an_item(tmp_path: Path) -> None:
    rows = [{"query": "Question: Why?\nChoices:\nA. because", "idx": "x1", "answer": "6<<3+3=6>>", "choices": ["one", {"text": "two"}]}]
    path = tmp_path / "set.jsonl.xz"
    path.write_bytes(lzma.compress("\n".join(map(json.dumps, rows)).encode()))
    evaluation = Source("set", "questions", "set.jsonl.xz", "o", "l", ("en",), 1, "0" * 64)
    assert list(items(evaluation, path)) == ["Why?", "because", "6", "one", "two"]
    table = tmp_path / "set.tsv.xz"
    table.write_bytes(lzma.compress(b'He said "no\t3\n'))
    assert list(items(evaluation, table)) == ['He said "no', "3"]


def test_a_broken_set_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl.xz"
    path.write_bytes(b"not packed")
    with pytest.raises(DataError, match="evaluation set set:.*cannot be read"):
        list(items(Source("set", "questions", "set.jsonl.xz", "o", "l", ("en",), 1, "0" * 64), path))
