"""What the readers of video files share: frames with times, and what one file may cost. Knows no format and no tiles."""

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import NamedTuple, Protocol

from PIL import Image as Pillow

from puna.media.error import MediaError

# The bytes are hostile until decoded, so each of these is a bound that a file cannot pass. [ours]
MAX_VIDEO_BYTES = 200_000_000
# A frame of 4K video fits, in the wider of its two formats.
MAX_FRAME_PIXELS = 4096 * 2304
# An hour of 30 frames a second.
MAX_FILE_FRAMES = 108_000
# How long reading one video may take, in seconds. Two cores decode some 600 full-HD frames a second.
MAX_DECODE_S = 20.0


class Frame(NamedTuple):
    """An RGB picture, upright, and when it appears, in seconds from the first frame."""

    seconds: float
    picture: Pillow.Image


class Clip(Protocol):
    """An opened file. `times` are the seconds at which its frames appear: ascending, the first 0."""

    @property
    def times(self) -> Sequence[float]: ...
    def frames(self, chosen: Sequence[int]) -> Iterator[Frame]:
        """The frames at these places of `times`, in their order; a frame that cannot be had is replaced by the next one that can."""
        ...


class Deadline:
    """Raises once reading takes too long. Asked between frames, each of which is bounded."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._end = perf_counter() + MAX_DECODE_S

    def check(self) -> None:
        if perf_counter() > self._end:
            raise MediaError(f"{self._name} takes more than {MAX_DECODE_S:g} s to decode; send a shorter clip, or save it smaller")
