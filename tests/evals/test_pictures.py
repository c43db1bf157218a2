"""Questions about pictures and videos expect what their scenes say, and are the same each time."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from puna.data import emoji, sources
from puna.evals.nano import naming, reading, scenes, video
from puna.evals.score import Question, conversation, question_rng
from puna.stream import Image, Video
from puna.testing.mirror import write_mirror

SMALL = {
    **{"counting": lambda: scenes.counting_questions(2), "placing": lambda: scenes.placing_questions(8)},
    **{"where": lambda: scenes.where_questions(12), "shapes": lambda: scenes.shape_questions(8)},
    **{"comparing": lambda: scenes.comparing_questions(9), "printed-numbers": lambda: reading.number_questions(8)},
    **{"printed-words": lambda: reading.word_questions(12), "video-way": lambda: video.way_questions(8)},
    **{"video-first": lambda: video.first_questions(6), "video-appeared": lambda: video.appeared_questions(6)},
    **{"video-change": lambda: video.change_questions(8), "video-moved": lambda: video.moved_questions(8)},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    root = tmp_path_factory.mktemp("mirror")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(sources.MANIFEST_VARIABLE, str(write_mirror(root / "files")))
        patch.setenv(sources.MIRROR_VARIABLE, str(root / "files"))
        for function in (sources._listed, emoji.album):
            function.cache_clear()
        yield root
    for function in (sources._listed, emoji.album):
        function.cache_clear()


@pytest.mark.parametrize("task", SMALL)
def test_questions_are_the_same_each_time(data: Path, task: str) -> None:
    first, again = list(SMALL[task]()), list(SMALL[task]())
    assert [question[0::2] for question in first] == [question[0::2] for question in again]
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.pictures, other.pictures, strict=True))
    assert len({question.pictures[0].tobytes() for question in first}) == len(first)


def test_groups_are_of_one_size(data: Path) -> None:
    for task, groups in (("counting", 9), ("placing", 4), ("printed-numbers", 4), ("video-way", 4), ("comparing", 3), ("video-change", 4)):
        counted = Counter(question.group for question in SMALL[task]())
        assert len(counted) == groups and len(set(counted.values())) == 1


def test_printed_numbers_have_their_digits(data: Path) -> None:
    assert all(question.group == f"{len(question.expected)} digits" for question in SMALL["printed-numbers"]())


def test_a_video_is_asked_about_as_one(data: Path) -> None:
    for question in SMALL["video-way"]():
        (message,) = conversation(question)
        assert isinstance(message.content[0], Video) and message.content[0].timestamps == question.timestamps
    picture = Question("What?", (np.zeros((64, 64, 3), np.uint8),), "x", "g")
    assert isinstance(conversation(picture)[0].content[0], Image)


def test_names_are_asked_of_the_art_as_it_was_drawn(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, str, float]] = []

    def render(code: str, rng: object, artist: str, restyled: float) -> np.ndarray:
        drawn.append((code, artist, restyled))
        return np.zeros((64, 64, 3), np.uint8)

    monkeypatch.setattr(naming, "render_emoji", render)
    seen = list(naming.naming_questions("en", views=2))
    assert len(seen) == 800 and Counter(question.group for question in seen) == {"emoji": 640, "flag": 160}
    assert {artist for _, artist, _ in drawn} == set(emoji.TRAIN_ARTISTS) and {share for _, _, share in drawn} == {0.0}
    drawn.clear()
    unseen = list(naming.naming_questions("en", artist=emoji.UNSEEN_ARTIST))
    assert {artist for _, artist, _ in drawn} == {emoji.UNSEEN_ARTIST}
    assert [question.expected for question in unseen] == [emoji.inventory()[code].names["en"] for code, _, _ in drawn]


def test_no_task_shares_its_chance_with_another() -> None:
    tasks = ("naming", "counting", "placing", "where", "shapes", "digits", "words", "video-way", "video-first")
    assert len({question_rng(task, 0).random() for task in tasks}) == len(tasks)
