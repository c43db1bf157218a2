"""`Sample`, one training row, and how conversations and pictures are put into it. Knows no kinds and no tokens."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from puna.data.skills import Turn
from puna.stream import Image, Message, Text, Video


@dataclass(frozen=True, slots=True)
class Sample:
    """One training row: `messages`, or else `document` under `pictures`, or else `token_ids` as stored.

    With `timestamps`, one a picture in seconds, the pictures are the frames of one video. With `asked_by` the document's lines ask and
    answer: what stands up to that mark is drawn by chance and not trained on. `language` is that of stored prose.
    """

    kind: str
    messages: tuple[Message, ...] = ()
    document: str = ""
    asked_by: str = ""
    pictures: tuple[np.ndarray, ...] = ()
    timestamps: tuple[float, ...] = ()
    token_ids: np.ndarray | None = field(default=None)
    language: str = ""


def picture_part(picture: np.ndarray) -> Image:
    """A uint8 [64, 64, 3] picture as the one tile that `puna.media` would cut it into."""
    return Image(tiles_of((picture,)), (1, 1))


# The same float32 levels that `puna.media.tiling` gives.
_LEVELS = ((np.arange(256, dtype=np.float32) / np.float32(255)) - np.float32(0.5)) / np.float32(0.5)


def tiles_of(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 pictures as float32 tiles [M, 3, 64, 64] in [-1, 1]."""
    return _LEVELS[np.stack(pictures).transpose(0, 3, 1, 2)]


def visual_parts(pictures: Sequence[np.ndarray], timestamps: Sequence[float] = ()) -> tuple[Image | Video, ...]:
    """uint8 pictures as parts of a message: each by itself, or with `timestamps` all as one video."""
    if timestamps:
        return (Video(tiles_of(pictures), tuple(timestamps)),)
    return tuple(picture_part(picture) for picture in pictures)


def chat(
    kind: str,
    turns: Sequence[Turn],
    pictures: Sequence[np.ndarray] = (),
    rng: random.Random | None = None,
    timestamps: Sequence[float] = (),
) -> Sample:
    """A conversation of `turns`; the pictures, or the video with these `timestamps`, stand in its first message, before the text, or
    after it a quarter of the time.
    """
    messages: list[Message] = []
    for place, (question, answer) in enumerate(turns):
        content: tuple[Text | Image | Video, ...] = (Text(question),)
        if place == 0 and pictures:
            parts = visual_parts(pictures, timestamps)
            content = (*content, *parts) if rng and rng.random() < 0.25 else (*parts, *content)
        messages += [Message("user", content), Message("assistant", (Text(answer),))]
    return Sample(kind, messages=tuple(messages), pictures=tuple(pictures), timestamps=tuple(timestamps))
