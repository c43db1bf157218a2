import numpy as np
import pytest

from puna.stream import Image, Message, Stream, Text, Video


def tiles(count: int) -> np.ndarray:
    return np.zeros((count, 3, 4, 4), dtype=np.float32)


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (3, (1, 2)), (3, (2, 1)), (7, (2, 3))])
def test_a_picture_of_several_tiles_has_a_global_one_beside_them(count: int, grid: tuple[int, int]) -> None:
    assert len(Image(tiles(count), grid).tiles) == count


@pytest.mark.parametrize(("count", "grid"), [(2, (1, 1)), (0, (1, 1)), (2, (1, 2)), (6, (2, 3)), (8, (2, 3))])
def test_a_picture_whose_tiles_do_not_fit_its_grid_is_refused(count: int, grid: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{grid[0]} x {grid[1]} tiles.*got {count}"):
        Image(tiles(count), grid)


@pytest.mark.parametrize("timestamps", [(0.0,), (0.0, 0.5, 1.0), (3.25, 3.5, 90)])
def test_a_video_has_one_tile_a_frame(timestamps: tuple[float, ...]) -> None:
    assert len(Video(tiles(len(timestamps)), timestamps).tiles) == len(timestamps)


@pytest.mark.parametrize(
    ("count", "timestamps", "words"),
    [
        (2, (0.0,), "2 tiles and 1 timestamps"),
        (1, (0.0, 0.5), "1 tiles and 2 timestamps"),
        (0, (), "a video of 0 frames shows nothing"),
        (2, (0.5, 0.5), "timestamp 0.5 s after 0.5 s"),
        (3, (0.0, 1.0, 0.5), "timestamp 0.5 s after 1.0 s"),
        (1, (-0.1,), "first timestamp -0.1 s"),
        (1, (float("nan"),), "first timestamp nan s"),
        (2, (0.0, float("inf")), "timestamp inf s after 0.0 s"),
    ],
)
def test_a_video_whose_times_do_not_fit_its_frames_is_refused(count: int, timestamps: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Video(tiles(count), timestamps)


def test_a_video_of_something_else_than_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        Video(np.zeros((2, 3), dtype=np.float32), (0.0, 0.5))


def test_a_messages_text_leaves_pictures_and_videos_out() -> None:
    message = Message("user", (Text("a "), Image(tiles(1), (1, 1)), Video(tiles(1), (0.0,)), Text("b")))
    assert message.text == "a b"
    assert Message("assistant").text == ""


def test_a_stream_counts_its_tokens_and_tiles() -> None:
    assert (len(Stream(np.arange(5))), Stream(np.arange(5)).num_tiles) == (5, 0)
    assert Stream(np.arange(5), tiles(3)).num_tiles == 3
