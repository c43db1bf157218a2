import numpy as np
import pytest

from puna.stream import Image, Message, Stream, Text


def tiles(count: int) -> np.ndarray:
    return np.zeros((count, 3, 4, 4), dtype=np.float32)


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (3, (1, 2)), (3, (2, 1)), (7, (2, 3))])
def test_a_picture_of_several_tiles_has_a_global_one_beside_them(count: int, grid: tuple[int, int]) -> None:
    assert len(Image(tiles(count), grid).tiles) == count


@pytest.mark.parametrize(("count", "grid"), [(2, (1, 1)), (0, (1, 1)), (2, (1, 2)), (6, (2, 3)), (8, (2, 3))])
def test_a_picture_whose_tiles_do_not_fit_its_grid_is_refused(count: int, grid: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{grid[0]} x {grid[1]} tiles.*got {count}"):
        Image(tiles(count), grid)


def test_a_messages_text_leaves_pictures_out() -> None:
    message = Message("user", (Text("a "), Image(tiles(1), (1, 1)), Text("b")))
    assert message.text == "a b"
    assert Message("assistant").text == ""


def test_a_stream_counts_its_tokens_and_tiles() -> None:
    assert (len(Stream(np.arange(5))), Stream(np.arange(5)).num_tiles) == (5, 0)
    assert Stream(np.arange(5), tiles(3)).num_tiles == 3
