"""Backgrounds to put drawings on: plain colours, gradients, stripes, checks, dots, grain. [ours] Fast: banks are drawn once.

Also `recolour`, the small change of light that every training picture gets. Knows nothing of what is drawn on top.
"""

import random
from functools import cache

import numpy as np

SIZE = 64
_BANK = 96


def _colour(rng: random.Random) -> tuple[int, int, int]:
    """Half pale, half anything: pictures people drop in mostly lie on light ground."""
    low = 150 if rng.random() < 0.55 else 0
    return rng.randint(low, 255), rng.randint(low, 255), rng.randint(low, 255)


@cache
def _grain() -> np.ndarray:
    """Soft and fine noise, int16 [n, 64, 64, 1], about -40..40; made from a fixed seed."""
    source = np.random.default_rng(20_250_405)
    fine = source.normal(0, 12, (_BANK // 2, SIZE, SIZE, 1))
    cells = source.normal(0, 22, (_BANK // 2, 8, 8, 1))
    soft = np.repeat(np.repeat(cells, 8, axis=1), 8, axis=2)
    soft = (soft + np.roll(soft, 4, axis=1) + np.roll(soft, 4, axis=2) + np.roll(soft, (2, 6), axis=(1, 2))) / 2
    return np.concatenate([fine, soft]).astype(np.int16)


@cache
def _masks() -> np.ndarray:
    """Patterns with two levels, float32 [n, 64, 64, 1] in 0..1: stripes, checks, dots and ramps at several angles."""
    v, u = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    masks = []
    for period in (6, 8, 12, 16, 24):
        masks += [u // (period / 2) % 2, v // (period / 2) % 2, (u + v) // (period / 2) % 2, (u // (period / 2) + v // (period / 2)) % 2]
        masks.append(((u % period - period / 2) ** 2 + (v % period - period / 2) ** 2 < (period / 4) ** 2).astype(np.float32))
    ramps = []
    for degrees in range(0, 360, 30):
        along = u * np.cos(np.radians(degrees)) + v * np.sin(np.radians(degrees))
        ramps.append((along - along.min()) / (along.max() - along.min()))
    ramps.append(np.minimum(1, np.hypot(u - 32, v - 32) / 45))
    # Ramps come twice as often as any one pattern.
    return np.stack(masks + 2 * ramps)[..., None].astype(np.float32)


def plain(rng: random.Random) -> np.ndarray:
    """One colour; white a third of the time."""
    canvas = np.empty((SIZE, SIZE, 3), np.uint8)
    canvas[:] = (255, 255, 255) if rng.random() < 0.35 else _colour(rng)
    return canvas


def background(rng: random.Random) -> np.ndarray:
    """A fresh uint8 [64, 64, 3] background."""
    draw = rng.random()
    if draw < 0.5:
        return plain(rng)
    if draw < 0.85:
        masks = _masks()
        mask = masks[rng.randrange(len(masks))]
        first, second = np.array(_colour(rng), np.float32), np.array(_colour(rng), np.float32)
        return (first + mask * (second - first)).astype(np.uint8)
    grain = _grain()
    return np.clip(np.array(_colour(rng), np.int16) + grain[rng.randrange(len(grain))], 0, 255).astype(np.uint8)


def recolour(canvas: np.ndarray, rng: random.Random) -> np.ndarray:
    """The same picture in slightly other light: contrast 0.85..1.1, brightness within 12 levels, a slight tint. Hues keep their names."""
    if rng.random() < 0.4:
        return canvas
    levels = np.arange(256, dtype=np.float32)
    contrast, light = rng.uniform(0.85, 1.1), rng.uniform(-12, 12)
    table = np.stack([np.clip((levels - 128) * contrast + 128 + light + rng.uniform(-5, 5), 0, 255) for _ in range(3)]).astype(np.uint8)
    return np.stack([table[channel][canvas[..., channel]] for channel in range(3)], axis=-1)
