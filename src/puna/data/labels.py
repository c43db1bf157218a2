"""Pictures with labels for the vision tower's warm-up: what is in the picture, and what stands in which cell of it.

A cell is what one stream token of a 64-pixel tile sees: 4 x 4 cells of 16 pixels. The labels are read off the same scenes that the
questions are asked about. Knows no models.
"""

import random
from dataclasses import dataclass
from functools import cache

import numpy as np

from puna.data import scenes
from puna.data.chance import generator
from puna.data.emoji import SIZE, artists_of, codes, render_emoji

CELLS_PER_SIDE = 4
IGNORED = -100  # torch's cross-entropy leaves these out
NOTHING = 0  # the class of a cell in which no drawing has its centre


@cache
def classes() -> dict[str, int]:
    """Class of each thing: 0 is nothing, then the inventory's codes, then the shapes ("shape 0" ...)."""
    names = [*codes(), *(f"shape {shape}" for shape in range(scenes.NUM_SHAPES))]
    return {name: place for place, name in enumerate(names, 1)}


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """B pictures uint8 `[B, 64, 64, 3]`; `whole` `[B]` the one thing shown; `cells` and `colours` `[B, 16]`. IGNORED where not asked."""

    pictures: np.ndarray
    whole: np.ndarray
    cells: np.ndarray
    colours: np.ndarray


def labelled_pictures(seed: int, index: int, count: int) -> LabelledPictures:
    """Batch `index` of run `seed`: half single things, half composed scenes."""
    rng = generator("train", seed, index)
    pictures = np.empty((count, SIZE, SIZE, 3), np.uint8)
    whole = np.full(count, IGNORED, np.int64)
    cells = np.full((count, CELLS_PER_SIDE**2), IGNORED, np.int64)
    colours = np.full((count, CELLS_PER_SIDE**2), IGNORED, np.int64)
    for place in range(count):
        if place % 2:
            scene = _any_scene(rng)
            pictures[place] = scenes.draw(scene, rng)
            cells[place], colours[place] = cell_labels(scene)
        else:
            code = rng.choice(codes())
            pictures[place] = render_emoji(code, rng, rng.choice(artists_of(code)))
            whole[place] = classes()[code]
    return LabelledPictures(pictures, whole, cells, colours)


def cell_labels(scene: scenes.Scene) -> tuple[np.ndarray, np.ndarray]:
    """Class and colour of the drawing whose centre lies in each cell, row by row; colours only of shapes."""
    cells = np.full(CELLS_PER_SIDE**2, NOTHING, np.int64)
    colours = np.full(CELLS_PER_SIDE**2, IGNORED, np.int64)
    for item in scene.items:
        column, row = (min(CELLS_PER_SIDE - 1, max(0, int(centre * CELLS_PER_SIDE / SIZE))) for centre in (item.x, item.y))
        cell = row * CELLS_PER_SIDE + column
        cells[cell] = classes()[item.code or f"shape {item.shape}"]
        if item.colour >= 0:
            colours[cell] = item.colour
    return cells, colours


def _any_scene(rng: random.Random) -> scenes.Scene:
    draw = rng.randrange(8)
    if draw < 3:
        return scenes.counting_scene(rng, rng.randint(1, scenes.MAX_COUNT))
    if draw < 5:
        return scenes.row_scene(rng, rng.choice((2, 2, 3)), rng.random() < 0.5)
    if draw == 5:
        return scenes.shape_scene(rng, rng.choice((1, 2)))
    if draw == 6:
        return scenes.shape_counting_scene(rng, rng.randint(1, scenes.MAX_COUNT))
    return scenes.side_scene(rng, rng.randrange(4))
