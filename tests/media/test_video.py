"""Videos in every format become sampled frames with the file's own times; whatever is wrong with a file is one sentence."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from puna.config import VisionConfig
from puna.media import MediaError, clip, is_video, load_image, load_media, load_video, tile_image
from puna.media.container import Container
from puna.media.video import choose_frames, frames_within, sample_video
from puna.stream import Image, Video
from puna.testing.pictures import encoded, noise_picture
from puna.testing.videos import animation, container, evenly, gif, moving_square, mp4, sound, webm, webp

VISION = VisionConfig(tile_size=64, patch_size=8, width=16, num_layers=1, num_heads=2, adapter_width=16)
FORMATS = {
    "mp4, H.264": mp4,
    "mp4, MPEG-4": lambda: container(moving_square(), evenly(5), codec="mpeg4"),
    "webm, VP9": webm,
    "webm, AV1": lambda: container(moving_square(), evenly(5), "webm", "libsvtav1"),
    "gif": gif,
    "webp": webp,
}


def square(tile: np.ndarray) -> tuple[float, float]:
    """(x, y) of the red square's middle in a tile [3, 64, 64], in pixels."""
    y, x = np.nonzero((tile[0] > 0.4) & (tile[1] < -0.4))
    return float(x.mean()), float(y.mean())


@pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS.keys())
def test_every_format_gives_the_same_frames_at_the_same_times(make) -> None:
    video = load_video(make(), VISION)
    assert video.timestamps == (0.0, 0.5, 1.0, 1.5, 2.0)
    assert video.tiles.shape == (5, 3, 64, 64) and video.tiles.dtype == np.float32
    # 128 x 64 pixels fit into a tile at half size: the square's middle goes from 3.5 to 59.5, at a height of 11.5.
    assert [square(tile) for tile in video.tiles] == [pytest.approx((3.5 + 14 * i, 11.5), abs=0.4) for i in range(5)]


def test_a_frame_is_cut_as_a_picture_of_one_tile_is() -> None:
    frames = [noise_picture(50, 70, seed=seed) for seed in range(3)]
    video = load_video(animation(frames, [0.5] * 3, "WEBP"), VISION)
    one_tile = VisionConfig(tile_size=64, patch_size=8, width=16, num_layers=1, num_heads=2, adapter_width=16, max_tiles=1)
    for tile, frame in zip(video.tiles, frames, strict=True):
        assert np.array_equal(tile, tile_image(frame, one_tile).tiles[0])
        assert tile[:, 46:].max() == -1.0  # letterboxed: black below, as tiling does


def test_every_source_gives_the_same_video(tmp_path: Path) -> None:
    import base64

    data, path = mp4(), tmp_path / "clip.mp4"
    path.write_bytes(data)
    url = "data:video/mp4;base64," + base64.b64encode(data).decode()
    videos = [load_media(source, VISION) for source in (data, path, str(path), url)]
    assert all(isinstance(video, Video) and np.array_equal(video.tiles, videos[0].tiles) for video in videos)
    with pytest.raises(MediaError, match="Pillow picture"):
        load_video(noise_picture(8, 8), VISION)  # pyright: ignore[reportArgumentType]


# Which frames


def test_frames_are_chosen_by_the_file_s_times_not_by_their_number() -> None:
    video = load_video(container(moving_square(4), [1.0, 1.1, 2.5, 9.0]), VISION)
    assert video.timestamps == pytest.approx((0.0, 0.1, 1.5, 8.0))


def test_a_fast_clip_is_thinned_to_two_frames_a_second() -> None:
    video = load_video(container(moving_square(31), evenly(31, 10)), VISION)
    assert video.timestamps == pytest.approx((0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0))
    assert [square(tile)[0] for tile in video.tiles] == pytest.approx([3.5 + 56 * i / 6 for i in range(7)], abs=0.6)


@pytest.mark.parametrize("make", [mp4, gif], ids=["mp4", "gif"])
def test_a_long_clip_is_seen_from_its_first_frame_to_its_last(make) -> None:
    options = {"max_frames": 4} if make is mp4 else {"max_tokens": 4 * (16 + 8)}
    video = load_video(make(40), VISION, **options)
    assert len(video.timestamps) == 4
    assert (video.timestamps[0], video.timestamps[-1]) == (0.0, 19.5)
    assert np.ptp(np.diff(video.timestamps)) <= 0.5
    assert (square(video.tiles[0])[0], square(video.tiles[-1])[0]) == pytest.approx((3.5, 59.5), abs=0.4)


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ([0.0], [0]),
        ([0.0, 0.04], [0, 1]),
        ([0.0, 0.3, 0.6], [0, 2]),
        ([0.0, 3.0], [0, 1]),  # a frame that stays is taken once
        ([0.0, 0.5, 1.0, 1.04], [0, 1, 3]),
        (evenly(6, 2), [0, 1, 2, 3, 4, 5]),
        ([0.1 * i for i in range(16)], [0, 5, 10, 15]),
    ],
)
def test_chosen_frames_are_on_screen_at_even_moments(times: list[float], chosen: list[int]) -> None:
    assert choose_frames(times, 2.0, 32) == chosen


