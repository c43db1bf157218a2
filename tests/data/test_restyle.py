"""Another hand draws the same thing: forms stay, and colours where they belong to the name."""

import colorsys
import random

import numpy as np
from PIL import Image

from puna.data.restyle import restyle


def _disc(colour: tuple[int, int, int], side: int = 40) -> Image.Image:
    v, u = np.mgrid[0:side, 0:side] - (side - 1) / 2
    alpha = np.clip(18.5 - np.hypot(u, v), 0, 1)[..., None]
    return Image.frombytes("RGBa", (side, side), (np.concatenate([np.array(colour) * alpha, 255 * alpha], -1)).astype(np.uint8).tobytes())


def test_no_colour_exceeds_its_alpha_and_the_form_stays() -> None:
    form = np.asarray(_disc((220, 30, 40)))[..., 3] > 128
    for seed in range(60):
        changed = np.asarray(restyle(_disc((220, 30, 40)), random.Random(seed), keeps_colours=seed % 2 == 0))
        assert (changed[..., :3] <= changed[..., 3:]).all()
        margin = (len(changed) - len(form)) // 2
        inner = changed[margin : margin + len(form), margin : margin + len(form), 3]
        assert (inner[form] > 128).all() and margin in (0, 1, 2)


def test_a_name_with_a_colour_keeps_its_hue() -> None:
    free = set()
    for seed in range(120):
        kept = np.asarray(restyle(_disc((220, 30, 40)), random.Random(seed), keeps_colours=True))
        middle = kept[len(kept) // 2, len(kept) // 2, :3] / 255
        hue, saturation, _ = colorsys.rgb_to_hsv(*middle)
        assert min(hue, 1 - hue) < 0.06 and saturation > 0.45
        loose = np.asarray(restyle(_disc((220, 30, 40)), random.Random(seed), keeps_colours=False))
        free.add(tuple(loose[len(loose) // 2, len(loose) // 2] // 32))
    assert len(free) > 15


def test_it_is_a_function_of_its_generator() -> None:
    first, again, other = (np.asarray(restyle(_disc((10, 200, 60)), random.Random(seed), False)) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and (first.shape != other.shape or not np.array_equal(first, other))
