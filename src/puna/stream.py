"""The one data type that all rooms share: a conversation or a document as a single stream of tokens: text, pictures, videos.

`Message` is what people write; `Stream` is what models read: token ids, plus the tiles that fill its patch positions.
Plain data: numpy, no torch. Who turns one into the other: `puna.tokens.chat` (messages to streams) and `puna.media` (pictures and videos
to tiles).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text inside a message. Never parsed for special tokens."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture inside a message, already cut: `tiles` float32 `[M, 3, h, w]` in [-1, 1], the global tile last if there are several.

    `grid` is (rows, columns) of the tiles before the global one: M = 1 for a 1 x 1 grid, else rows * columns + 1.
    """

    tiles: np.ndarray
    grid: tuple[int, int]

    def __post_init__(self) -> None:
        cells = self.grid[0] * self.grid[1]
        expected = cells if cells == 1 else cells + 1
        if len(self.tiles) != expected:
            rows, columns = self.grid
            raise ValueError(f"a picture of {rows} x {columns} tiles needs {expected} tiles, global one included; got {len(self.tiles)}")


@dataclass(frozen=True, slots=True)
class Video:
    """A video inside a message, already sampled: `tiles` float32 `[M, 3, h, w]` in [-1, 1], one tile a frame.

    `timestamps` are the frames' times in seconds from the start: M of them, finite, none below 0, each later than the one before.
    """

    tiles: np.ndarray
    timestamps: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.tiles) != len(self.timestamps):
            counts = f"{len(self.tiles)} tiles and {len(self.timestamps)} timestamps"
            raise ValueError(f"a video has one tile and one timestamp a frame; got {counts}")
        if not self.timestamps:
            raise ValueError("a video of 0 frames shows nothing; it needs at least one")
        if self.tiles.ndim != 4:
            raise ValueError(f"a video's tiles have shape {self.tiles.shape}; they need four dimensions, [M, 3, h, w]")
        before = -1.0
        for seconds in self.timestamps:
            if not (math.isfinite(seconds) and seconds >= 0 and seconds > before):
                told = f"timestamp {seconds} s after {before} s" if before >= 0 else f"first timestamp {seconds} s"
                raise ValueError(f"a video has {told}; times are seconds from the start, from 0 on, each later than the one before")
            before = seconds


Part = Text | Image | Video


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the assistant makes; `arguments` are already parsed."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `role` "tool" is a tool's result (Llama 4's "ipython"); only the assistant makes `tool_calls`."""

    role: Role
    content: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    name: str = ""

    @property
    def text(self) -> str:
        """The text parts, joined; pictures and videos are left out."""
        return "".join(part.text for part in self.content if isinstance(part, Text))


@dataclass(slots=True)
class Stream:
    """Token ids `[T]` int64, and the tiles `[M, 3, h, w]` float32 whose rows fill the patch positions in order.

    `loss_mask` `[T]` bool marks the tokens that training should predict; None means all of them.
    """

    token_ids: np.ndarray
    tiles: np.ndarray | None = None
    loss_mask: np.ndarray | None = field(default=None)

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def num_tiles(self) -> int:
        return 0 if self.tiles is None else len(self.tiles)
