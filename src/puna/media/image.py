"""Bytes of unknown origin become an RGB picture, or a `MediaError`.

The bytes are hostile until decoded: length and pixel count are checked before the pixels are touched, only four formats are
tried, and every failure of the decoder turns into one sentence. Alpha is laid over white, as Meta's reference does. [meta]
Colour profiles are not applied. [meta]
Does not know of tiles: that is `tiling.py`.
"""

import logging
import warnings
from io import BytesIO

import numpy as np
from PIL import Image as Pillow

from puna.media.error import MediaError

MAX_IMAGE_BYTES = 20_000_000
# [ours] A 48-megapixel telephone photo fits; decoded with alpha, the largest picture takes 200 MB.
MAX_IMAGE_PIXELS = 50_000_000

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}

_log = logging.getLogger(__name__)


def decode_image(data: bytes, name: str = "the picture") -> Pillow.Image:
    """The RGB picture in `data` (PNG, JPEG, WebP, or the first frame of a GIF), turned upright. `name` is for error messages."""
    if not data:
        raise MediaError(f"{name} has 0 bytes; a picture needs some")
    if len(data) > MAX_IMAGE_BYTES:
        raise MediaError(f"{name} has {len(data):,} bytes, but a picture may have at most {MAX_IMAGE_BYTES:,}; save it smaller")
    picture = open_picture(data, name)
    try:
        picture.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ... on hostile bytes
        raise MediaError(
            f"{name} ({picture.format}, {picture.width} x {picture.height}) is damaged or cut short ({error}); send the whole file again"
        ) from error
    return flatten(picture, name)


def flatten(picture: Pillow.Image, name: str = "the picture") -> Pillow.Image:
    """`picture` as RGB: turned upright by its EXIF tag, 16-bit greys scaled, transparency laid over white."""
    _check_pixels(*picture.size, name)
    try:
        return _over_white(_upright(_to_8_bit(picture)))
    except (OSError, SyntaxError, ValueError) as error:
        raise MediaError(f"{name} of mode {picture.mode} cannot be turned into RGB ({error}); save it as a plain PNG or JPEG") from error


def open_picture(data: bytes, name: str, max_pixels: int = MAX_IMAGE_PIXELS) -> Pillow.Image:
    """The picture in `data`, its header read and its size checked, but not decoded yet."""
    size = _webp_size(data)
    if size:
        _check_pixels(*size, name, max_pixels)
    picture = _open(data, name)
    _check_pixels(*picture.size, name, max_pixels)
    return picture


def _open(data: bytes, name: str) -> Pillow.Image:
    """Reads the header only."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures by itself; our own, smaller bound is an error that says what to do.
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            return Pillow.open(BytesIO(_webp_with_alpha(data)), formats=FORMATS)
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise MediaError(f"{name} has far more than the {MAX_IMAGE_PIXELS:,} pixels that a picture may have; make it smaller") from error
    except Pillow.UnidentifiedImageError as error:
        start = data[:8].hex(" ")
        raise MediaError(
            f"{name} is not a PNG, JPEG, WebP or GIF picture, or its header is cut short ({len(data):,} bytes that start with {start}); "
            "send one of these formats; a video is an mp4, mov or webm file"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # as above: a format plug-in may fail in its own way while it reads the header
        raise MediaError(f"the header of {name} is damaged ({error}); save the picture again as PNG or JPEG") from error


def _check_pixels(width: int, height: int, name: str, most: int = MAX_IMAGE_PIXELS) -> None:
    if width < 1 or height < 1:
        raise MediaError(f"{name} has {width} x {height} pixels; a picture needs at least one")
    if width * height > most:
        raise MediaError(f"{name} has {width:,} x {height:,} pixels, but a picture may have at most {most:,}; make it smaller")


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) from a WebP header; None for other bytes. libwebp reserves the whole canvas on opening, so we must look first."""
    if len(data) < 30 or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def _webp_with_alpha(data: bytes) -> bytes:
    """An animated WebP whose header says that it may be transparent; other bytes as they are.

    Where no frame covers the canvas it is transparent, but an encoder that makes frames small and opaque does not set the flag, and
    Pillow would show black there.
    """
    is_animated = data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) > 20 and data[20] & 0x02
    return data[:20] + bytes([data[20] | 0x10]) + data[21:] if is_animated else data


def _upright(picture: Pillow.Image) -> Pillow.Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception as error:  # broken metadata must not cost the picture: browsers show it as stored, and so do we
        _log.warning("EXIF data cannot be read (%s); the picture is taken as stored", error)
        return picture
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def _to_8_bit(picture: Pillow.Image) -> Pillow.Image:
    """Greys of 16 bits, which Pillow's own `convert` would clip at 255, scaled to 8 bits."""
    if not picture.mode.startswith("I"):
        return picture
    levels = np.asarray(picture).astype(np.int64).clip(0, 65535)
    grey = Pillow.fromarray(((levels + 128) // 257).astype(np.uint8))
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Pillow.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)))
    if "exif" in picture.info:
        grey.info["exif"] = picture.info["exif"]
    return grey


def _over_white(picture: Pillow.Image) -> Pillow.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    white = Pillow.new("RGB", layer.size, (255, 255, 255))
    white.paste(layer, mask=layer.getchannel("A"))
    return white
