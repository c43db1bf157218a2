"""The nano's picture book: emoji and flags with names in 12 languages, and fresh pictures of them at 64 x 64.

There are two inventories: "chosen", 400 things that stay apart at this size, whose names come with the package, and "all", about 1,600.
Who chooses and names: `emoji_names`. Two artists are for training (Noto, Blobmoji); FxEmoji is never trained on, so that a score on it
speaks of an unseen hand. Knows no questions.
"""

import io
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import cos, radians, sin, sqrt
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from puna.data.archive import Archive
from puna.data.backgrounds import background, recolour
from puna.data.emoji_names import CHOICE, all_codes, code_of, row_of
from puna.data.phrases import COLOURS
from puna.data.restyle import restyle
from puna.data.sources import DataError, fetch

SIZE = 64
TRAIN_ARTISTS: tuple[str, ...] = ("noto", "blobmoji")
UNSEEN_ARTIST = "fxemoji"
# A picture is shrunk from the smallest cached copy that is at least as large, so that plain bilinear sampling never skips pixels.
_MIPS: tuple[int, ...] = (72, 54, 40, 30, 22, 16)
# A mirrored note or calendar is wrong; so is most of what only "all" has: arrows, letters, hands that point.
_NOT_MIRRORED = frozenset(map(code_of, "🎵📅"))
_COLOUR_WORDS = frozenset(COLOURS["en"])
Which = Literal["chosen", "all"]


@dataclass(frozen=True, slots=True)
class Emoji:
    """One thing that the nano can name. `code` is the file name: code points in hexadecimal, joined by hyphens."""

    code: str
    is_flag: bool
    names: Mapping[str, str]

    @property
    def char(self) -> str:
        return "".join(chr(int(point, 16)) for point in self.code.split("-"))


@cache
def inventory(which: Which = "chosen") -> dict[str, Emoji]:
    """Emoji and flags by code: the 400 chosen ones, or "all", which begins with them and needs the names' source files."""
    if which == "chosen":
        rows = json.loads(CHOICE.read_text(encoding="utf-8"))
    elif which == "all":
        rows = {code: row_of(code) for code in all_codes()}
    else:
        raise ValueError(f'inventory({which!r}): there are "chosen" and "all"')
    return {code: Emoji(code, row["kind"] == "flag", row["names"]) for code, row in rows.items()}


@cache
def codes(kind: str = "all", which: Which = "chosen") -> tuple[str, ...]:
    """Codes of an inventory, in order: those of `kind` "emoji" or "flag", or of both."""
    return tuple(code for code, emoji in inventory(which).items() if kind == "all" or emoji.is_flag == (kind == "flag"))


class Album:
    """One artist's pictures, decoded when first used: per code, premultiplied ("RGBa") at each mip size.

    Pillow transforms RGBa as it is, but would premultiply RGBA a second time, which leaves a pale rim.
    """

    def __init__(self, artist: str, archive: Path) -> None:
        self.artist = artist
        self._archive = Archive(archive)
        self._names = frozenset(self._archive.names)
        self._mips: dict[str, tuple[Image.Image, ...]] = {}

    def __contains__(self, code: str) -> bool:
        return f"{code}.png" in self._names

    def mips(self, code: str) -> tuple[Image.Image, ...]:
        """The picture at each size of `_MIPS`, largest first, premultiplied by its alpha."""
        if code not in self._mips:
            if code not in self:
                raise DataError(f"artist {self.artist!r} drew no emoji {code}; ask `code in album(artist)` first")
            picture = Image.open(io.BytesIO(self._archive.read(f"{code}.png"))).convert("RGBA")
            picture = _trimmed_square(picture).convert("RGBa")
            self._mips[code] = tuple(picture.resize((size, size), Image.Resampling.BOX) for size in _MIPS)
        return self._mips[code]


