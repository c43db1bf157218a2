"""Printed numbers and words on 64 x 64 pictures, in Pillow's own face and in faces drawn here with a pen. [ours]

A pen face is a set of strokes (`GLYPHS`) with a random weight, width, slant and jitter, so that no two pictures share one. Latin letters
with their accents, and digits: other scripts would need font files that no package we depend on brings. Knows no questions.
"""

import random
import unicodedata
from dataclasses import dataclass
from functools import cache
from math import radians, tan

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from puna.data.backgrounds import background, plain, recolour

SIZE = 64
_FINE = 2  # letters are drawn this many times as large and shrunk
_MARGIN = 2

# Strokes of each letter on a grid: "20" is x = 2, y = 0. x runs from 0 to 4; y = 0 is the top of a capital, 2 that of an x, 6 the line,
# 8 below it. "~" makes a smooth curve through its points.
GLYPHS: dict[str, str] = {
    "0": "~20 42 44 26 04 02 20", "1": "01 20 26", "2": "~02 10 30 42 24 06,06 46", "3": "~01 20 41 23,~23 44 26 05",
    "4": "36 30 04 44", "5": "40 00 03,~03 22 44 26 05", "6": "~30 11 03 05 26 45 44 23 04", "7": "00 40 16",
    "8": "~23 01 20 41 23 05 26 45 23", "9": "~42 23 02 01 20 41 43 35 16",
    "A": "06 20 46,14 34", "B": "06 00 20,~20 41 23,03 23,~23 45 26,06 26", "C": "~41 20 02 04 26 45", "D": "16 06 00 10,~10 42 44 16",
    "E": "40 00 06 46,03 33", "F": "40 00 06,03 33", "G": "~41 20 02 04 26 45,45 43 23", "H": "00 06,40 46,03 43", "I": "10 30,20 26,16 36",
    "J": "30 34,~34 26 05", "K": "00 06,40 03 46", "L": "00 06 46", "M": "06 00 23 40 46", "N": "06 00 46 40",
    "O": "~20 42 44 26 04 02 20", "P": "06 00 20,~20 41 23,23 03", "Q": "~20 42 44 26 04 02 20,34 46", "R": "06 00 20,~20 41 23,03 23 46",
    "S": "~41 20 01 23 45 26 05", "T": "00 40,20 26", "U": "00 04,~04 26 44,44 40", "V": "00 26 40", "W": "00 16 22 36 40",
    "X": "00 46,40 06", "Y": "00 23 40,23 26", "Z": "00 40 06 46",
    "a": "~43 22 04 26 45,42 46", "b": "00 06,~03 22 44 26 05", "c": "~43 22 04 26 45", "d": "40 46,~43 22 04 26 45",
    "e": "04 44,~44 32 12 04 16 36 45", "f": "~40 20 22,22 26,02 42", "g": "~43 22 04 26 45,42 47,~47 28 07", "h": "00 06,~03 22 43,43 46",
    "i": "22 26,20 20", "j": "22 27,~27 18 07,20 20", "k": "00 06,42 04 46", "l": "20 26", "m": "02 06,~03 12 23,23 26,~23 32 43,43 46",
    "n": "02 06,~03 22 43,43 46", "o": "~22 44 26 04 22", "p": "02 08,~03 22 44 26 05", "q": "42 48,~43 22 04 26 45",
    "r": "02 06,~04 13 32",
    "s": "~43 22 03 24 45 26 05", "t": "20 25,~25 26 46,02 42", "u": "02 04,~04 26 44,42 46", "v": "02 26 42", "w": "02 16 23 36 42",
    "x": "02 46,42 06", "y": "02 26,42 08", "z": "02 42 06 46",
}  # fmt: skip
# Accents over a small letter, by Unicode's combining marks; the cedilla hangs below.
_MARKS = {
    "\u0301": "21 30",
    "\u0300": "10 21",
    "\u0302": "11 20 31",
    "\u0308": "11 11,31 31",
    "\u0303": "~01 10 31 40",
    "\u0327": "26 28 17",
}