def test_at_most_so_many_frames_are_chosen_and_the_last_is_among_them() -> None:
    for count in (1, 2, 3, 7, 50, 1000):
        for most in (1, 2, 5, 32):
            chosen = choose_frames(evenly(count, 30), 2.0, most)
            assert len(chosen) <= most and chosen[0] == 0
            assert most == 1 or chosen[-1] == count - 1


def test_a_token_budget_counts_patches_separator_and_time() -> None:
    assert [frames_within(tokens, VISION) for tokens in (0, 24, 47, 48, 24_000)] == [1, 1, 1, 2, 1000]


@pytest.mark.parametrize("options", [{"max_frames": 0}, {"frames_per_second": 0}, {"frames_per_second": float("nan")}])
def test_options_that_take_no_frame_are_refused(options) -> None:
    with pytest.raises(MediaError, match="take no frame"):
        sample_video(mp4(), VISION, **options)


@pytest.mark.parametrize("group", ["1", "4", "7"])
def test_frames_far_apart_are_the_same_as_when_all_are_decoded(group: str) -> None:
    """Between them the decoder skips whole groups of pictures; B-frames look back over a group's edge."""
    options = {"g": group, "bf": "2", "x264-params": "open-gop=1"}
    data = container(moving_square(60), evenly(60, 30), options=options)
    opened = Container(data, "mov", "clip")
    everything = [np.asarray(frame.picture) for frame in opened.frames(range(60))]
    assert len(everything) == 60
    for chosen in ([59], [13], [0, 21, 22, 45], [5, 30, 59]):
        found = list(Container(data, "mov", "clip").frames(chosen))
        assert [frame.seconds for frame in found] == [opened.times[place] for place in chosen]
        assert all(np.array_equal(np.asarray(frame.picture), everything[place]) for frame, place in zip(found, chosen, strict=True))


# How frames look


@pytest.mark.parametrize(
    ("rotation", "start", "end"), [(90, (11.5, 59.5), (11.5, 3.5)), (180, (59.5, 19.5), (3.5, 19.5)), (-90, (19.5, 3.5), (19.5, 59.5))]
)
def test_frames_are_turned_upright(rotation: int, start: tuple[float, float], end: tuple[float, float]) -> None:
    tiles = load_video(container(moving_square(3), evenly(3), rotation=rotation), VISION).tiles
    assert square(tiles[0]) == pytest.approx(start, abs=0.6)
    assert square(tiles[-1]) == pytest.approx(end, abs=0.6)


def test_pixels_that_are_not_square_are_made_so() -> None:
    tile = load_video(container(moving_square(3), evenly(3), pixel_aspect=Fraction(1, 2)), VISION).tiles[0]
    assert tile.max(axis=(0, 1)).min() > 0 and tile.max(axis=(0, 2)).min() > 0  # 128 x 64 seen as 64 x 64: no black edge


def dots(count: int = 4) -> list[Pillow.Image]:
    """A red square on nothing, each time elsewhere."""
    pictures = []
    for place in range(count):
        picture = Pillow.new("RGBA", (64, 64), (0, 0, 0, 0))
        ImageDraw.Draw(picture).rectangle([place * 16, 8, place * 16 + 7, 15], fill=(255, 0, 0, 255))
        pictures.append(picture)
    return pictures


@pytest.mark.parametrize(
    ("form", "disposal", "squares"), [("GIF", 1, [1, 2, 3, 4]), ("GIF", 2, [1] * 4), ("GIF", 3, [1] * 4), ("WEBP", 0, [1] * 4)]
)
def test_transparent_frames_lie_over_white_and_are_disposed_of_as_the_file_asks(form: str, disposal: int, squares: list[int]) -> None:
    tiles = load_video(animation(dots(), [0.5] * 4, form, disposal), VISION).tiles
    assert [int((tile[1] < 0).sum()) for tile in tiles] == [64 * count for count in squares]
    assert all(np.array_equal(np.unique(tile), [-1.0, 1.0]) for tile in tiles)


def test_frames_without_a_time_are_shown_as_browsers_show_them() -> None:
    pictures = [Pillow.fromarray(frame) for frame in moving_square(4)]
    assert load_video(animation(pictures, [0.0, 0.01, 0.3, 0.5]), VISION, frames_per_second=10).timestamps == pytest.approx(
        (0.0, 0.1, 0.2, 0.5)
    )


