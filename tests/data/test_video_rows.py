"""Rows about videos carry one video, and their answers are those of the clip that was filmed."""

import random
from pathlib import Path

import numpy as np
import pytest

from puna.data import phrases_seen, video_rows
from puna.data.chance import generator
from puna.data.clips import Clip
from puna.data.copying import joined
from puna.data.emoji import inventory
from puna.data.languages import LANGUAGES
from puna.data.row import Sample
from puna.data.samples import to_stream
from puna.presets import preset
from puna.stream import Video
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.chat import ChatFormat


@pytest.fixture
def filmed(monkeypatch: pytest.MonkeyPatch) -> list[Clip]:
    clips: list[Clip] = []
    film = video_rows.clips.film
    monkeypatch.setattr(video_rows.clips, "film", lambda clip, rng: clips.append(clip) or film(clip, rng))
    return clips


def _turns(row: Sample) -> list[tuple[str, str]]:
    return [(question.text, answer.text) for question, answer in zip(row.messages[::2], row.messages[1::2], strict=True)]


def _language_of(table: dict[str, tuple[str, ...]] | dict[str, str], question: str) -> str | None:
    return next((language for language in LANGUAGES if question == table[language] or question in table[language]), None)


@pytest.mark.parametrize("kind", video_rows.KINDS)
def test_a_row_is_one_question_about_one_video(data: Path, kind: str) -> None:
    for index in range(20):
        row = video_rows.KINDS[kind](generator("train", 1, index))
        videos = [part for message in row.messages for part in message.content if isinstance(part, Video)]
        assert row.kind == kind and len(videos) == 1 and videos[0].timestamps == row.timestamps
        assert len(row.pictures) == len(row.timestamps) in (4, 6, 8)
    again = video_rows.KINDS[kind](generator("train", 1, 19))
    assert _turns(again) == _turns(row) and all(np.array_equal(a, b) for a, b in zip(again.pictures, row.pictures, strict=True))


def test_ways_are_those_of_what_moved(data: Path, filmed: list[Clip]) -> None:
    checked = 0
    for index in range(150):
        for question, answer in _turns(video_rows.moving(generator("train", 2, index))):
            (mover,) = filmed[-1].movers()
            if (language := _language_of(phrases_seen.ASK_WAY, question)) is not None:
                way = mover.way()
                assert way is not None and answer == phrases_seen.WAYS[language][way]
                checked += 1
            elif (language := _language_of(phrases_seen.ASK_MOVED, question)) is not None:
                assert answer == inventory()[mover.code].names[language]
                checked += 1
    assert checked > 150


def test_order_is_that_of_the_frames(data: Path, filmed: list[Clip]) -> None:
    for index in range(150):
        for question, answer in _turns(video_rows.order(generator("train", 3, index))):
            codes = [actor.code for actor in filmed[-1].in_order()]
            for table, expected in (
                (phrases_seen.ASK_FIRST, codes[:1]),
                (phrases_seen.ASK_LAST, codes[-1:]),
                (phrases_seen.ASK_ORDER, codes),
            ):
                if (language := _language_of(table, question)) is not None:
                    assert answer == joined([inventory()[code].names[language] for code in expected], language)
            if question.startswith("What came after the "):
                names = [inventory()[code].names["en"] for code in codes]
                assert names.index(answer) == names.index(question.removeprefix("What came after the ")[:-1]) + 1


def test_comings_and_goings_and_changes(data: Path, filmed: list[Clip]) -> None:
    for index in range(150):
        question, answer = _turns(video_rows.appear(generator("train", 4, index)))[0]
        for table, changed in ((phrases_seen.ASK_APPEARED, filmed[-1].newcomers()), (phrases_seen.ASK_DISAPPEARED, filmed[-1].leavers())):
            if (language := _language_of(table, question)) is not None:
                assert [inventory()[actor.code].names[language] for actor in changed] == [answer]
        for question, answer in _turns(video_rows.change(generator("train", 5, index))):
            if (language := _language_of(phrases_seen.ASK_HAPPENS, question)) is not None:
                assert answer == phrases_seen.HAPPENINGS[language][filmed[-1].actors[0].happening()]


def test_tables_have_all_languages_and_distinct_answers() -> None:
    tables = [table for name, table in vars(phrases_seen).items() if name.isupper()]
    assert len(tables) == 15 and all(tuple(table) == LANGUAGES for table in tables)
    for answers in (phrases_seen.WAYS, phrases_seen.HAPPENINGS):
        assert all(len(set(row)) == 4 for row in answers.values())
    assert all(len(row) == 10 for row in phrases_seen.CLOTHES_NAMES.values())


def test_a_stream_holds_the_frames_and_trains_on_the_answers(data: Path) -> None:
    vision = preset("scout-nano").vision
    assert vision is not None
    chat_format = ChatFormat(byte_tokenizer(), vision)
    row = video_rows.moving(random.Random(1))
    stream = to_stream(row, chat_format)
    assert stream.num_tiles == len(row.timestamps) and stream.loss_mask is not None
    assert (stream.token_ids == chat_format.tokenizer.special.patch).sum() == stream.num_tiles * vision.tokens_per_tile
    trained = chat_format.tokenizer.decode(stream.token_ids[stream.loss_mask].tolist())
    assert trained == "".join(answer for _, answer in _turns(row))
