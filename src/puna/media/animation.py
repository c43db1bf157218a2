"""GIF and animated WebP through Pillow, a `clip.Clip`: Pillow lays each frame over those before it as the file asks.

FFmpeg, before its version 9, cannot read animated WebP; its GIF decoder gives the same frames as Pillow's.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from PIL import Image as Pillow

from puna.media import clip
from puna.media.error import MediaError
from puna.media.image import flatten, open_picture

# Browsers show a frame that asks for less than 20 ms for 100 ms, and so animations are made for that. [ours]
_SHORTEST_MS, _INSTEAD_MS = 20, 100


def is_animated(data: bytes, name: str = "the video") -> bool:
    """Whether `data` are a GIF or a WebP of several frames."""
    if data[:6] not in (b"GIF87a", b"GIF89a") and not (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return False
    try:
        return bool(getattr(open_picture(data, name), "is_animated", False))
    except MediaError:
        return False  # too broken to tell; whoever reads it as a picture says what is wrong


class Animation:
    """An opened GIF or WebP. It is read through once for the times, which also finds what is broken, and once for the frames."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name = data, name
        self._deadline = clip.Deadline(name)
        durations = [_shown_ms(picture) for picture in self._pictures()]
        self.times = [0.0, *(end / 1000 for end in accumulate(durations[:-1]))]

    def frames(self, chosen: Sequence[int]) -> Iterator[clip.Frame]:
        places = set(chosen)
        for place, picture in enumerate(self._pictures()):
            if place in places:
                yield clip.Frame(self.times[place], flatten(picture.copy(), self._name))
            if place == chosen[-1]:
                return

    def _pictures(self) -> Iterator[Pillow.Image]:
        """The file's picture, turned to one frame after the other and decoded."""
        picture = open_picture(self._data, self._name, clip.MAX_FRAME_PIXELS)
        for place in range(clip.MAX_FILE_FRAMES + 1):
            self._deadline.check()
            try:
                picture.seek(place)
                picture.load()
            except EOFError:
                return
            except MemoryError:
                raise
            except Exception as error:  # as in image.py: decoders fail in many ways on hostile bytes
                what = f"{picture.format}, {picture.width} x {picture.height}"
                raise MediaError(
                    f"{self._name} ({what}) is damaged or cut short at frame {place + 1} ({error}); send the whole file again"
                ) from error
            yield picture
        raise MediaError(f"{self._name} has more than {clip.MAX_FILE_FRAMES:,} frames, the most a video may have; cut it")


def _shown_ms(picture: Pillow.Image) -> float:
    asked = picture.info.get("duration", 0)
    return asked if asked >= _SHORTEST_MS else _INSTEAD_MS
