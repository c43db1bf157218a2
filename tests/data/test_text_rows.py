"""Rows in words alone keep training and evaluation apart."""

import re
from pathlib import Path

from puna.data.chance import generator
from puna.data.numbers import is_held_out
from puna.data.stories import short_story
from puna.data.text_rows import KINDS


def test_no_held_out_number_is_written_out_in_training(data: Path) -> None:
    numbers = [
        int(digits)
        for index in range(20_000)
        for message in KINDS["number_words"](generator("train", 4, index)).messages
        for digits in re.findall(r"\d+", message.text)
    ]
    assert len(numbers) > 20_000 and max(numbers) > 9000 and not any(map(is_held_out, numbers))


def test_a_row_depends_on_its_generator_alone(data: Path) -> None:
    for kind, row in KINDS.items():
        first, again = (row(generator("train", 6, 3)) for _ in range(2))
        assert [message.text for message in first.messages] == [
            message.text for message in again.messages
        ] and first.document == again.document
        assert first.kind == kind


def test_stories_without_grammar_to_bend_have_four_sentences() -> None:
    for language, stop in (("id", "."), ("ko", "."), ("ja", "。"), ("zh", "。")):
        stories = {short_story(generator("train", 1, index), language) for index in range(60)}
        assert len(stories) > 50 and all(story.count(stop) == 4 and "{" not in story for story in stories)
