"""Composed scenes: several drawings on one 64 x 64 picture, described by data from which every answer is computed.

A `Scene` says what stands where; `draw` paints it; questions read only the `Scene`. So a caption is true by construction, and a
test can check it without looking. Knows no chat rows.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from puna.data.backgrounds import background, plain, recolour
from puna.data.emoji import SIZE, artists_of, codes, drawing_at, stamp

# Same order as phrases.COLOURS and phrases.SHAPES. Values are the middles of what people call by these names.
COLOUR_VALUES: tuple[tuple[int, int, int], ...] = (
    (220, 30, 40),
    (30, 80, 220),
    (30, 160, 60),
    (250, 215, 30),
    (250, 135, 20),
    (130, 45, 170),
    (20, 20, 20),
    (250, 250, 250),
    (125, 75, 40),
    (250, 140, 185),
    (130, 130, 130),
)
NUM_SHAPES = 6
MAX_COUNT = 9


@dataclass(frozen=True, slots=True)
class Item:
    """One drawing: an emoji by `code`, or a shape by numbers into phrases.SHAPES and phrases.COLOURS. Centre and size in pixels."""

    x: float
    y: float
    size: int
    code: str = ""
    artist: str = ""
    shape: int = -1
    colour: int = -1
    angle: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands where. `items` do not overlap."""

    items: tuple[Item, ...]

    def count(self, code: str) -> int:
        return sum(item.code == code for item in self.items)

    def leftmost(self) -> Item:
        return min(self.items, key=lambda item: item.x)

    def rightmost(self) -> Item:
        return max(self.items, key=lambda item: item.x)

    def top(self) -> Item:
        return min(self.items, key=lambda item: item.y)

    def bottom(self) -> Item:
        return max(self.items, key=lambda item: item.y)

    def at_side(self, side: int) -> Item:
        """The outermost item: side 0 left, 1 right, 2 top, 3 bottom, as in phrases.SIDES."""
        return (self.leftmost, self.rightmost, self.top, self.bottom)[side]()

    def biggest(self) -> Item:
        return max(self.items, key=lambda item: item.size)

    def odd_one(self) -> Item:
        """The only item of its kind."""
        return next(item for item in self.items if self.count(item.code) == 1)


