"""Copies are copies, and a hidden code stands where it was put."""

import random
from pathlib import Path

from puna.data.copying import code, copy_turn, hide, joined, needle_turns, sentence_turn
from puna.data.languages import LANGUAGES


def test_a_copy_is_made_of_what_was_said() -> None:
    for index in range(400):
        question, answer = copy_turn(random.Random(index), LANGUAGES[index % 12])
        for word in answer.replace("、", ",").replace("،", ",").split(","):
            assert word.strip() in question


def test_lists_are_joined_as_the_language_writes_them() -> None:
    assert joined(["a", "b"], "ja") == "a、b" and joined(["a", "b"], "ar") == "a، b" and joined(["a", "b"], "en") == "a, b"


def test_codes_are_four_signs_and_seldom_alike() -> None:
    codes = [code(random.Random(index)) for index in range(500)]
    assert all(len(secret) == 4 for secret in codes) and len(set(codes)) > 450


def test_hidden_codes_stand_in_the_text_once_each_at_the_depth_asked_for(data: Path) -> None:
    for index in range(40):
        language = LANGUAGES[index % 12]
        shallow = hide(random.Random(index), language, 200, 3, depth=0.0)
        deep = hide(random.Random(index), language, 200, 1, depth=1.0)
        assert all(shallow.text.count(secret) == 1 for secret in shallow.codes)
        assert len(set(shallow.names)) == 3
        assert shallow.text.index(shallow.codes[0]) < len(shallow.text) / 2
        assert deep.text.index(deep.codes[0]) > len(deep.text) * 0.7


def test_a_needle_row_asks_for_codes_of_its_own_text(data: Path) -> None:
    for index in range(60):
        turns = needle_turns(random.Random(index), LANGUAGES[index % 12])
        assert all(answer in turns[0][0] for _, answer in turns) and 1 <= len(turns) <= 2


def test_a_sentence_is_said_after(data: Path) -> None:
    for index in range(30):
        question, answer = sentence_turn(random.Random(index), LANGUAGES[index % 12])
        assert answer and answer in question


def test_training_hides_codes_in_training_prose_alone(data: Path) -> None:
    held_out = hide(random.Random(1), "en", 300, 1, "held_out").text.split(". ")
    train = " ".join(hide(random.Random(index), "en", 2000, 1).text for index in range(30))
    assert not [sentence for sentence in held_out if "secret code" not in sentence and len(sentence) > 40 and sentence in train]
