import numpy as np
import pytest
import torch

from puna.model import Batch
from puna.stream import Stream


def stream(*ids: int, tiles: int = 0) -> Stream:
    return Stream(np.array(ids), np.full((tiles, 3, 2, 2), ids[0], dtype=np.float32) if tiles else None)


def test_streams_stand_end_to_end_with_their_own_positions() -> None:
    batch = Batch.from_streams([stream(7, 8, 9), stream(5), stream(6, 4)])
    assert batch.token_ids.tolist() == [7, 8, 9, 5, 6, 4]
    assert batch.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert (batch.lengths, batch.first_positions, batch.tiles, len(batch)) == ((3, 1, 2), (0, 0, 0), None, 6)
    assert batch.token_ids.dtype == batch.positions.dtype == torch.int64


def test_a_continued_stream_keeps_its_true_positions() -> None:
    batch = Batch.from_streams([stream(1, 2), stream(3)], [10_485_758, 4])
    assert batch.positions.tolist() == [10_485_758, 10_485_759, 4]


def test_tiles_follow_the_order_of_their_streams() -> None:
    batch = Batch.from_streams([stream(3, tiles=2), stream(1), stream(9, tiles=1)])
    assert batch.tiles is not None
    assert batch.tiles[:, 0, 0, 0].tolist() == [3, 3, 9]


def test_a_stream_of_no_tiles_is_a_stream_without_pictures() -> None:
    assert Batch.from_streams([Stream(np.array([1]), np.zeros((0, 3, 2, 2), dtype=np.float32))]).tiles is None


def test_ids_of_any_integer_kind_and_lists_are_read() -> None:
    for ids in (np.array([1, 2], dtype=np.int32), np.array([1, 2], dtype=np.uint16), [1, 2]):
        assert Batch.from_streams([Stream(ids)]).token_ids.tolist() == [1, 2]  # type: ignore[arg-type]


def test_one_first_position_a_stream() -> None:
    with pytest.raises(ValueError):
        Batch.from_streams([stream(1), stream(2)], [0])


def test_layers_of_one_chunk_share_one_plan_and_others_have_their_own() -> None:
    batch = Batch.from_streams([stream(*range(20))])
    assert batch.plan(8) is batch.plan(8)
    assert [int(bucket.lengths.sum()) for bucket in batch.plan(None).buckets] == [20]
    assert sorted(int(bucket.lengths.sum()) for bucket in batch.plan(8).buckets) == [4, 16]
    assert Batch.from_streams([stream(1)]).plan(8) is not batch.plan(8)
