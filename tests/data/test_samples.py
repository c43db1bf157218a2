"""Rows are pure functions of (seed, index), true by construction, and streams carry what trains."""

import json
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from puna.config import VisionConfig
from puna.data import picture_rows, samples
from puna.data.chance import generator
from puna.data.emoji import inventory
from puna.data.languages import LANGUAGES
from puna.data.row import Sample, picture_part
from puna.data.samples import KINDS, NANO_WEIGHTS, Mixture, sample, to_stream
from puna.media.tiling import tile_image
from puna.presets import preset
from puna.stream import Text
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.chat import ChatFormat


@pytest.fixture(scope="module")
def vision() -> VisionConfig:
    vision = preset("scout-nano").vision
    assert vision is not None
    return vision


def _same(first: Sample, second: Sample) -> bool:
    return (
        first.kind == second.kind
        and first.document == second.document
        and [message.text for message in first.messages] == [message.text for message in second.messages]
        and len(first.pictures) == len(second.pictures)
        and all(np.array_equal(a, b) for a, b in zip(first.pictures, second.pictures, strict=True))
    )


def _without_text() -> dict[str, float]:
    return {kind: weight for kind, weight in NANO_WEIGHTS.items() if kind != samples.TEXT_KIND}


def test_a_row_depends_on_seed_and_index_alone(data: Path) -> None:
    mixture = Mixture(_without_text())
    rows = [mixture.sample(7, index) for index in range(40)]
    again = Mixture(_without_text())
    assert all(_same(again.sample(7, index), rows[index]) for index in reversed(range(40)))
    assert not all(_same(again.sample(8, index), rows[index]) for index in range(40))


def test_training_and_evaluation_never_share_a_generator() -> None:
    draws = {
        (purpose, seed, index): generator(purpose, seed, index).getstate()[1][:8]
        for purpose in ("train", "eval")
        for seed in range(4)
        for index in range(50)
    }
    assert len(set(draws.values())) == len(draws)
    with pytest.raises(ValueError, match="2\\*\\*48"):
        generator("train", 1 << 48, 0)


def test_every_kind_has_a_weight_and_makes_rows(data: Path) -> None:
    assert set(NANO_WEIGHTS) == {*KINDS, samples.TEXT_KIND}
    for kind in KINDS:
        for index in range(30):
            row = sample(kind, generator("train", 3, index))
            assert row.kind == kind
            assert bool(row.messages) != bool(row.document)
            assert all(message.text.strip() for message in row.messages)
            # A brace left in a text is a gap that was not filled, unless JSON was asked for.
            gaps = [message.text for message in row.messages if "{" in message.text]
            assert all(json.loads(text) for text in gaps)


