"""The same drawing as if by another hand: other tones, flatter colours, an outline, grey. [ours]

Two artists are too few to learn what a thing looks like whoever draws it. What gives a thing its name stays: forms always, and with
`keeps_colours` (flags, a red heart) the hues as well. Knows no names.
"""

import random
from math import cos, radians, sin, sqrt

import numpy as np
from PIL import Image, ImageFilter

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_EYE = np.eye(3, dtype=np.float32)


def restyle(drawing: Image.Image, rng: random.Random, keeps_colours: bool) -> Image.Image:
    """A changed copy of `drawing`, a square in premultiplied RGBA; with an outline it is a little larger."""
    draw = rng.random()
    pixels = np.asarray(drawing).astype(np.float32)
    matrix, light = _tone(rng, keeps_colours)
    if not keeps_colours and draw < 0.12:
        matrix = np.outer(np.ones(3, np.float32), _GREY) @ matrix
    # On premultiplied colours an offset counts as far as the pixel is covered.
    colours = pixels[..., :3] @ matrix.T + light * pixels[..., 3:]
    if draw > 0.75:
        # Three levels a channel would turn a dull red grey.
        step = 255 / (5 if keeps_colours else rng.choice((3, 4, 5)))
        colours = np.rint(colours / step) * step
    pixels[..., :3] = np.clip(colours, 0, pixels[..., 3:])
    # Half up: a colour can then not round above its alpha.
    changed = Image.frombytes("RGBa", drawing.size, (pixels + 0.5).astype(np.uint8).tobytes())
    return _outlined(changed, rng) if 0.5 < draw < 0.75 else changed


def _tone(rng: random.Random, keeps_colours: bool) -> tuple[np.ndarray, float]:
    """A linear map of colours and an offset (share of full light): hue, saturation, contrast and light together."""
    turn = radians(rng.uniform(-6, 6) if keeps_colours else rng.gauss(0, 14))
    saturation = rng.uniform(0.85, 1.3) if keeps_colours else rng.uniform(0.35, 1.6)
    contrast = rng.uniform(0.85 if keeps_colours else 0.7, 1.25)
    along = (1 - cos(turn)) / 3
    across = sin(turn) / sqrt(3)
    hue = np.array(
        [
            [cos(turn) + along, along - across, along + across],
            [along + across, cos(turn) + along, along - across],
            [along - across, along + across, cos(turn) + along],
        ],
        np.float32,
    )
    saturate = saturation * _EYE + (1 - saturation) * np.outer(np.ones(3, np.float32), _GREY)
    return contrast * (saturate @ hue), 0.5 * (1 - contrast) + rng.uniform(-0.08, 0.08)


def _outlined(drawing: Image.Image, rng: random.Random) -> Image.Image:
    """`drawing` with a thin line around it, dark or white or of any colour."""
    reach = 1 if drawing.width < 45 else rng.choice((1, 2))
    side = drawing.width + 2 * reach
    alpha = Image.new("L", (side, side))
    alpha.paste(drawing.getchannel("a"), (reach, reach))
    grown = np.asarray(alpha.filter(ImageFilter.MaxFilter(2 * reach + 1))).astype(np.uint16)
    pick = rng.random()
    ink = (20, 20, 25) if pick < 0.5 else (255, 255, 255) if pick < 0.75 else tuple(rng.randrange(256) for _ in range(3))
    under = np.empty((side, side, 4), np.uint16)
    under[..., :3] = (grown[..., None] * np.array(ink, np.uint16) + 127) // 255
    under[..., 3] = grown
    over = np.zeros((side, side, 4), np.uint16)
    over[reach:-reach, reach:-reach] = np.asarray(drawing)
    mixed = over + (under * (255 - over[..., 3:]) + 127) // 255
    return Image.frombytes("RGBa", (side, side), np.minimum(mixed, 255).astype(np.uint8).tobytes())
