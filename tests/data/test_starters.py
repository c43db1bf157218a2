"""The starter pictures are drawn, small, and asked about in all languages."""

import json
from pathlib import Path

from PIL import Image

from puna.data.languages import LANGUAGES
from puna.data.phrases_seen import WAYS
from puna.data.starters import PIXELS, starters, write
from puna.messages import read_messages
from puna.presets import preset
from puna.stream import Video


def test_small_pictures_and_videos_with_questions_and_answers_in_twelve_languages(data: Path, tmp_path: Path) -> None:
    written = write(tmp_path)
    assert len({path.name for path in written}) == 26
    assert sum(path.stat().st_size for path in written) < 260_000
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
            assert starter.answers["en"][0] == str(len(starter.scenes[0].items))


def test_what_is_on_a_side_is_there() -> None:
    for starter in starters():
        if starter.kind == "placing":
            first, second = starter.scenes[0].items
            assert (first.x < second.x) != (first.y < second.y - 5)


def test_videos_are_read_as_videos_and_do_what_they_answer(data: Path, tmp_path: Path) -> None:
    vision = preset("scout-nano").vision
    assert vision is not None
    write(tmp_path)
    videos = [starter for starter in starters() if starter.kind == "video"]
    assert len(videos) == 4
    for starter in videos:
        (message,) = read_messages([{"role": "user", "content": [{"type": "image", "image": tmp_path / starter.file}]}], vision)
        (part,) = message.content
        assert isinstance(part, Video) and part.timestamps == (0.0, 0.5, 1.0, 1.5)
    turtle, rocket, _, flower = videos
    assert turtle.scenes[0].items[0].x < turtle.scenes[-1].items[0].x and turtle.answers["de"][0] == WAYS["de"][1]
    assert rocket.scenes[0].items[0].y > rocket.scenes[-1].items[0].y and rocket.answers["en"][0] == WAYS["en"][2]
    assert flower.scenes[-1].items[0].size > 2 * flower.scenes[0].items[0].size


def test_printed_numbers_are_asked_for_in_digits_and_in_words() -> None:
    (number,) = [starter for starter in starters() if starter.kind == "number"]
    assert number.answers["en"] == ["47", "forty-seven"] and number.answers["zh"] == ["47", "四十七"]
