"""The labels of the warm-up are those of the scenes and letters that were drawn."""

import random
from pathlib import Path

import numpy as np
import pytest

from puna.data import labels, scenes
from puna.data.labels import CELLS_PER_SIDE, IGNORED, LETTERS, NOTHING, NUM_COUNTS, cell_labels, classes, labelled_pictures, letter_labels
from puna.data.lettering import Lettered
from puna.data.scenes import Item, Scene


def test_a_batch_is_a_function_of_seed_and_index(data: Path) -> None:
    first, again, other = labelled_pictures(1, 2, 24), labelled_pictures(1, 2, 24), labelled_pictures(1, 3, 24)
    for name in ("pictures", "whole", "counts", "cells", "colours", "letters"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.pictures, other.pictures)


def test_counts_are_the_scenes_and_the_shares_are_as_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Scene] = []
    draw = scenes.draw
    monkeypatch.setattr(labels.scenes, "draw", lambda scene, rng: drawn.append(scene) or draw(scene, rng))
    batch = labelled_pictures(5, 0, 400)
    composed = [place for place in range(400) if place % 2 and place % 8 != 7]
    assert [len(scene.items) for scene in drawn] == batch.counts[composed].tolist()
    assert set(batch.counts[composed].tolist()) == set(range(1, NUM_COUNTS))
    # Of small words every cell may hold two letters.
    assert (batch.letters[7::8] != IGNORED).any(axis=1).mean() > 0.8 and (batch.cells[7::8] == IGNORED).all()
    alone = batch.whole[::2]
    empty = alone == IGNORED
    assert 0 < empty.sum() < 20 and (batch.counts[::2][empty] == 0).all() and (batch.counts[::2][~empty] == 1).all()


def test_cells_tell_what_stands_where() -> None:
    scene = Scene((Item(8, 8, 14, shape=2, colour=5), Item(40, 60, 14, code="1f431")))
    cells, colours = cell_labels(scene)
    assert cells[0] == classes()["shape 2"] and colours[0] == 5
    assert cells[3 * CELLS_PER_SIDE + 2] == classes()["1f431"] and colours[3 * CELLS_PER_SIDE + 2] == IGNORED
    assert (cells == NOTHING).sum() == 14


def test_a_cell_with_two_different_things_is_not_asked() -> None:
    two = Scene((Item(3, 3, 12, shape=2, colour=5), Item(13, 13, 12, shape=1, colour=4)))
    alike = Scene((Item(3, 3, 12, shape=2, colour=5), Item(13, 13, 12, shape=2, colour=5)))
    assert cell_labels(two)[0][0] == IGNORED == cell_labels(two)[1][0]
    assert cell_labels(alike)[0][0] == classes()["shape 2"]


def test_letters_count_without_case_and_accents() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    found = letter_labels(Lettered(picture, (("É", 5.0, 5.0), ("7", 30.0, 5.0), ("a", 50.0, 20.0), ("b", 60.0, 20.0))))
    assert LETTERS[found[0]] == "e" and LETTERS[found[1]] == "7" and found[7] == IGNORED
    assert (found != IGNORED).sum() == 2


def test_scenes_for_labels_hold_no_more_than_nine(data: Path) -> None:
    assert all(1 <= len(labels._any_scene(random.Random(seed)).items) <= scenes.MAX_COUNT == 9 for seed in range(200))
