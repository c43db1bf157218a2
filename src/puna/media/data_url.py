"""data: URLs (RFC 2397), read strictly: base64 only, types of pictures and videos only, bounded before decoding.

The declared type must be one of ours, but the bytes decide what they are: clients often mislabel them.
"""

import binascii
import re

from puna.media.clip import MAX_VIDEO_BYTES
from puna.media.error import MediaError
from puna.media.image import MAX_IMAGE_BYTES

IMAGE_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif")
VIDEO_TYPES = ("video/mp4", "video/webm", "video/quicktime", "video/x-m4v", "video/x-matroska", "video/matroska")
_HEAD = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+)?((?:;[a-z0-9.+-]+=[^;,]*)*)(;base64)?", re.IGNORECASE)
# Longest head that we look at, so that a megabyte without a comma costs nothing.
_MAX_HEAD = 256


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def decode_data_url(url: str, max_bytes: int | None = None) -> bytes:
    """The bytes inside `data:image/png;base64,...` or `data:video/mp4;base64,...`: `max_bytes`, or what its declared type may have.

    >>> decode_data_url("data:image/png;base64,iVBORw==")
    b'\\x89PNG'
    """
    head, payload = _split(url)
    match = _HEAD.fullmatch(head)
    if match is None:
        raise MediaError(f"{head!r} is not the head of a data: URL; write data:image/png;base64,...")
    media_type, _, base64 = match.groups()
    if base64 is None:
        raise MediaError(f"the data: URL {head!r} is not base64; write data:image/png;base64,...")
    if (media_type or "").lower() not in (*IMAGE_TYPES, *VIDEO_TYPES):
        known = f"a picture is one of {', '.join(IMAGE_TYPES)}, a video one of {', '.join(VIDEO_TYPES)}"
        raise MediaError(f"the data: URL declares {media_type or 'no type'}; {known}")
    what, most = ("a video", MAX_VIDEO_BYTES) if (media_type or "").lower() in VIDEO_TYPES else ("a picture", MAX_IMAGE_BYTES)
    max_bytes = most if max_bytes is None else max_bytes
    if len(payload) > 4 * -(-max_bytes // 3):
        size = len(payload) * 3 // 4
        raise MediaError(f"the data: URL holds about {size:,} bytes, but {what} may have at most {max_bytes:,}; save it smaller")
    try:
        data = binascii.a2b_base64(payload, strict_mode=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters outside ASCII
        reason = str(error)[:1].lower() + str(error)[1:]
        raise MediaError(f"the data: URL is not clean base64 ({reason}); send the standard alphabet with padding and no spaces") from error
    if len(data) > max_bytes:
        raise MediaError(f"the data: URL holds {len(data):,} bytes, but {what} may have at most {max_bytes:,}; save it smaller")
    return data


def _split(url: str) -> tuple[str, str]:
    if not is_data_url(url):
        raise MediaError(f"{url[:40]!r} is not a data: URL; write data:image/png;base64,...")
    comma = url.find(",", 0, _MAX_HEAD)
    if comma < 0:
        raise MediaError(f"the data: URL {url[:40]!r} has no comma in its first {_MAX_HEAD} characters; write data:image/png;base64,...")
    return url[:comma], url[comma + 1 :]