@dataclass(frozen=True, slots=True)
class Lettered:
    """A picture uint8 [64, 64, 3], and each letter of its text with the middle of where it stands, in pixels."""

    picture: np.ndarray
    letters: tuple[tuple[str, float, float], ...]


def can_write(text: str) -> bool:
    """Whether every letter has strokes: Latin letters, small ones with accents, and digits."""
    for char in text:
        base, *marks = unicodedata.normalize("NFD", char)
        if base not in GLYPHS or any(mark not in _MARKS for mark in marks) or (marks and not base.islower()):
            return False
    return bool(text)


@cache
def _strokes(char: str) -> tuple[np.ndarray, ...]:
    """The strokes of one letter as points [n, 2]; an accented i loses its dot."""
    base, *marks = unicodedata.normalize("NFD", char)
    drawn = GLYPHS[base].replace(",20 20", "") if marks and base == "i" else GLYPHS[base]
    lines = [*drawn.split(","), *(line for mark in marks for line in _MARKS[mark].split(","))]
    strokes = []
    for line in lines:
        points = np.array([(int(x), int(y)) for x, y in line.lstrip("~").split()], np.float32)
        strokes.append(_smooth(points) if line.startswith("~") else points)
    return tuple(strokes)


def _smooth(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """A curve through all points (Catmull-Rom); closed if the last is the first."""
    is_closed = (points[0] == points[-1]).all()
    before, after = (points[-2], points[1]) if is_closed else (2 * points[0] - points[1], 2 * points[-1] - points[-2])
    padded = np.concatenate([before[None], points, after[None]])
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, None]
    curve = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        curve.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*curve, points[-1:]])


def letter(text: str, rng: random.Random) -> Lettered:
    """`text` in a fresh face, colour, size and place. `can_write(text)` must hold."""
    if not can_write(text):
        raise ValueError(f"letter({text!r}): only Latin letters (small ones with accents) and digits have strokes; ask can_write first")
    use_font = text.isascii() and rng.random() < 0.5
    mask, letters = _in_font(text, rng) if use_font else _by_pen(text, rng)
    canvas, ink = _ground_and_ink(rng)
    alpha = mask.astype(np.float32)[..., None] / 255
    canvas = (canvas + alpha * (np.array(ink, np.float32) - canvas) + 0.5).astype(np.uint8)
    if rng.random() < 0.25:
        noise = np.random.default_rng(rng.getrandbits(32)).integers(-18, 19, (SIZE, SIZE, 1), dtype=np.int16)
        canvas = np.clip(canvas + noise, 0, 255).astype(np.uint8)
    return Lettered(recolour(canvas, rng), letters)