def _trimmed_square(picture: Image.Image) -> Image.Image:
    """The drawing without its transparent margin, centred on a square."""
    box = picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox() or (0, 0, *picture.size)  # pyright: ignore[reportOperatorIssue]
    drawing = picture.crop(box)
    side = max(drawing.size)
    square = Image.new("RGBA", (side, side))
    square.paste(drawing, ((side - drawing.width) // 2, (side - drawing.height) // 2))
    return square


@cache
def album(artist: str) -> Album:
    """The pictures of one artist: "noto", "blobmoji" or "fxemoji"."""
    return Album(artist, fetch(f"emoji_{artist}_72"))


def artists_of(code: str) -> tuple[str, ...]:
    """The training artists who drew `code` (Blobmoji has no flags)."""
    return tuple(artist for artist in TRAIN_ARTISTS if code in album(artist))


def stamp(canvas: np.ndarray, drawing: Image.Image, size: int, x: float, y: float, angle: float = 0.0, stretch: float = 1.0) -> None:
    """Draw `drawing` into `canvas` (uint8 [h, w, 3]) as a `size`-pixel square whose centre is (x, y), turned by `angle` degrees.

    With `stretch` s it is `size` times sqrt(s) wide and `size` / sqrt(s) high.
    """
    height, width = canvas.shape[:2]
    broad, high = sqrt(stretch), 1 / sqrt(stretch)
    reach = size * 0.5 * max(broad, high) * (abs(cos(radians(angle))) + abs(sin(radians(angle)))) + 1
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    right, bottom = min(width, int(x + reach) + 2), min(height, int(y + reach) + 2)
    if left >= right or top >= bottom:
        return
    zoom = drawing.width / size
    a, b = cos(radians(angle)) * zoom / broad, sin(radians(angle)) * zoom / broad
    d, e = -sin(radians(angle)) * zoom / high, cos(radians(angle)) * zoom / high
    # Pillow maps output pixel (u, v) to source (a u + b v + c, d u + e v + f), both measured at pixel corners.
    c = drawing.width / 2 - a * (x - left) - b * (y - top)
    f = drawing.height / 2 - d * (x - left) - e * (y - top)
    layer = np.asarray(
        drawing.transform((right - left, bottom - top), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
    )
    under = canvas[top:bottom, left:right].astype(np.uint16)
    under *= 255 - layer[..., 3:].astype(np.uint16)
    canvas[top:bottom, left:right] = np.minimum(layer[..., :3] + (under + 127) // 255, 255).astype(np.uint8)


def drawing_at(code: str, artist: str, size: int) -> Image.Image:
    """The cached copy to draw `code` at `size` pixels from."""
    copies = album(artist).mips(code)
    return next((copy for copy in reversed(copies) if copy.width >= size), copies[0])


@cache
def _keeps_colours(code: str) -> bool:
    """Whether its colours belong to its name: flags, a red heart, a green apple."""
    emoji = inventory("chosen").get(code) or inventory("all")[code]
    return emoji.is_flag or not _COLOUR_WORDS.isdisjoint(emoji.names["en"].split())


def _mirrors(code: str) -> bool:
    return code in inventory() and not inventory()[code].is_flag and code not in _NOT_MIRRORED


def render_emoji(code: str, rng: random.Random, artist: str, restyled: float = 0.6) -> np.ndarray:
    """A new picture of `code`: uint8 [64, 64, 3]; 35 to 100 % of the width, anywhere it fits, slightly turned, on any background.

    One in twelve is a picture of other proportions, which tiling leaves black below or on the right. A share `restyled` is drawn as if
    by another hand (`restyle`), perhaps mirrored or blurred, where the name stays true.
    """
    canvas = background(rng)
    width, height = SIZE, SIZE
    if rng.random() < 1 / 12:
        width, height = (SIZE, rng.randint(34, 60)) if rng.random() < 0.6 else (rng.randint(34, 60), SIZE)
    room = min(width, height)
    size = round(room * (0.35 + 0.65 * rng.random() ** 0.7))
    # A little of it may leave the frame.
    x, y = (side / 2 + rng.uniform(-1, 1) * ((side - size) / 2 + 0.08 * size) for side in (width, height))
    angle = max(-25.0, min(25.0, rng.gauss(0, 7))) if rng.random() < 0.6 else 0.0
    drawing, stretch = drawing_at(code, artist, size), 1.0
    if rng.random() < restyled:
        # From a smaller copy it comes out blurred.
        drawing = drawing_at(code, artist, round(size * 0.6)) if rng.random() < 0.15 and size > 30 else drawing
        drawing = restyle(drawing, rng, _keeps_colours(code))
        stretch = rng.uniform(0.85, 1.18)
        if rng.random() < 0.5 and _mirrors(code):
            drawing = drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    stamp(canvas[:height, :width], drawing, size, x, y, angle, stretch)
    canvas = recolour(canvas, rng)
    canvas[height:], canvas[:, width:] = 0, 0
    return canvas
