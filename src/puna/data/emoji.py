"""The nano's picture book: 220 emoji and flags, their names in 12 languages, and fresh pictures of them at 64 x 64.

Names are CLDR's (Unicode-3.0), shortened where CLDR says "face of a wolf" for what people call a wolf [ours]. Two artists are
for training (Noto, Blobmoji); FxEmoji is never trained on, so that a score on it speaks of an unseen hand. Knows no questions.
"""

import io
import json
import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import cos, radians, sin
from pathlib import Path

import numpy as np
from PIL import Image

from puna.data.backgrounds import background, recolour
from puna.data.sources import DataError, fetch

SIZE = 64
TRAIN_ARTISTS: tuple[str, ...] = ("noto", "blobmoji")
UNSEEN_ARTIST = "fxemoji"
# A picture is shrunk from the smallest cached copy that is at least as large, so that plain bilinear sampling never skips pixels.
_MIPS: tuple[int, ...] = (72, 54, 40, 30, 22, 16)


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
def inventory() -> dict[str, Emoji]:
    """The chosen emoji and flags by code, emoji first."""
    rows = json.loads((Path(__file__).parent / "emoji_choice.json").read_text(encoding="utf-8"))
    return {code: Emoji(code, row["kind"] == "flag", row["names"]) for code, row in rows.items()}


@cache
def codes(kind: str = "all") -> tuple[str, ...]:
    """Codes of the inventory: "all", "emoji" or "flag"."""
    return tuple(code for code, emoji in inventory().items() if kind == "all" or emoji.is_flag == (kind == "flag"))


class Album:
    """One artist's pictures, decoded when first used: per code, premultiplied ("RGBa") at each mip size.

    Pillow transforms RGBa as it is, but would premultiply RGBA a second time, which leaves a pale rim.
    """

    def __init__(self, artist: str, archive: Path) -> None:
        self.artist = artist
        self._archive = zipfile.ZipFile(archive)
        self._names = frozenset(self._archive.namelist())
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


def stamp(canvas: np.ndarray, drawing: Image.Image, size: int, x: float, y: float, angle: float = 0.0) -> None:
    """Draw `drawing` into `canvas` (uint8 [h, w, 3]) as a `size`-pixel square whose centre is (x, y), turned by `angle` degrees."""
    height, width = canvas.shape[:2]
    reach = size * 0.5 * (abs(cos(radians(angle))) + abs(sin(radians(angle)))) + 1
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    right, bottom = min(width, int(x + reach) + 2), min(height, int(y + reach) + 2)
    if left >= right or top >= bottom:
        return
    zoom = drawing.width / size
    a, b = cos(radians(angle)) * zoom, sin(radians(angle)) * zoom
    # Pillow maps output pixel (u, v) to source (a u + b v + c, -b u + a v + f), both measured at pixel corners.
    c = drawing.width / 2 - a * (x - left) - b * (y - top)
    f = drawing.height / 2 + b * (x - left) - a * (y - top)
    layer = np.asarray(
        drawing.transform((right - left, bottom - top), Image.Transform.AFFINE, (a, b, c, -b, a, f), Image.Resampling.BILINEAR)
    )
    under = canvas[top:bottom, left:right].astype(np.uint16)
    under *= 255 - layer[..., 3:].astype(np.uint16)
    canvas[top:bottom, left:right] = np.minimum(layer[..., :3] + (under + 127) // 255, 255).astype(np.uint8)


def drawing_at(code: str, artist: str, size: int) -> Image.Image:
    """The cached copy to draw `code` at `size` pixels from."""
    copies = album(artist).mips(code)
    return next((copy for copy in reversed(copies) if copy.width >= size), copies[0])


def render_emoji(code: str, rng: random.Random, artist: str) -> np.ndarray:
    """A new picture of `code`: uint8 [64, 64, 3]; 35 to 100 % of the width, anywhere it fits, slightly turned, on any background.

    One in twelve is a picture of other proportions, which tiling leaves black below or on the right.
    """
    canvas = background(rng)
    width, height = SIZE, SIZE
    if rng.random() < 1 / 12:
        width, height = (SIZE, rng.randint(34, 60)) if rng.random() < 0.6 else (rng.randint(34, 60), SIZE)
    room = min(width, height)
    size = round(room * (0.35 + 0.65 * rng.random() ** 0.7))
    # A little of it may leave the frame.
    x, y = (side / 2 + rng.uniform(-1, 1) * ((side - size) / 2 + 0.08 * size) for side in (width, height))
    angle = rng.gauss(0, 7) if rng.random() < 0.6 else 0.0
    stamp(canvas[:height, :width], drawing_at(code, artist, size), size, x, y, max(-25.0, min(25.0, angle)))
    canvas = recolour(canvas, rng)
    canvas[height:], canvas[:, width:] = 0, 0
    return canvas
