"""Batches of exactly T tokens, every row exactly once, targets and weights as one would write them down."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from puna.stream import Stream
from puna.train.packing import Row, modality_of, next_tokens, pack, pack_step


@dataclass(frozen=True)
class Rows:
    """Row i has `lengths[i]` tokens: i * 100, i * 100 + 1, ... Filler is 7000, 7001, ..."""

    lengths: tuple[int, ...]
    filler_surplus: int = 0

    def row(self, index: int) -> Row:
        return Row(f"kind {index % 2}", Stream(index * 100 + np.arange(self.lengths[index])), weight=1.0 + index)

    def filler(self, index: int, num_tokens: int) -> Row:
        return Row("filler", Stream(7000 + np.arange(num_tokens + self.filler_surplus)), weight=0.5)


def test_a_row_that_does_not_fit_opens_the_next_batch() -> None:
    source = Rows((3, 4, 5, 9, 2, 10, 1))
    batches, cursor = [], 0
    for index in range(4):
        batches.append(pack(source, cursor, index, 10))
        cursor = batches[-1].cursor
    assert [batch.batch.lengths for batch in batches] == [(3, 4, 3), (5, 5), (9, 1), (2, 8)]
    assert [batch.cursor for batch in batches] == [2, 3, 4, 5]
    assert [batch.kinds for batch in batches] == [
        ("kind 0", "kind 1", "filler"), ("kind 0", "filler"), ("kind 1", "filler"), ("kind 0", "filler"),
    ]  # fmt: skip


def test_a_row_may_fill_a_batch_and_rows_may_fill_it_exactly() -> None:
    assert pack(Rows((10, 1)), 0, 0, 10).kinds == ("kind 0",)
    exact = pack(Rows((4, 6, 1)), 0, 0, 10)
    assert (exact.batch.lengths, exact.kinds, exact.cursor) == ((4, 6), ("kind 0", "kind 1"), 2)


def test_every_batch_has_exactly_its_tokens_and_every_row_comes_once() -> None:
    lengths = tuple(int(n) for n in np.random.default_rng(0).integers(1, 64, 201)) + (64,)
    cursor, seen = 0, []
    for index in range(40):
        data = pack(Rows(lengths), cursor, index, 64)
        assert len(data.batch) == len(data.targets) == len(data.weights) == sum(data.batch.lengths) == 64
        assert data.cursor > cursor
        seen += [kind for kind in data.kinds if kind != "filler"]
        for row, ids in zip(range(cursor, data.cursor), data.batch.token_ids.split(data.batch.lengths), strict=False):
            assert ids.tolist() == list(range(row * 100, row * 100 + lengths[row]))
        cursor = data.cursor
    assert len(seen) == cursor


def test_a_batch_is_a_function_of_its_cursor() -> None:
    source = Rows((3, 4, 5, 9, 2, 10, 1))
    one, again = pack(source, 2, 1, 10), pack(source, 2, 1, 10)
    assert torch.equal(one.batch.token_ids, again.batch.token_ids) and torch.equal(one.weights, again.weights)


def test_targets_and_weights_by_hand() -> None:
    data = pack(Rows((3, 4, 9)), 0, 0, 10)
    assert data.batch.token_ids.tolist() == [0, 1, 2, 100, 101, 102, 103, 7000, 7001, 7002]
    assert data.batch.positions.tolist() == [0, 1, 2, 0, 1, 2, 3, 0, 1, 2]
    scored = data.weights > 0
    assert scored.tolist() == [True, True, False, True, True, True, False, True, True, False]
    assert data.targets[scored].tolist() == [1, 2, 101, 102, 103, 7001, 7002]
    assert data.weights.tolist() == [1, 1, 0, 2, 2, 2, 0, 0.5, 0.5, 0]


def test_a_mask_marks_the_tokens_that_are_predicted_not_those_that_predict() -> None:
    ids = np.array([10, 11, 12, 13, 14])
    mask = np.array([True, False, True, True, False])  # the first token is predicted by nobody
    targets, weights = next_tokens(Stream(ids, loss_mask=mask), 2.0)
    assert weights.tolist() == [0, 2, 2, 0, 0]
    assert targets[:4].tolist() == [11, 12, 13, 14]
    assert (targets.dtype, weights.dtype) == (np.int64, np.float32)


def test_a_row_of_one_token_predicts_nothing() -> None:
    _, weights = next_tokens(Stream(np.array([5])))
    assert weights.tolist() == [0]


def test_the_streams_own_mask_is_left_alone() -> None:
    mask = np.ones(4, dtype=bool)
    next_tokens(Stream(np.arange(4), loss_mask=mask))
    assert mask.all()


def test_a_row_longer_than_a_batch_is_named() -> None:
    with pytest.raises(ValueError, match=r"row 1 \(kind 1\) has 11 tokens.*batch of 10"):
        pack(Rows((3, 11)), 0, 0, 10)


@pytest.mark.parametrize("surplus", [-1, 2])
def test_filler_of_another_length_than_asked_for_is_an_error(surplus: int) -> None:
    with pytest.raises(ValueError, match=rf"filler 4.*{6 + surplus} tokens.*6"):
        pack(Rows((4, 10), surplus), 0, 4, 10)


def test_rows_are_summed_over_their_scored_tokens_and_sorted_by_three_names() -> None:
    data = pack(Rows((3, 4, 2, 9)), 0, 0, 10)
    losses = torch.arange(1.0, 11.0) * (data.weights > 0)
    assert data.sum_rows(losses).tolist() == [1 + 2, 4 + 5 + 6, 8, 0]
    assert data.scored == (2, 3, 1, 0)
    assert data.groups == {
        "kind": ("kind 0", "kind 1", "kind 0", "filler"), "language": ("", "", "", ""), "modality": ("text", "text", "text", "text"),
    }  # fmt: skip


def test_a_row_says_its_language_and_its_modality_or_has_it_read_off_its_stream() -> None:
    tiles = np.zeros((1, 3, 2, 2), dtype=np.float32)
    words, picture, video = Stream(np.array([1, 2])), Stream(np.array([1, 9]), tiles), Stream(np.array([7, 9]), tiles)
    assert [modality_of(stream, video_start=7) for stream in (words, picture, video)] == ["text", "picture", "video"]
    assert modality_of(Stream(np.array([1]), tiles[:0])) == "text"
    assert [Row("k", stream, language="ko").group("modality") for stream in (words, picture, video)] == ["text", "picture", "picture"]
    row = Row("k", video, language="ko", modality=modality_of(video, 7))
    assert [row.group(grouping) for grouping in ("kind", "language", "modality")] == ["k", "ko", "video"]


def test_a_step_of_several_batches_goes_on_where_the_last_one_ended() -> None:
    source = Rows((3, 4, 5, 9, 2, 10, 1))
    alone = [pack(source, 0, 6, 10), pack(source, 2, 7, 10), pack(source, 3, 8, 10)]
    together = pack_step(source, 0, 2, 10, 3)
    assert [torch.equal(a.batch.token_ids, b.batch.token_ids) for a, b in zip(alone, together, strict=True)] == [True] * 3
    weights = [float(data.weights.sum()) for data in alone]
    assert [data.share for data in together] == pytest.approx([weight / sum(weights) for weight in weights])
    assert pack_step(source, 0, 2, 10, 1)[0].share == 1.0


def test_a_batch_moved_is_the_same_batch() -> None:
    data = pack(Rows((3, 4, 9)), 0, 0, 10)
    moved = data.to("cpu")
    assert torch.equal(data.batch.token_ids, moved.batch.token_ids) and torch.equal(data.weights, moved.weights)
    assert (moved.batch.lengths, moved.groups, moved.cursor) == (data.batch.lengths, data.groups, data.cursor)
    assert data.to("meta").batch.positions.device.type == "meta"


def test_pictures_travel_with_their_rows() -> None:
    class Pictures(Rows):
        def row(self, index: int) -> Row:
            return Row("picture", Stream(np.arange(4), np.full((1, 3, 2, 2), index, dtype=np.float32)))

    tiles = pack(Pictures(()), 5, 0, 10).batch.tiles
    assert tiles is not None and tiles[:, 0, 0, 0].tolist() == [5, 6]