def test_a_name_asked_for_is_a_name_of_the_thing_drawn(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(picture_rows, "render_emoji", lambda code, rng, artist: drawn.append(code) or np.zeros((64, 64, 3), np.uint8))
    for index in range(80):
        row = sample("naming", generator("train", 4, index))
        names = inventory()[drawn[-1]].names.values()
        assert all(message.text in names for message in row.messages if message.role == "assistant")


def test_counts_are_those_of_the_scene_drawn(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[picture_rows.scenes.Scene] = []
    draw = picture_rows.scenes.draw
    monkeypatch.setattr(picture_rows.scenes, "draw", lambda scene, rng: drawn.append(scene) or draw(scene, rng))
    for index in range(150):
        row = sample("counting", generator("train", 5, index))
        scene = drawn[-1]
        possible = {len(scene.items), *(scene.count(item.code) for item in scene.items)}
        for message in row.messages:
            if message.role == "assistant" and re.fullmatch(r"\d+", message.text):
                assert int(message.text) in possible


def test_placing_answers_agree_with_where_things_are(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[picture_rows.scenes.Scene] = []
    draw = picture_rows.scenes.draw
    monkeypatch.setattr(picture_rows.scenes, "draw", lambda scene, rng: drawn.append(scene) or draw(scene, rng))
    checked = 0
    for index in range(300):
        row = sample("placing", generator("train", 6, index))
        where = {inventory()[item.code].names["en"]: (item.x, item.y) for item in drawn[-1].items}
        for question, answer in zip(row.messages[::2], row.messages[1::2], strict=True):
            if match := re.fullmatch(r"Is the (.+) (to the left of|to the right of|above|below) the (.+)\?", question.text):
                (ax, ay), (bx, by) = where[match[1]], where[match[3]]
                truth = {"to the left of": ax < bx, "to the right of": ax > bx, "above": ay < by, "below": ay > by}[match[2]]
                assert answer.text == ("Yes" if truth else "No")
                checked += 1
            elif match := re.fullmatch(r"What is (to the left of|to the right of|above|below) the (.+)\?", question.text):
                axis = 1 if match[1] in ("above", "below") else 0
                sign = 1 if match[1] in ("to the left of", "above") else -1
                edge = sign * where[match[2]][axis]
                others = [name for name, at in where.items() if sign * at[axis] < edge]
                assert others == [answer.text]
                checked += 1
    assert checked > 60


def test_all_languages_are_asked_about_one_third_in_english(data: Path) -> None:
    from collections import Counter

    from puna.data.skills import pick_language

    counts = Counter(pick_language(random.Random(index)) for index in range(6000))
    assert set(counts) == set(LANGUAGES)
    assert 0.32 < counts["en"] / 6000 < 0.38


def test_a_picture_becomes_the_tile_that_media_would_cut(vision: VisionConfig) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = tile_image(Pillow.fromarray(picture), vision)
    part = picture_part(picture)
    assert part.grid == expected.grid and np.array_equal(part.tiles, expected.tiles)


def test_a_caption_trains_on_its_text_and_not_on_its_picture(data: Path, vision: VisionConfig) -> None:
    chat_format = ChatFormat(byte_tokenizer(), vision)
    row = sample("caption", generator("train", 1, 0))
    stream = to_stream(row, chat_format)
    special = chat_format.tokenizer.special
    assert stream.loss_mask is not None and stream.tiles is not None and stream.tiles.shape == (1, 3, 64, 64)
    assert chat_format.tokenizer.decode(stream.token_ids[stream.loss_mask][:-1].tolist()) == row.document
    assert stream.token_ids[0] == special.bos and stream.token_ids[-1] == special.end_of_text
    assert (stream.token_ids == special.patch).sum() == vision.tokens_per_tile


def test_lines_of_sums_train_on_the_answers(vision: VisionConfig) -> None:
    chat_format = ChatFormat(byte_tokenizer(), vision)
    row = sample("sums_text", generator("train", 1, 0))
    stream = to_stream(row, chat_format)
    assert stream.token_ids.tolist()[1:-1] == chat_format.tokenizer.encode(row.document) and stream.loss_mask is not None
    trained = chat_format.tokenizer.decode(stream.token_ids[stream.loss_mask].tolist())
    assert trained.splitlines() == [line.partition("=")[2] for line in row.document.splitlines()]
    assert stream.loss_mask[-1]  # the end of the text


def test_a_chat_trains_on_the_answers(data: Path, vision: VisionConfig) -> None:
    chat_format = ChatFormat(byte_tokenizer(), vision)
    row = sample("naming", generator("train", 1, 3))
    stream = to_stream(row, chat_format)
    answers = "".join(
        part.text for message in row.messages if message.role == "assistant" for part in message.content if isinstance(part, Text)
    )
    assert stream.loss_mask is not None
    assert chat_format.tokenizer.decode(stream.token_ids[stream.loss_mask].tolist()) == answers


def test_unknown_kinds_and_missing_shards_are_refused() -> None:
    with pytest.raises(ValueError, match="'nameing'.*naming"):
        Mixture({"nameing": 1})
    with pytest.raises(ValueError, match="TextShards"):
        Mixture({"text": 1})
    with pytest.raises(ValueError, match="'text'"):
        sample("text", random.Random(0))


def test_rows_come_fast_enough_for_two_cores(data: Path) -> None:
    mixture = Mixture(_without_text())
    for index in range(60):
        mixture.sample(1, index)
    started = time.process_time()
    for index in range(200):
        mixture.sample(2, index)
    # Some thousand rows a second on an idle core; the bound is loose, and counts this process alone, because tests share machines.
    assert time.process_time() - started < 2.0
