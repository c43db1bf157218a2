"""Pictures in, tiles out: bytes, data: URLs, files and Pillow pictures become `puna.stream.Image`.

Promises: whatever the bytes are, the answer is a `stream.Image` or one `MediaError`; sizes are checked before anything is decoded;
the same picture gives the same tiles bit for bit. Does not know the chat format, and never opens a network connection.
"""

from pathlib import Path

from PIL import Image as Pillow

from puna.config import VisionConfig
from puna.media.data_url import decode_data_url, is_data_url
from puna.media.error import MediaError
from puna.media.image import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, decode_image, flatten
from puna.media.tiling import Canvas, choose_canvas, tile_image
from puna.stream import Image

__all__ = [
    "MAX_IMAGE_BYTES",
    "MAX_IMAGE_PIXELS",
    "Canvas",
    "MediaError",
    "choose_canvas",
    "decode_data_url",
    "decode_image",
    "load_image",
    "tile_image",
]


def load_image(source: bytes | str | Path | Pillow.Image, vision: VisionConfig) -> Image:
    """The tiles of one picture. A `str` is a data: URL or the path of a local file.

    Whoever takes strings from the network must not pass them here, or a stranger could name a local file:
    `decode_data_url` accepts data: URLs alone.
    """
    if isinstance(source, Pillow.Image):
        return tile_image(flatten(source), vision)
    if isinstance(source, str) and is_data_url(source):
        return tile_image(decode_image(decode_data_url(source)), vision)
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        raise MediaError(f"{source[:80]!r} is a web address, and pictures are not fetched here; download it and pass the file or its bytes")
    if isinstance(source, str | Path):
        return tile_image(decode_image(_read_file(Path(source)), name=str(source)), vision)
    if isinstance(source, bytes | bytearray | memoryview):
        return tile_image(decode_image(bytes(source)), vision)
    raise MediaError(f"a picture cannot be made from {type(source).__name__}; pass bytes, a path, a data: URL or a Pillow picture")


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise MediaError(f"{path} is not a file; name a PNG, JPEG, WebP or GIF file")
        if size > MAX_IMAGE_BYTES:
            raise MediaError(f"{path} has {size:,} bytes, but a picture may have at most {MAX_IMAGE_BYTES:,}; save it smaller")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL inside the path
        if isinstance(error, MediaError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MediaError(f"{str(path)[:200]} cannot be read: {reason}; check the path") from error
