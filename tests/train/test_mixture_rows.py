"""Rows for the loop: what they weigh, what they are logged under, and fillers of an exact length."""

from collections.abc import Iterator

import numpy as np
import pytest

from puna.data.row import Sample, picture_part
from puna.data.samples import TEXT_KIND
from puna.stream import Message, Text, Video
from puna.testing.models import TINY_VISION
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.chat import ChatFormat
from puna.train.mixture_rows import ANSWER_WEIGHT, MixtureRows


class Windows:
    """Shards whose Korean windows have seven and then four tokens."""

    def __init__(self) -> None:
        self.lengths: Iterator[int] = iter((7, 4, 7, 4, 7, 4))

    def draw(self, rng: object, max_tokens: int) -> tuple[str, np.ndarray]:
        return "ko", self.window_of("ko", 0)[:max_tokens]

    def num_windows(self, language: str) -> int:
        return 5

    def window_of(self, language: str, place: int) -> np.ndarray:
        assert language == "ko" and 0 <= place < 5
        return np.arange(next(self.lengths))


class Given:
    """A mixture of one sample."""

    def __init__(self, sample: Sample) -> None:
        self.given = sample

    def sample(self, seed: int, index: int) -> Sample:
        return self.given


def rows(sample: Sample) -> MixtureRows:
    chat_format = ChatFormat(byte_tokenizer(), TINY_VISION)
    return MixtureRows(Given(sample), Windows(), chat_format, seed=1, picture_answer_weight=6.0)  # pyright: ignore[reportArgumentType]


def answer(*parts: object) -> tuple[Message, ...]:
    return Message("user", (*parts, Text("What?"))), Message("assistant", (Text("A cat."),))  # pyright: ignore[reportArgumentType]


TILE = np.zeros((1, 3, TINY_VISION.tile_size, TINY_VISION.tile_size), dtype=np.float32)
PICTURE = np.zeros((TINY_VISION.tile_size, TINY_VISION.tile_size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("sample", "weight", "modality"),
    [
        (Sample("sums", messages=answer()), ANSWER_WEIGHT, "text"),
        (Sample("naming", messages=answer(picture_part(PICTURE)), pictures=(PICTURE,)), 6.0, "picture"),
        (Sample("video_way", messages=answer(Video(TILE, (0.0,))), pictures=(PICTURE,)), 6.0, "video"),
        (Sample("caption", document="A cat.", pictures=(PICTURE,)), ANSWER_WEIGHT, "picture"),
        (Sample("book_page", messages=answer(picture_part(PICTURE)), pictures=(PICTURE,)), 1.0, "picture"),
        (Sample(TEXT_KIND, token_ids=np.arange(9, dtype=np.uint16)), 1.0, "text"),
    ],
    ids=["words", "picture", "video", "caption", "page", "prose"],
)
def test_a_row_has_its_weight_and_modality(sample: Sample, weight: float, modality: str) -> None:
    row = rows(sample).row(0)
    assert (row.kind, row.weight, row.modality) == (sample.kind, weight, modality)


@pytest.mark.parametrize("tokens", [1, 7, 8, 20])
def test_fillers_have_exactly_the_length_asked_for(tokens: int) -> None:
    row = rows(Sample("sums")).filler(0, tokens)
    assert len(row.stream) == tokens and row.weight == 1.0 and row.kind == TEXT_KIND and row.language == "ko"
    # That one window ends and another begins is not to be learned.
    if tokens > 7:
        assert row.stream.loss_mask is not None
        assert np.flatnonzero(~row.stream.loss_mask).tolist() == [start for start in (7, 11, 18) if start < tokens]
    else:
        assert row.stream.loss_mask is None
