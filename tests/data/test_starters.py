"""The starter pictures are drawn, small, and asked about in all languages."""

import json
from pathlib import Path

from PIL import Image

from puna.data.languages import LANGUAGES
from puna.data.starters import PIXELS, starters, write


def test_twenty_small_pictures_with_questions_and_answers_in_twelve_languages(data: Path, tmp_path: Path) -> None:
    written = write(tmp_path)
    assert len({path.name for path in written}) == 20
    assert sum(path.stat().st_size for path in written) < 200_000
    assert all(Image.open(path).size == (PIXELS, PIXELS) for path in written)
    listed = json.loads((tmp_path / "starters.json").read_text(encoding="utf-8"))["starters"]
    answers = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    for starter in listed:
        for language in LANGUAGES:
            assert len(starter["questions"][language]) == len(answers[starter["file"]]["answers"][language]) >= 1
            assert answers[starter["file"]]["alt"][language]


def test_things_to_count_are_as_many_as_the_answer_says() -> None:
    for starter in starters():
        if starter.kind == "counting":
            assert starter.answers["en"][0] == str(len(starter.scene.items))


def test_what_is_on_a_side_is_there() -> None:
    for starter in starters():
        if starter.kind == "placing":
            first, second = starter.scene.items
            assert (first.x < second.x) != (first.y < second.y - 5)
