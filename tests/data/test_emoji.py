"""The inventory is complete, pictures are new each time, and one artist stays unseen."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from puna.data.emoji import SIZE, TRAIN_ARTISTS, UNSEEN_ARTIST, artists_of, codes, inventory, render_emoji, stamp
from puna.data.languages import LANGUAGES
from puna.data.sources import DataError


def test_every_emoji_has_a_name_in_all_twelve_languages() -> None:
    for emoji in inventory().values():
        assert tuple(emoji.names) == LANGUAGES
        assert all(name == name.strip() and name and "," not in name for name in emoji.names.values()), emoji


def test_names_tell_all_things_apart_in_each_language() -> None:
    for language in LANGUAGES:
        names = [emoji.names[language].casefold() for emoji in inventory().values()]
        # Some languages have one word for two things, as Spanish for a llama and a flame; English names must differ.
        assert len(names) - len(set(names)) <= (0 if language == "en" else 3), language


def test_the_inventory_has_320_emoji_and_80_flags() -> None:
    assert (len(codes("emoji")), len(codes("flag")), len(codes())) == (320, 80, 400)


def test_all_begins_with_the_chosen_and_has_more(data: Path) -> None:
    assert codes(which="all")[:400] == codes("emoji") + codes("flag")
    assert codes(which="all")[400:] == ("1f600",) and inventory("all")["1f600"].names["de"] == "grin in de"
    assert inventory("all")["1f431"] == inventory()["1f431"]


def test_only_two_inventories_are_known() -> None:
    with pytest.raises(ValueError, match="'most'.*chosen.*all"):
        inventory("most")  # pyright: ignore[reportArgumentType]


def test_the_unseen_artist_is_not_a_training_artist(data: Path) -> None:
    assert UNSEEN_ARTIST not in TRAIN_ARTISTS
    assert all(UNSEEN_ARTIST not in artists_of(code) for code in codes())


def test_a_picture_is_a_function_of_its_generator(data: Path) -> None:
    first, again, other = (render_emoji("1f431", random.Random(seed), "noto") for seed in (1, 1, 2))
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_an_emoji_that_the_artist_did_not_draw_is_refused(data: Path) -> None:
    with pytest.raises(DataError, match="blobmoji"):
        render_emoji(codes("flag")[0], random.Random(0), "blobmoji")


def test_a_stamp_lies_where_it_should_and_mixes_by_alpha() -> None:
    canvas = np.full((64, 64, 3), 200, np.uint8)
    half_black = Image.frombytes("RGBa", (16, 16), bytes([0, 0, 0, 128]) * 256)
    stamp(canvas, half_black, 16, 40.0, 20.0)
    changed = np.argwhere(canvas[..., 0] != 200)
    assert np.abs(changed.mean(axis=0) - (19.5, 39.5)).max() < 1
    assert abs(int(canvas[20, 40, 0]) - 100) <= 1


def test_a_stretched_stamp_is_wider_than_high() -> None:
    canvas = np.zeros((64, 64, 3), np.uint8)
    white = Image.frombytes("RGBa", (32, 32), bytes([255] * 4) * 1024)
    stamp(canvas, white, 32, 32.0, 32.0, stretch=1.44)
    rows, columns = np.argwhere(canvas[..., 0] > 128).max(axis=0) - np.argwhere(canvas[..., 0] > 128).min(axis=0) + 1
    assert abs(columns - 32 * 1.2) < 2 and abs(rows - 32 / 1.2) < 2
