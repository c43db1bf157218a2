"""Pictures with labels for the vision tower's warm-up: what is in the picture, how many, and what stands in which cell of it.

A cell is what one stream token of a 64-pixel tile sees: 4 x 4 cells of 16 pixels. The labels are read off the same scenes and letters
that the questions are asked about. Knows no models.
"""

import random
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np

from puna.data import scenes
from puna.data.backgrounds import background
from puna.data.chance import generator
from puna.data.emoji import SIZE, Which, artists_of, codes, render_emoji
from puna.data.lettering import Lettered, letter
from puna.data.reading import any_number, any_word

CELLS_PER_SIDE = 4
IGNORED = -100  # torch's cross-entropy leaves these out
NOTHING = 0  # the class of a cell in which no drawing has its centre
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"  # case and accents do not count
NUM_COUNTS = scenes.MAX_COUNT + 1


@cache
def classes(which: Which = "chosen") -> dict[str, int]:
    """Class of each thing: 0 is nothing, then the inventory's codes, then the shapes ("shape 0" ...)."""
    names = [*codes(which=which), *(f"shape {shape}" for shape in range(scenes.NUM_SHAPES))]
    return {name: place for place, name in enumerate(names, 1)}


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """B pictures uint8 `[B, 64, 64, 3]`, and labels int64, IGNORED where not asked: `whole` `[B]` the one thing shown, `counts` `[B]` how
    many things (0 to 9), and by cell `[B, 16]` the thing (`cells`), the shape's colour (`colours`), the letter or digit (`letters`).
    """

    pictures: np.ndarray
    whole: np.ndarray
    counts: np.ndarray
    cells: np.ndarray
    colours: np.ndarray
    letters: np.ndarray


def labelled_pictures(seed: int, index: int, count: int, which: Which = "chosen") -> LabelledPictures:
    """Batch `index` of run `seed`: of eight pictures four single things, three composed scenes, one with letters; a few with nothing.

    `which` is the inventory of the single things.
    """
    rng = generator("train", seed, index)
    by_cell = (count, CELLS_PER_SIDE**2)
    batch = LabelledPictures(
        np.empty((count, SIZE, SIZE, 3), np.uint8),
        *(np.full(shape, IGNORED, np.int64) for shape in (count, count, by_cell, by_cell, by_cell)),
    )
    for place in range(count):
        if place % 8 == 7:
            lettered = letter(any_number(rng) if rng.random() < 0.6 else any_word(rng)[0], rng)
            batch.pictures[place], batch.letters[place] = lettered.picture, letter_labels(lettered)
        elif place % 2:
            scene = _any_scene(rng)
            batch.pictures[place], batch.counts[place] = scenes.draw(scene, rng), len(scene.items)
            batch.cells[place], batch.colours[place] = cell_labels(scene, which)
        elif rng.random() < 0.02:
            batch.pictures[place], batch.counts[place], batch.cells[place] = background(rng), 0, NOTHING
        else:
            code = rng.choice(codes(which=which))
            batch.pictures[place] = render_emoji(code, rng, rng.choice(artists_of(code)))
            batch.whole[place], batch.counts[place] = classes(which)[code], 1
    return batch


def _cell(x: float, y: float) -> int:
    """The cell that a point lies in, row by row."""
    column, row = (min(CELLS_PER_SIDE - 1, max(0, int(along * CELLS_PER_SIDE / SIZE))) for along in (x, y))
    return row * CELLS_PER_SIDE + column


def cell_labels(scene: scenes.Scene, which: Which = "chosen") -> tuple[np.ndarray, np.ndarray]:
    """Class and colour of the drawing whose centre lies in each cell; colours only of shapes. Two different things: not asked."""
    cells = np.full(CELLS_PER_SIDE**2, NOTHING, np.int64)
    colours = np.full(CELLS_PER_SIDE**2, IGNORED, np.int64)
    for item in scene.items:
        cell, found = _cell(item.x, item.y), classes(which)[item.code or f"shape {item.shape}"]
        cells[cell] = found if cells[cell] in (NOTHING, found) else IGNORED
        if item.colour >= 0:
            colours[cell] = item.colour if colours[cell] in (IGNORED, item.colour) and cells[cell] == found else IGNORED
    return cells, colours


def letter_labels(lettered: Lettered) -> np.ndarray:
    """The letter or digit whose middle lies in each cell, as a place in `LETTERS`; IGNORED where there is none or more than one."""
    found = np.full(CELLS_PER_SIDE**2, IGNORED, np.int64)
    seen: set[int] = set()
    for char, x, y in lettered.letters:
        cell = _cell(x, y)
        found[cell] = IGNORED if cell in seen else LETTERS.index(plain_letter(char))
        seen.add(cell)
    return found


def plain_letter(char: str) -> str:
    """`char` without case and accents."""
    return unicodedata.normalize("NFD", char)[0].lower()


def _any_scene(rng: random.Random) -> scenes.Scene:
    draw = rng.randrange(10)
    if draw < 4:
        return scenes.counting_scene(rng, rng.randint(1, scenes.MAX_COUNT))
    if draw < 6:
        return scenes.row_scene(rng, rng.choice((2, 2, 2, 3)), rng.random() < 0.5)
    if draw == 6:
        return scenes.shape_scene(rng, rng.choice((1, 2)))
    if draw == 7:
        return scenes.shape_counting_scene(rng, rng.randint(1, scenes.MAX_COUNT))
    if draw == 8:
        first = rng.randint(1, 5)
        return scenes.mixed_scene(rng, first, rng.randint(1, min(5, scenes.MAX_COUNT - first)))
    return scenes.side_scene(rng, rng.randrange(4))
