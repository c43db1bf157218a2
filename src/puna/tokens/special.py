"""The special tokens: names, ids, and the two layouts in which they stand on top of a BPE vocabulary.

Llama 4 puts 2,048 of them above its 200,000 BPE ids [meta]. The compact layout [ours] keeps the first 93 offsets exactly, so that every
token with a job has the same name and the same distance from `base`, and shrinks the reserved ranges to 128 ids in all.
Knows nothing of text or BPE: text never turns into these ids, only `puna.tokens.chat` writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches


def _reserved(group: str, first: int, last: int) -> list[str]:
    return [f"<|{group}_reserved_special_token_{k}|>" for k in range(first, last + 1)]


# Offsets 0 to 92 of both layouts. [meta] The text reserve skips numbers 6 and 7: they became python_start and python_end.
_SHARED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|header_start|>",
    "<|header_end|>",
    "<|eom|>",
    "<|eot|>",
    "<|step|>",
    *_reserved("text_post_train", 0, 5),
    "<|python_start|>",
    "<|python_end|>",
    "<|finetune_right_pad|>",
    *_reserved("text_post_train", 8, 68),
    "<|image_start|>",
    "<|image_end|>",
    *_reserved("vision", 0, 1),
    "<|tile_x_separator|>",
    "<|tile_y_separator|>",
    *_reserved("vision", 2, 5),
    "<|image|>",
    *_reserved("vision", 6, 6),
    "<|patch|>",
)


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Names of the special ids `base`, `base + 1`, ...; every id below `base` is plain BPE."""

    base: int
    names: tuple[str, ...]
    _ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {name: self.base + offset for offset, name in enumerate(self.names)}
        if len(ids) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"special token {twice!r} is listed twice; every id needs its own name")
        object.__setattr__(self, "_ids", ids)

    @property
    def count(self) -> int:
        return len(self.names)

    def id(self, name: str) -> int:
        """The id of `name`, written with its marks: `id("<|eot|>")`."""
        if name not in self._ids:
            near = get_close_matches(name, self.names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "names look like '<|eot|>'"
            raise ValueError(f"no special token is called {name!r} among the {self.count} of this tokenizer; {hint}")
        return self._ids[name]

    def name(self, token_id: int) -> str:
        if token_id not in self:
            raise ValueError(f"id {token_id} is not special; the special ids are {self.base} to {self.base + self.count - 1}")
        return self.names[token_id - self.base]

    def __contains__(self, token_id: int) -> bool:
        return self.base <= token_id < self.base + self.count

    @property
    def bos(self) -> int:
        return self.id("<|begin_of_text|>")

    @property
    def end_of_text(self) -> int:
        return self.id("<|end_of_text|>")

    @property
    def header_start(self) -> int:
        return self.id("<|header_start|>")

    @property
    def header_end(self) -> int:
        return self.id("<|header_end|>")

    @property
    def eom(self) -> int:
        """End of message: the turn goes on after a tool has answered."""
        return self.id("<|eom|>")

    @property
    def eot(self) -> int:
        """End of turn."""
        return self.id("<|eot|>")

    @property
    def python_start(self) -> int:
        return self.id("<|python_start|>")

    @property
    def python_end(self) -> int:
        return self.id("<|python_end|>")

    @property
    def pad(self) -> int:
        return self.id("<|finetune_right_pad|>")

    @property
    def image_start(self) -> int:
        return self.id("<|image_start|>")

    @property
    def image_end(self) -> int:
        return self.id("<|image_end|>")

    @property
    def tile_x(self) -> int:
        return self.id("<|tile_x_separator|>")

    @property
    def tile_y(self) -> int:
        return self.id("<|tile_y_separator|>")

    @property
    def image(self) -> int:
        """Precedes the last (global or only) tile; it is not the placeholder that pictures fill."""
        return self.id("<|image|>")

    @property
    def patch(self) -> int:
        """The placeholder whose embedding a picture's row replaces."""
        return self.id("<|patch|>")

    # Meta's reference has no ids for videos; what the released weights were trained with, if anything, is not known. These three are
    # where a later tokenizer of Meta's with the same layout, and torchtune's Llama 4, have vid_start, vid_end and
    # vid_frame_separator. [inferred]

    @property
    def video_start(self) -> int:
        return self.id("<|vision_reserved_special_token_0|>")

    @property
    def video_end(self) -> int:
        return self.id("<|vision_reserved_special_token_1|>")

    @property
    def frame(self) -> int:
        """Opens a frame of a video; its time, as plain text, and its tile's patch ids follow."""
        return self.id("<|vision_reserved_special_token_3|>")

    @property
    def stop_ids(self) -> tuple[int, int, int]:
        return self.end_of_text, self.eom, self.eot


def llama4_layout(base: int = 200000) -> SpecialTokens:
    """Llama 4's 2,048 special ids: 200000 to 202047 over Meta's vocabulary. [meta] llama4/tokenizer.py

    >>> llama4_layout().id("<|patch|>"), llama4_layout().count
    (200092, 2048)
    """
    names = [
        *_SHARED,
        *_reserved("vision", 7, 1047),
        *_reserved("reasoning", 0, 7),
        "<|reasoning_thinking_start|>",
        "<|reasoning_thinking_end|>",
    ]
    names += [f"<|reserved_special_token_{k}|>" for k in range(2048 - len(names))]
    return SpecialTokens(base, tuple(names))


def compact_layout(base: int) -> SpecialTokens:
    """The nano herd's 128 special ids: offsets 0 to 92 as Llama 4's, then short reserves. [ours]"""
    names = [
        *_SHARED,
        *_reserved("vision", 7, 15),
        *_reserved("reasoning", 0, 7),
        "<|reasoning_thinking_start|>",
        "<|reasoning_thinking_end|>",
    ]
    names += [f"<|reserved_special_token_{k}|>" for k in range(128 - len(names))]
    return SpecialTokens(base, tuple(names))