# Pictures and videos are told apart by their bytes


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "JPEG"])
def test_a_picture_stays_a_picture(form: str) -> None:
    data = encoded(noise_picture(64, 64), form)
    assert not is_video(data)
    assert isinstance(load_media(data, VISION), Image)
    with pytest.raises(MediaError, match="is no video"):
        load_video(data, VISION)


@pytest.mark.parametrize("make", [gif, webp])
def test_an_animation_is_a_video_unless_a_picture_is_asked_for(make) -> None:
    assert is_video(make())
    assert isinstance(load_media(make(), VISION), Video)
    assert isinstance(load_image(make(), VISION), Image)


def test_one_frame_in_a_container_is_a_video_of_one_frame() -> None:
    assert load_video(mp4(1), VISION).timestamps == (0.0,)


# What cannot be used


def fragmented() -> bytes:
    """An mp4 with its index in front and pieces behind, as a browser or a stream makes them."""
    options = {"movflags": "frag_keyframe+empty_moov"}
    return container(moving_square(30), evenly(30, 10), options={"g": "10"}, container_options=options)


BROKEN = {
    "nothing": (b"", "has 0 bytes"),
    "text": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "is no video: its .* bytes start with 23 45 58 54"),
    "a container's first bytes": (b"\x00\x00\x00\x18ftypmp42" + bytes(100), "damaged, cut short or no video"),
    "noise in mp4": (b"\x00\x00\x00\x18ftypmp42" + np.random.default_rng(0).bytes(5000), "damaged, cut short or no video"),
    "noise in webm": (b"\x1a\x45\xdf\xa3" + np.random.default_rng(0).bytes(5000), "damaged, cut short or no video"),
    "mp4 without its end": (mp4()[:-400], "damaged, cut short or no video"),
    "fragments cut": (fragmented()[: len(fragmented()) * 7 // 10], "is cut short"),
    "fragments lost": (fragmented()[:700], "has 0 frames"),
    "webm cut": (webm(40)[: len(webm(40)) // 2], "it says that it lasts 19.5 s and holds 5.5 s"),
    "gif cut": (gif(12)[:-150], r"\(GIF, 128 x 64\) is damaged or cut short at frame"),
    "webp cut": (webp(12)[:-150], "damaged|is no video"),
    "sound alone": (sound(), "holds no pictures but sound"),
    "all frames at once": (
        container(moving_square(3), [0.0, 0.0, 0.0], "webm", "libvpx-vp9"),
        "lasts 0 s: its 3 frames all have the same time",
    ),
    "a rare codec": (container(moving_square(2), evenly(2), "matroska", "msmpeg4"), "is coded as msmpeg4"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_cannot_be_used_is_one_sentence(what: str) -> None:
    data, words = BROKEN[what]
    with pytest.raises(MediaError, match=words) as caught:
        sample_video(data, VISION, "clip")
    assert str(caught.value).startswith("clip ") and "\n" not in str(caught.value)
    assert any(way in str(caught.value) for way in ("send", "save", "needs"))


@pytest.mark.parametrize("make", [mp4, webm, gif, webp])
def test_damaged_bytes_never_end_in_anything_but_a_video_or_one_error(make) -> None:
    chance, data = np.random.default_rng(1), make(12)
    for _ in range(60):
        broken = bytearray(data)
        for place in chance.integers(0, len(data), chance.integers(1, 30)):
            broken[place] = chance.integers(256)
        broken = bytes(broken[: chance.integers(1, len(data) + 1)]) if chance.random() < 0.3 else bytes(broken)
        try:
            assert len(sample_video(broken, VISION).timestamps) >= 1
        except MediaError:
            pass


LIMITS = {
    "MAX_VIDEO_BYTES": (100, "bytes, but a video may have at most 100"),
    "MAX_FRAME_PIXELS": (1000, "128 x 64 pixels, but a (frame|picture) may have at most 1,000"),
    "MAX_FILE_FRAMES": (4, "more than 4 frames"),
    "MAX_DECODE_S": (0, "takes more than 0 s to decode"),
}


@pytest.mark.parametrize("make", [mp4, webm, gif, webp])
@pytest.mark.parametrize("name", LIMITS)
def test_what_a_file_may_cost_is_bounded(name: str, make, monkeypatch: pytest.MonkeyPatch) -> None:
    value, words = LIMITS[name]
    monkeypatch.setattr(clip, name, value)
    with pytest.raises(MediaError, match=words):
        load_video(make(), VISION)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.mp4"
    with path.open("wb") as file:
        file.truncate(clip.MAX_VIDEO_BYTES + 1)
    with pytest.raises(MediaError, match="200,000,001 bytes, but a picture may have at most 20,000,000 and a video 200,000,000"):
        load_media(path, VISION)