@cache
def shape_drawing(shape: int, colour: int, size: int) -> Image.Image:
    """A filled shape in premultiplied RGBA, drawn four times as large and shrunk."""
    side = 4 * size
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    edge = side - 1
    if shape == 0:
        pen.ellipse((0, 0, edge, edge), fill=255)
    elif shape == 1:
        pen.rectangle((side // 16, side // 16, edge - side // 16, edge - side // 16), fill=255)
    elif shape == 2:
        pen.polygon([(side / 2, side / 14), (edge, edge - side / 14), (0, edge - side / 14)], fill=255)
    elif shape == 3:
        turns = [np.pi * k / 5 - np.pi / 2 for k in range(10)]
        radii = [side / 2 if k % 2 == 0 else side / 5 for k in range(10)]
        pen.polygon([(side / 2 + r * np.cos(t), side / 2 + r * np.sin(t)) for t, r in zip(turns, radii, strict=True)], fill=255)
    elif shape == 4:
        t = np.linspace(0, 2 * np.pi, 80)
        x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        pen.polygon([(side / 2 + a * side / 34, side / 2 - (b + 2.5) * side / 34) for a, b in zip(x, y, strict=True)], fill=255)
    else:
        pen.polygon([(side / 2, 0), (edge - side / 8, side / 2), (side / 2, edge), (side / 8, side / 2)], fill=255)
    alpha = np.asarray(mask.resize((size, size), Image.Resampling.BOX)).astype(np.uint16)[..., None]
    inked = (np.array(COLOUR_VALUES[colour], np.uint16) * alpha + 127) // 255
    return Image.frombytes("RGBa", (size, size), np.concatenate([inked, alpha], axis=-1).astype(np.uint8).tobytes())


def draw(scene: Scene, rng: random.Random) -> np.ndarray:
    """The scene as uint8 [64, 64, 3] on a fresh background that no shape of it vanishes into."""
    colours = [COLOUR_VALUES[item.colour] for item in scene.items if item.colour >= 0]
    canvas = _ground_for(colours, rng) if colours else background(rng) if rng.random() < 0.5 else plain(rng)
    for item in scene.items:
        drawing = drawing_at(item.code, item.artist, item.size) if item.code else shape_drawing(item.shape, item.colour, item.size)
        stamp(canvas, drawing, item.size, item.x, item.y, item.angle)
    return recolour(canvas, rng)


def _ground_for(colours: Sequence[tuple[int, int, int]], rng: random.Random) -> np.ndarray:
    """One plain colour well away from all of `colours`, or a slow change between two such."""
    canvas = _far_plain(colours, rng)
    if rng.random() < 0.35:
        other = _far_plain(colours, rng)[0, 0].astype(np.float32)
        # Not the whole way: midway between two far colours may lie a near one.
        ramp = np.linspace(0, 0.4, SIZE, dtype=np.float32).reshape((SIZE, 1, 1) if rng.random() < 0.6 else (1, SIZE, 1))
        ground = canvas + ramp * (other - canvas)
        if all(np.abs(ground - np.array(colour)).sum(axis=-1).min() > 110 for colour in colours):
            canvas = ground.astype(np.uint8)
    return canvas


def _far_plain(colours: Sequence[tuple[int, int, int]], rng: random.Random) -> np.ndarray:
    """One plain colour, well away from all of `colours`."""
    for _ in range(20):
        canvas = plain(rng)
        ground = canvas[0, 0].astype(int)
        if all(np.abs(ground - np.array(colour)).sum() > 130 for colour in colours):
            return canvas
    last_resorts = ((255, 255, 255), (0, 0, 0), (90, 200, 230))
    canvas[:] = max(last_resorts, key=lambda g: min(sum(abs(a - b) for a, b in zip(g, c, strict=True)) for c in colours))
    return canvas


def _common_size(rng: random.Random, num: int) -> int:
    """A size at which `num` things fit and are still seen."""
    if num <= 4:
        return rng.randint(15, 22) if rng.random() < 0.5 else rng.randint(20, 28)
    return rng.randint(13, 20) if num <= 6 else rng.randint(12, 17)


def _placed(rng: random.Random, num: int, size: int | None = None) -> list[tuple[float, float, int]]:
    """`num` places (x, y, size) that do not overlap: on a loose grid, or scattered where there is room."""
    common = size or _common_size(rng, num)
    scattered = _scattered(rng, num, common) if rng.random() < 0.5 else None
    return scattered or _on_grid(rng, num, common)


def _on_grid(rng: random.Random, num: int, size: int) -> list[tuple[float, float, int]]:
    """Different cells of a 2 x 2 or 3 x 3 grid, nudged as far as the cell allows."""
    side = 2 if num <= 4 and (size > SIZE // 3 or rng.random() < 0.5) else 3
    width = SIZE / side
    slack = max(0.0, (width - size) / 2)
    return [
        ((cell % side + 0.5) * width + rng.uniform(-slack, slack), (cell // side + 0.5) * width + rng.uniform(-slack, slack), size)
        for cell in rng.sample(range(side * side), num)
    ]


def _scattered(rng: random.Random, num: int, size: int) -> list[tuple[float, float, int]] | None:
    """Anywhere; None where chance left no room for the last ones."""
    places: list[tuple[float, float, int]] = []
    for _ in range(12 * num):
        x, y = (rng.uniform(size / 2, SIZE - size / 2) for _ in range(2))
        if all(abs(x - a) >= size or abs(y - b) >= size for a, b, _ in places):
            places.append((x, y, size))
            if len(places) == num:
                return places
    return None


def _emoji(rng: random.Random, num: int, kind: str = "emoji") -> list[tuple[str, str]]:
    """`num` different emoji with an artist for each. Flags look alike when small: scenes mostly use emoji."""
    return [(code, rng.choice(artists_of(code))) for code in rng.sample(codes(kind), num)]


def counting_scene(rng: random.Random, number: int) -> Scene:
    """`number` equal emoji."""
    ((code, artist),) = _emoji(rng, 1)
    return Scene(tuple(Item(x, y, size, code=code, artist=artist) for x, y, size in _placed(rng, number)))


def mixed_scene(rng: random.Random, first: int, second: int) -> Scene:
    """`first` of one emoji and `second` of another, at most `MAX_COUNT` together."""
    kinds = _emoji(rng, 2)
    chosen = [kinds[0]] * first + [kinds[1]] * second
    return Scene(
        tuple(
            Item(x, y, size, code=code, artist=artist)
            for (x, y, size), (code, artist) in zip(_placed(rng, first + second), chosen, strict=True)
        )
    )


def shape_counting_scene(rng: random.Random, number: int) -> Scene:
    """`number` equal shapes."""
    shape, colour = rng.randrange(NUM_SHAPES), rng.randrange(len(COLOUR_VALUES))
    return Scene(tuple(Item(x, y, size, shape=shape, colour=colour) for x, y, size in _placed(rng, number)))


def row_scene(rng: random.Random, number: int, vertical: bool) -> Scene:
    """2 or 3 different emoji in a row from left to right, or from top to bottom."""
    width = SIZE / number
    items = []
    for place, (code, artist) in enumerate(_emoji(rng, number)):
        size = rng.randint(17, 20) if number == 3 else rng.randint(24, 32)
        slack = max(0.0, (width - size) / 2)
        along = (place + 0.5) * width + rng.uniform(-slack, slack)
        across = SIZE / 2 + rng.uniform(-9, 9)
        x, y = (across, along) if vertical else (along, across)
        items.append(Item(x, y, size, code=code, artist=artist))
    return Scene(tuple(items))


def side_scene(rng: random.Random, side: int) -> Scene:
    """One emoji near a side: 0 left, 1 right, 2 top, 3 bottom."""
    ((code, artist),) = _emoji(rng, 1)
    size = rng.randint(18, 30)
    near = rng.uniform(size / 2, SIZE / 2 - 10)
    far = SIZE - near
    across = rng.uniform(size / 2, SIZE - size / 2)
    x, y = ((near, across), (far, across), (across, near), (across, far))[side]
    return Scene((Item(x, y, size, code=code, artist=artist),))


def shape_scene(rng: random.Random, number: int) -> Scene:
    """1 or 2 shapes that differ in form and in colour."""
    forms = rng.sample(range(NUM_SHAPES), number)
    colours = rng.sample(range(len(COLOUR_VALUES)), number)
    if number == 1:
        size = rng.randint(18, 52)
        slack = (SIZE - size) / 2
        places = [(SIZE / 2 + rng.uniform(-slack, slack), SIZE / 2 + rng.uniform(-slack, slack), size)]
    else:
        places = _placed(rng, number, rng.randint(20, 30))
    return Scene(
        tuple(Item(x, y, size, shape=form, colour=colour) for (x, y, size), form, colour in zip(places, forms, colours, strict=True))
    )


def size_scene(rng: random.Random) -> Scene:
    """Two emoji side by side, one at least half as large again as the other."""
    sizes = [rng.randint(14, 19), rng.randint(29, 36)]
    kinds = _emoji(rng, 2)
    if rng.random() < 0.5:
        sizes.reverse()
    # The gap between the two halves follows their sizes.
    border = SIZE * sizes[0] / sum(sizes)
    centres = (border / 2, (SIZE + border) / 2)
    return Scene(
        tuple(
            Item(x, SIZE / 2 + rng.uniform(-8, 8), size, code=code, artist=artist)
            for x, size, (code, artist) in zip(centres, sizes, kinds, strict=True)
        )
    )


def odd_scene(rng: random.Random) -> Scene:
    """Three to five of one emoji and one of another."""
    return mixed_scene(rng, rng.randint(3, 5), 1)
