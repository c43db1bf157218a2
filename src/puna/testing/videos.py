"""Small videos for tests: a red square on white that steps to the right, in every format that `puna.media` reads."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import numpy as np
from PIL import Image as Pillow

TICK = Fraction(1, 1000)


def moving_square(count: int = 5, height: int = 64, width: int = 128, side: int = 16) -> list[np.ndarray]:
    """`count` frames uint8 `[height, width, 3]`; the square stands at the left edge in the first, at the right edge in the last."""
    frames = []
    for place in range(count):
        frame = np.full((height, width, 3), 255, dtype=np.uint8)
        left = round(place * (width - side) / max(count - 1, 1))
        frame[height // 4 : height // 4 + side, left : left + side] = (255, 0, 0)
        frames.append(frame)
    return frames


def evenly(count: int, frames_per_second: float = 2) -> list[float]:
    """The times of so many frames, in seconds."""
    return [place / frames_per_second for place in range(count)]


def container(
    frames: Sequence[np.ndarray],
    times: Sequence[float],
    form: str = "mp4",
    codec: str = "libx264",
    *,
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
) -> bytes:
    """A file of `form` "mp4" (codec "libx264", "mpeg4") or "webm" ("libvpx-vp9", "libsvtav1"); `times` in seconds, in order.

    `rotation`: degrees counterclockwise by which a player turns the frames. `options` go to the encoder, `container_options` to the file.
    """
    buffer = BytesIO()
    with av.open(buffer, "w", format=form, container_options=dict(container_options or {})) as file:
        stream: Any = file.add_stream(codec, rate=30, options=dict(options or _quick(codec)))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TICK
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for pixels, seconds in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(seconds / TICK), TICK
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def mp4(count: int = 5, frames_per_second: float = 2) -> bytes:
    """The moving square in H.264."""
    return container(moving_square(count), evenly(count, frames_per_second))


def webm(count: int = 5, frames_per_second: float = 2) -> bytes:
    """The moving square in VP9."""
    return container(moving_square(count), evenly(count, frames_per_second), "webm", "libvpx-vp9")


def animation(pictures: Sequence[Pillow.Image], durations_s: Sequence[float], form: str = "GIF", disposal: int = 0) -> bytes:
    """A GIF or an animated WebP; each picture stays for its duration."""
    buffer = BytesIO()
    options = {"lossless": True} if form == "WEBP" else {"disposal": disposal}
    durations = [round(seconds * 1000) for seconds in durations_s]
    pictures[0].save(buffer, form, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **options)
    return buffer.getvalue()


def gif(count: int = 5, seconds: float = 0.5) -> bytes:
    """The moving square as a GIF."""
    return animation([Pillow.fromarray(frame) for frame in moving_square(count)], [seconds] * count)


def webp(count: int = 5, seconds: float = 0.5) -> bytes:
    """The moving square as an animated WebP."""
    return animation([Pillow.fromarray(frame) for frame in moving_square(count)], [seconds] * count, "WEBP")


def sound(seconds: float = 1.0) -> bytes:
    """An mp4 file with sound and no pictures."""
    rate, buffer = 16_000, BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream: Any = file.add_stream("aac", rate=rate)
        for start in range(0, round(seconds * rate), 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def _quick(codec: str) -> dict[str, str]:
    return {"libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"}, "libsvtav1": {"preset": "12"}}.get(codec, {})
