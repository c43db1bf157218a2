"""A picture becomes square tiles: choose a canvas of whole tiles, fit the picture into it, cut it, add the whole picture once more.

Follows Meta's reference where Hugging Face differs: Pillow's bilinear resize on 8-bit pixels, normalisation in float32. [meta]
Knows pixels and `VisionConfig`; does not know which tokens stand for the tiles (`puna.tokens.chat`).
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow

from puna.config import VisionConfig
from puna.media.error import MediaError
from puna.stream import Image

# (x / 255 - 0.5) / 0.5 for each of the 256 levels, rounded after each step as Meta's float32 tensors are. [meta]
_LEVELS = ((np.arange(256, dtype=np.float32) / np.float32(255)) - np.float32(0.5)) / np.float32(0.5)


class Canvas(NamedTuple):
    """A grid of whole tiles."""

    rows: int
    columns: int


@cache
def canvases(max_tiles: int) -> tuple[Canvas, ...]:
    """All grids of at most `max_tiles` tiles: 50 of them for Llama 4's 16."""
    return tuple(Canvas(rows, columns) for rows in range(1, max_tiles + 1) for columns in range(1, max_tiles // rows + 1))


def choose_canvas(height: int, width: int, vision: VisionConfig) -> Canvas:
    """The canvas for a picture of `height` x `width` pixels. [meta]

    Each canvas allows one scale, `min(canvas height / height, canvas width / width)`. If some canvas holds the picture without
    shrinking it, the one that enlarges least wins; else the one that shrinks least. Of equal scales, the smallest area.
    Scales are compared in float32, because Meta's are: in float64 some sizes would get another canvas.
    """
    if height < 1 or width < 1:
        raise MediaError(f"a picture of {height} x {width} pixels cannot be tiled; each side needs at least one")
    grids = np.array(canvases(vision.max_tiles), dtype=np.float32)
    scales = (grids * np.float32(vision.tile_size) / np.array([height, width], dtype=np.float32)).min(axis=1)
    enlarging = scales[scales >= 1]
    best = enlarging.min() if len(enlarging) else scales.max()
    fitting = [canvas for canvas, scale in zip(canvases(vision.max_tiles), scales, strict=True) if scale == best]
    return min(fitting, key=lambda canvas: canvas.rows * canvas.columns)


def fitted_size(height: int, width: int, canvas: Canvas, tile_size: int) -> tuple[int, int]:
    """(height, width) of the picture on its canvas: same proportions, enlarged to one tile's side at most. [meta]"""
    target_height = min(max(height, tile_size), canvas.rows * tile_size)
    target_width = min(max(width, tile_size), canvas.columns * tile_size)
    scale_height, scale_width = target_height / height, target_width / width
    if scale_width < scale_height:
        return max(min(int(height * scale_width), target_height), 1), target_width
    return target_height, max(min(int(width * scale_height), target_width), 1)


def tile_image(picture: Pillow.Image, vision: VisionConfig) -> Image:
    """Cuts an RGB picture into tiles, row by row, with the global tile last if there are several.

    The global tile is the whole picture pressed into one square, proportions not kept. [meta]
    """
    if picture.mode != "RGB":
        raise MediaError(f"a picture of mode {picture.mode} cannot be tiled; load_image and decode_image give RGB")
    side = vision.tile_size
    canvas = choose_canvas(picture.height, picture.width, vision)
    height, width = fitted_size(picture.height, picture.width, canvas, side)
    padded = np.zeros((canvas.rows * side, canvas.columns * side, 3), dtype=np.uint8)
    padded[:height, :width] = np.asarray(_resized(picture, height, width))
    tiles = padded.reshape(canvas.rows, side, canvas.columns, side, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side)
    if len(tiles) > 1:
        whole = np.asarray(_resized(picture, side, side)).transpose(2, 0, 1)
        tiles = np.concatenate([tiles, whole[None]])
    return Image(tiles=_LEVELS[tiles], grid=(canvas.rows, canvas.columns))


def _resized(picture: Pillow.Image, height: int, width: int) -> Pillow.Image:
    return picture.resize((width, height), Pillow.Resampling.BILINEAR)
