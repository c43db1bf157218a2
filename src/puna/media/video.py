"""Bytes of unknown origin become a sampled `puna.stream.Video`, or a `MediaError`: mp4, mov, webm, mkv, GIF and animated WebP.

One way for all formats: learn at which times the file shows frames, choose some of them, decode those and put each into one tile.
What is read with PyAV is in `container.py`, what Pillow reads better in `animation.py`; both answer as a `clip.Clip`, and what a file may
cost stands there. Times come from the file, never from a frame rate. Sound is not read.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from puna.config import VisionConfig
from puna.media import clip as limits
from puna.media.animation import Animation, is_animated
from puna.media.clip import Clip
from puna.media.container import Container, container_format
from puna.media.error import MediaError
from puna.media.tiling import tile_image
from puna.stream import Video

# How many frames the model sees. [ours] Motion over half a second shows; the longest video takes 32 tiles, two large pictures' worth.
FRAMES_PER_SECOND = 2.0
MAX_FRAMES = 32
# What a frame costs beside its patches: its separator and its time, at most as long as "9999.9s".
TOKENS_BESIDE_PATCHES = 8
# One video takes at most this share of a model's context: four questions about videos fit into one conversation. [ours]
CONTEXT_SHARE = 1 / 4


def is_video(data: bytes) -> bool:
    """Whether `data` are a container of videos, or a GIF or WebP of several frames. Says nothing of whether they can be decoded."""
    return container_format(data) is not None or is_animated(data)


def sample_video(
    data: bytes,
    vision: VisionConfig,
    name: str = "the video",
    *,
    frames_per_second: float = FRAMES_PER_SECOND,
    max_frames: int = MAX_FRAMES,
    max_tokens: int | None = None,
) -> Video:
    """The video in `data`, one tile a frame. `name` is for error messages.

    Frames are taken `frames_per_second` apart, or farther if `max_frames` or `max_tokens` would be exceeded; always evenly over the whole
    clip, the first and the last included. A frame that stays longer than that is taken once.
    """
    if not frames_per_second > 0 or max_frames < 1:
        raise MediaError(f"frames_per_second={frames_per_second} and max_frames={max_frames} take no frame; both must be above 0")
    if not data:
        raise MediaError(f"{name} has 0 bytes; a video needs some")
    if len(data) > limits.MAX_VIDEO_BYTES:
        rule = f"a video may have at most {limits.MAX_VIDEO_BYTES:,}"
        raise MediaError(f"{name} has {len(data):,} bytes, but {rule}; cut it or save it smaller")
    if max_tokens is not None:
        max_frames = min(max_frames, frames_within(max_tokens, vision))
    opened = _open(data, name)
    tiles, times = [], []
    one_tile = replace(vision, max_tiles=1)
    for frame in opened.frames(choose_frames(opened.times, frames_per_second, max_frames)):
        tiles.append(tile_image(frame.picture, one_tile).tiles[0])
        times.append(frame.seconds)
    return Video(np.stack(tiles), tuple(times))


def video_tokens(context: int) -> int:
    """How many of a context's tokens one video may take: the `max_tokens` for a model that reads so many."""
    return int(context * CONTEXT_SHARE)


def frames_within(max_tokens: int, vision: VisionConfig) -> int:
    """How many frames fit into so many tokens; at least one."""
    return max(1, max_tokens // (vision.tokens_per_tile + TOKENS_BESIDE_PATCHES))


def choose_frames(times: Sequence[float], frames_per_second: float, max_frames: int) -> list[int]:
    """Places in `times` of the frames to show: those that are on screen at evenly spread moments from the first frame to the last.

    >>> choose_frames([0, 0.25, 0.5, 0.75, 1.0], frames_per_second=2, max_frames=32)
    [0, 2, 4]
    >>> choose_frames([0, 0.1, 60], frames_per_second=2, max_frames=32)
    [0, 1, 2]
    """
    length = times[-1]
    moments = min(max_frames, 1 + max(1, round(length * frames_per_second)))
    # The margin keeps a frame at its own time whatever the last bit of either says.
    places = np.searchsorted(times, np.linspace(0, length, moments) + 1e-6, side="right") - 1
    return np.unique(places).tolist()


def _open(data: bytes, name: str) -> Clip:
    form = container_format(data)
    if form is not None:
        return Container(data, form, name)
    if is_animated(data, name):
        return Animation(data, name)
    start = data[:8].hex(" ")
    raise MediaError(f"{name} is no video: its {len(data):,} bytes start with {start}; send mp4, mov, webm, or a GIF or WebP that moves")