def _by_pen(text: str, rng: random.Random) -> tuple[np.ndarray, tuple[tuple[str, float, float], ...]]:
    """Coverage uint8 [64, 64] of strokes, and where the letters stand."""
    broad, gap = rng.uniform(0.7, 1.15), rng.uniform(1.4, 2.2)
    lean = tan(radians(rng.uniform(-8, 18))) if rng.random() < 0.4 else 0.0
    edges, end = [], 0.0
    for char in text:
        xs = np.concatenate([stroke[:, 0] for stroke in _strokes(char)])
        edges.append(end - broad * float(xs.min()))
        end += broad * float(xs.max() - xs.min()) + gap
    bold = rng.uniform(0.45, 1.15)
    # What the text spans in grid units, from the top of a capital to below the line, half a stroke around it.
    wide, high = end - gap + abs(lean) * 8 + bold, 8.6 + bold
    unit = min(_room(text, rng) / max(wide, 1.0), rng.uniform(12, 44) / 6, (SIZE - 2 * _MARGIN) / high)
    # A slant moves what hangs below the line to one side and what stands above it to the other.
    left = rng.uniform(_MARGIN, max(_MARGIN, SIZE - _MARGIN - wide * unit)) + unit * (bold / 2 + max(2 * lean, -6 * lean))
    top = rng.uniform(_MARGIN, max(_MARGIN, SIZE - _MARGIN - high * unit)) + unit * (bold / 2 + 0.3)
    weight = max(2, round(_FINE * unit * bold))
    jitter = rng.choice((0.0, 0.0, 0.12, 0.2))
    mask = Image.new("L", (SIZE * _FINE, SIZE * _FINE))
    pen = ImageDraw.Draw(mask)
    letters = []
    for char, edge in zip(text, edges, strict=True):
        shift_x, shift_y = (rng.uniform(-jitter, jitter) for _ in range(2))
        corners = []
        for stroke in _strokes(char):
            x = left + unit * (edge + broad * stroke[:, 0] + shift_x - lean * (stroke[:, 1] - 6))
            y = top + unit * (stroke[:, 1] + shift_y)
            points = [(_FINE * float(a), _FINE * float(b)) for a, b in zip(x, y, strict=True)]
            pen.line(points, fill=255, width=weight, joint="curve")
            for a, b in (points[0], points[-1]):
                pen.ellipse((a - weight / 2, b - weight / 2, a + weight / 2, b + weight / 2), fill=255)
            corners += list(zip(x, y, strict=True))
        xs, ys = zip(*corners, strict=True)
        letters.append((char, float(min(xs) + max(xs)) / 2, float(min(ys) + max(ys)) / 2))
    return np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.BOX)), tuple(letters)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "this Pillow was built without FreeType, which text of a chosen size needs; its wheels have it: pip install pillow"
        )
    return font


def _in_font(text: str, rng: random.Random) -> tuple[np.ndarray, tuple[tuple[str, float, float], ...]]:
    """Coverage uint8 [64, 64] of `text` in Pillow's own face, and where the letters stand."""
    natural = _font(40).getlength(text) / 40
    size = max(9, int(min(_room(text, rng) / natural, rng.uniform(13, 54))))
    font, weight = _font(size), 1 if size > 20 and rng.random() < 0.3 else 0
    box = font.getbbox(text, stroke_width=weight)
    x = rng.uniform(_MARGIN, max(_MARGIN, SIZE - _MARGIN - (box[2] - box[0]))) - box[0]
    y = rng.uniform(_MARGIN, max(_MARGIN, SIZE - _MARGIN - (box[3] - box[1]))) - box[1]
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).text((x, y), text, fill=255, font=font, stroke_width=weight)
    middle = y + (box[1] + box[3]) / 2
    edges = [font.getlength(text[:end]) for end in range(len(text) + 1)]
    return np.asarray(mask), tuple((char, x + (start + end) / 2, middle) for char, start, end in zip(text, edges, edges[1:], strict=False))


def _room(text: str, rng: random.Random) -> float:
    """How wide the text may be: long words need all there is."""
    return (SIZE - 2 * _MARGIN) * (1 if len(text) > 4 or rng.random() < 0.5 else rng.uniform(0.6, 1))


def _ground_and_ink(rng: random.Random) -> tuple[np.ndarray, tuple[int, int, int]]:
    """A ground uint8 [64, 64, 3], and an ink at least 90 levels lighter or darker than all of it."""
    canvas = background(rng) if rng.random() < 0.25 else plain(rng)
    grey = canvas.mean(axis=-1)
    low, high = float(grey.min()), float(grey.max())
    if high - low > 100:
        canvas = plain(rng)
        low = high = float(canvas[0, 0].mean())
    for _ in range(8):
        ink = (rng.randrange(256), rng.randrange(256), rng.randrange(256)) if rng.random() < 0.6 else (15, 15, 15)
        if sum(ink) / 3 < low - 90 or sum(ink) / 3 > high + 90:
            return canvas, ink
    return canvas, (0, 0, 0) if low > 255 - high else (255, 255, 255)
