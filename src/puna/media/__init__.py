"""Pictures and videos in, tiles out: bytes, data: URLs, files and Pillow pictures become `puna.stream.Image` or `puna.stream.Video`.

Promises: whatever the bytes are, the answer is a `stream.Image`, a `stream.Video` or one `MediaError`; sizes are checked before anything
is decoded; the same bytes give the same tiles bit for bit. Does not know the chat format. Opens no network connection unless it is asked
for by name: `puna.media.fetch`, which takes a policy.
"""

from pathlib import Path

from PIL import Image as Pillow

from puna.config import VisionConfig
from puna.media.clip import MAX_VIDEO_BYTES
from puna.media.data_url import decode_data_url, is_data_url
from puna.media.error import FetchError, MediaError
from puna.media.image import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, decode_image, flatten
from puna.media.tiling import Canvas, choose_canvas, tile_image
from puna.media.video import FRAMES_PER_SECOND, MAX_FRAMES, is_video, sample_video, video_tokens
from puna.stream import Image, Video

__all__ = [
    "FRAMES_PER_SECOND",
    "MAX_FRAMES",
    "MAX_IMAGE_BYTES",
    "MAX_IMAGE_PIXELS",
    "MAX_VIDEO_BYTES",
    "Canvas",
    "FetchError",
    "MediaError",
    "choose_canvas",
    "decode_data_url",
    "decode_image",
    "is_video",
    "load_image",
    "load_media",
    "load_video",
    "sample_video",
    "tile_image",
    "video_tokens",
]

Source = bytes | str | Path | Pillow.Image


def load_image(source: Source, vision: VisionConfig) -> Image:
    """The tiles of one picture; of an animation, its first frame. A `str` is a data: URL or the path of a local file.

    Whoever takes strings from the network must not pass them here, or a stranger could name a local file:
    `decode_data_url` accepts data: URLs alone.
    """
    if isinstance(source, Pillow.Image):
        return tile_image(flatten(source), vision)
    data, name = _bytes(source)
    return tile_image(decode_image(data, name or "the picture"), vision)


def load_video(
    source: bytes | str | Path,
    vision: VisionConfig,
    *,
    frames_per_second: float = FRAMES_PER_SECOND,
    max_frames: int = MAX_FRAMES,
    max_tokens: int | None = None,
) -> Video:
    """The frames of one video, a tile each, as `sample_video` chooses them. `source` as in `load_image`, with the same warning."""
    if isinstance(source, Pillow.Image):
        raise MediaError("a video cannot be made from a Pillow picture; pass the file's path or its bytes")
    data, name = _bytes(source)
    options = {"frames_per_second": frames_per_second, "max_frames": max_frames, "max_tokens": max_tokens}
    return sample_video(data, vision, name or "the video", **options)


def load_media(source: Source, vision: VisionConfig, *, max_tokens: int | None = None) -> Image | Video:
    """A picture or a video: the bytes decide. A GIF or WebP of several frames is a video, of one frame a picture; so is a Pillow picture.

    `source` as in `load_image`, with the same warning.
    """
    if isinstance(source, Pillow.Image):
        return load_image(source, vision)
    data, name = _bytes(source)
    if is_video(data):
        return sample_video(data, vision, name or "the video", max_tokens=max_tokens)
    return tile_image(decode_image(data, name or "the picture"), vision)


def _bytes(source: bytes | str | Path) -> tuple[bytes, str]:
    """What is in `source`, and its name for error messages: "" unless it is a file."""
    if isinstance(source, str) and is_data_url(source):
        return decode_data_url(source), ""
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        raise MediaError(f"{source[:80]!r} is a web address, and nothing is fetched here; download it and pass the file or its bytes")
    if isinstance(source, str | Path):
        return _read_file(Path(source)), str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), ""
    raise MediaError(f"tiles cannot be made from {type(source).__name__}; pass bytes, a path, a data: URL or a Pillow picture")


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise MediaError(f"{path} is not a file; name a PNG, JPEG, WebP or GIF picture, or an mp4 or webm video")
        if size > MAX_VIDEO_BYTES:
            most = f"a picture may have at most {MAX_IMAGE_BYTES:,} and a video {MAX_VIDEO_BYTES:,}"
            raise MediaError(f"{path} has {size:,} bytes, but {most}; save it smaller")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL inside the path
        if isinstance(error, MediaError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MediaError(f"{str(path)[:200]} cannot be read: {reason}; check the path") from error
