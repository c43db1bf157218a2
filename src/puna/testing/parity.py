"""What parity tests share: streams that reach every branch, the tolerance, and an assertion that also looks at the reference.

Ids and sizes are those of `puna.testing.hf_models`.
"""

import numpy as np
from torch import Tensor

from puna.config import VisionConfig
from puna.stream import Image, Message, Stream, Text, Video
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.chat import ChatFormat

# Logits are of order ten; both programs compute in fp32 but add in different orders. Measured: 5.6e-5 at most; the random models' own fp32
# error against fp64 is as large.
MAX_DIFFERENCE = 1e-4


def token_ids(count: int, seed: int, vocab: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocab, count)


def assert_same(ours: Tensor, theirs: Tensor, least_size: float = 3.0) -> None:
    """Equal within the tolerance; and the reference itself is large enough and varied enough to tell anything."""
    assert ours.shape == theirs.shape
    largest, difference = theirs.abs().max().item(), (ours - theirs).abs().max().item()
    print(f"max |difference| {difference:.1e}, max |reference| {largest:.1f}, {tuple(theirs.shape)}")  # shown by pytest -rP
    assert largest > least_size
    assert len(theirs) == 1 or theirs.std(dim=0).max() > 0.3
    assert difference < MAX_DIFFERENCE


def picture(grid: tuple[int, int], seed: int, size: int = 24) -> Image:
    """Random tiles, brighter to the lower right, so that no two places and no two axes are alike."""
    cells = grid[0] * grid[1]
    count = cells if cells == 1 else cells + 1
    tiles = np.random.default_rng(seed).uniform(-1, 1, (count, 3, size, size))
    tiles += np.linspace(-0.5, 0.5, size)[None, None, None, :] + np.linspace(0, 1, size)[None, None, :, None] ** 2
    return Image(tiles.clip(-1, 1).astype(np.float32), grid)


def picture_ids(grid: tuple[int, int], per_tile: int = 9) -> list[int]:
    """The published layout [stated], with the ids of `hf_models.IMAGE_IDS`; the separators are ordinary tokens to the model."""
    start, end, across, down, image, patch = 336, 337, 340, 341, 346, 348
    rows, columns = grid
    ids = [start]
    if rows * columns > 1:
        for _ in range(rows):
            for column in range(columns):
                ids += [patch] * per_tile + ([across] if column < columns - 1 else [])
            ids.append(down)
    return [*ids, image, *[patch] * per_tile, end]


def stream_with(grids: list[tuple[int, int]], seed: int) -> Stream:
    """Text, a picture, text, a picture, ..., text."""
    ids: list[int] = [256, *token_ids(3, seed)]
    for i, grid in enumerate(grids):
        ids += picture_ids(grid) + list(token_ids(2 + i, seed + i + 1))
    tiles = [picture(grid, seed * 100 + i).tiles for i, grid in enumerate(grids)]
    return Stream(np.array(ids), np.concatenate(tiles) if tiles else None)


def stream_with_videos(lengths: list[int], seed: int, vision: VisionConfig) -> Stream:
    """A question about videos of so many frames, with a picture between them, as the chat format writes it."""
    parts: list[Text | Image | Video] = []
    for i, frames in enumerate(lengths):
        tiles = np.concatenate([picture((1, 1), seed * 100 + 10 * i + k, vision.tile_size).tiles for k in range(frames)])
        parts += [Video(tiles, tuple(0.5 * k for k in range(frames))), Text("and"), picture((1, 2), seed * 100 + i, vision.tile_size)]
    return ChatFormat(byte_tokenizer(), vision).encode([Message("user", (*parts, Text("What moved?")))])
