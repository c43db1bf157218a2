"""Scenes hold what they say, and nothing overlaps."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from puna.data import scenes
from puna.data.emoji import SIZE
from puna.data.scenes import COLOUR_VALUES, Scene, draw


def _overlap(scene: Scene) -> bool:
    return any(
        abs(a.x - b.x) < (a.size + b.size) / 2 - 1 and abs(a.y - b.y) < (a.size + b.size) / 2 - 1
        for a, b in itertools.combinations(scene.items, 2)
    )


@pytest.mark.parametrize("number", range(1, 10))
def test_a_counting_scene_has_that_many_equal_things_apart_and_inside(data: Path, number: int) -> None:
    for seed in range(40):
        scene = scenes.counting_scene(random.Random(seed), number)
        assert scene.count(scene.items[0].code) == len(scene.items) == number
        assert not _overlap(scene)
        assert all(item.size / 2 - 1 <= min(item.x, item.y) and max(item.x, item.y) <= SIZE - item.size / 2 + 1 for item in scene.items)


def test_a_mixed_scene_counts_both_kinds(data: Path) -> None:
    for seed in range(40):
        scene = scenes.mixed_scene(random.Random(seed), 2, 3)
        assert sorted(scene.count(code) for code in {item.code for item in scene.items}) == [2, 3]
        assert not _overlap(scene)


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("number", [2, 3])
def test_a_row_stands_in_order(data: Path, number: int, vertical: bool) -> None:
    for seed in range(40):
        scene = scenes.row_scene(random.Random(seed), number, vertical)
        along = [item.y if vertical else item.x for item in scene.items]
        assert all(after - before > 10 for before, after in itertools.pairwise(along))
        assert len({item.code for item in scene.items}) == number
        assert scene.at_side(2 if vertical else 0) is scene.items[0]
        assert scene.at_side(3 if vertical else 1) is scene.items[-1]


def test_a_side_scene_lies_clearly_on_its_side(data: Path) -> None:
    for seed, side in itertools.product(range(30), range(4)):
        (item,) = scenes.side_scene(random.Random(seed), side).items
        offset = (item.x if side < 2 else item.y) - SIZE / 2
        assert (offset < -8) if side % 2 == 0 else (offset > 8)


def test_the_bigger_is_at_least_half_as_large_again(data: Path) -> None:
    for seed in range(40):
        small, big = sorted(scenes.size_scene(random.Random(seed)).items, key=lambda item: item.size)
        assert big.size >= 1.5 * small.size and not _overlap(Scene((small, big)))


def test_the_odd_one_is_alone(data: Path) -> None:
    for seed in range(40):
        scene = scenes.odd_scene(random.Random(seed))
        assert scene.count(scene.odd_one().code) == 1 and len(scene.items) >= 4


def test_a_shape_is_painted_in_its_colour_and_stands_out() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        scene = scenes.shape_scene(rng, 1)
        item = scene.items[0]
        picture = draw(scene, rng).astype(int)
        # A star's and a heart's centre are inside, a triangle's too.
        middle = picture[round(item.y), round(item.x)]
        assert np.abs(middle - np.array(COLOUR_VALUES[item.colour])).max() < 45
        assert np.abs(picture[0, 0] - middle).sum() > 60


def test_drawing_is_a_function_of_its_generator(data: Path) -> None:
    first, again = (draw(scenes.counting_scene(rng, 3), rng) for rng in (random.Random(5), random.Random(5)))
    assert np.array_equal(first, again)
