"""Small pictures for tests: made from a seed, never read from a file."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pillow

# Corner colours of `corners_picture`: top left, top right, bottom left, bottom right.
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 60), (40, 60, 220), (230, 210, 40)


def noise_picture(height: int, width: int, seed: int = 0) -> Pillow.Image:
    """RGB noise: no two places look alike."""
    return Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def corners_picture(height: int, width: int) -> Pillow.Image:
    """Four quarters of different colours, so that every flip and every turn shows."""
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    middle_y, middle_x = (height + 1) // 2, (width + 1) // 2
    pixels[:middle_y, :middle_x], pixels[:middle_y, middle_x:] = RED, GREEN
    pixels[middle_y:, :middle_x], pixels[middle_y:, middle_x:] = BLUE, YELLOW
    return Pillow.fromarray(pixels)


def encoded(picture: Pillow.Image, format: str = "PNG", **options: Any) -> bytes:
    """The bytes of `picture` in a file format of Pillow's; `options` go to its writer."""
    buffer = BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()
