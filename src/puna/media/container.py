"""mp4, mov, webm and mkv through PyAV: a `clip.Clip` whose times are those of the file's packets.

The packets are read first, which costs no decoding: they say at which times the file shows frames. Only what the chosen frames need is
decoded then. The format is told to FFmpeg from the first bytes and never guessed, since some formats that it knows open other files.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any, cast

import av
import av.container
import av.stream
from PIL import Image as Pillow

from puna.media import clip
from puna.media.error import MediaError

# FFmpeg's names. Common codecs only: the decoders of rare ones are the less tested. [ours]
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg")
# By degrees counterclockwise, as FFmpeg gives them.
_TURNS = {
    90: Pillow.Transpose.ROTATE_90,
    180: Pillow.Transpose.ROTATE_180,
    -180: Pillow.Transpose.ROTATE_180,
    -90: Pillow.Transpose.ROTATE_270,
}
# A file that says it lasts longer than what it holds is cut short. Headers are not exact: this much is forgiven, in seconds and as a share.
_SLACK_S, _SLACK_SHARE = 0.5, 0.05


def container_format(data: bytes) -> str | None:
    """FFmpeg's name for the container that `data` begins with; None for anything else."""
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    return "matroska" if data[:4] == b"\x1a\x45\xdf\xa3" else None


class Container:
    """An opened file of format `form`, FFmpeg's name for it. Raises `MediaError` unless it holds a video that ends where it says."""

    def __init__(self, data: bytes, form: str, name: str) -> None:
        self._name = name
        self._deadline = clip.Deadline(name)
        try:
            self._file = cast(av.container.InputContainer, av.open(BytesIO(data), format=form, metadata_errors="replace"))
            self._stream = self._picture_stream()
            self._packets = self._read_packets()
        except MediaError:
            raise
        except Exception as error:  # on hostile bytes PyAV also raises UnicodeDecodeError, MemoryError, ...
            raise self._damaged(error) from error
        showing = [packet.pts for packet in self._packets if packet.pts is not None and not packet.is_discard]
        self._pts = sorted(set(showing))
        if not showing:
            raise MediaError(f"{name} has 0 frames; it was cut short or holds no video: send the whole file, or another")
        if len(showing) > len(self._pts) == 1:
            raise MediaError(f"{name} lasts 0 s: its {len(showing)} frames all have the same time; save it again, as mp4 or webm")
        self.times = [self._seconds(pts) for pts in self._pts]

    def frames(self, chosen: Sequence[int]) -> Iterator[clip.Frame]:
        wanted = [self._pts[place] for place in chosen]
        last, shown = None, float("-inf")
        try:
            for frame in self._decode(wanted):
                self._deadline.check()
                if frame.is_corrupt or frame.pts is None or frame.pts < self._pts[0]:
                    continue
                last = frame
                if frame.pts >= wanted[0]:
                    wanted = wanted[bisect_right(wanted, frame.pts) :]
                    if frame.pts > shown:
                        shown = frame.pts
                        yield self._frame(frame)
                if not wanted:
                    return
        except MediaError:
            raise
        except Exception as error:  # as above
            raise self._damaged(error) from error
        if last is None:
            raise MediaError(f"{self._name} holds {len(self._pts)} frames, but none of them can be decoded; save it again, as mp4 or webm")
        if last.pts > shown:
            yield self._frame(last)

    def _picture_stream(self) -> Any:
        streams = [s for s in self._file.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            sound = " but sound" if self._file.streams.audio else ""
            raise MediaError(f"{self._name} holds no pictures{sound}: it has no video stream; send a file that shows something")
        stream = streams[0]
        codec = stream.codec_context
        if codec is None or codec.codec.canonical_name not in CODECS:
            given = "an unknown codec" if codec is None else codec.codec.canonical_name
            raise MediaError(f"{self._name} is coded as {given}; this program decodes {', '.join(CODECS)}: save it as one of them")
        self._check_pixels(codec.width, codec.height)
        codec.thread_type = "AUTO"
        codec.options = {"max_pixels": str(clip.MAX_FRAME_PIXELS)}  # a later frame may be larger than the header says
        return stream

    def _read_packets(self) -> list[Any]:
        packets, end = [], 0.0
        for packet in self._file.demux():
            self._deadline.check()
            if packet.dts is None and packet.pts is None:
                continue
            if packet.is_corrupt:
                raise MediaError(f"{self._name} is cut short in a frame, at {end:.1f} s; send the whole file again")
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is self._stream:
                packets.append(packet)
            if len(packets) > clip.MAX_FILE_FRAMES:
                raise MediaError(f"{self._name} has more than {clip.MAX_FILE_FRAMES:,} frames, the most a video may have; cut it")
        declared = (self._file.duration or 0) / av.time_base
        held = end - (self._file.start_time or 0) / av.time_base
        if held < declared * (1 - _SLACK_SHARE) - _SLACK_S:
            told = f"it says that it lasts {declared:.1f} s and holds {held:.1f} s"
            raise MediaError(f"{self._name} is cut short: {told}; send the whole file")
        if packets and not any(packet.is_keyframe for packet in packets):
            raise MediaError(f"{self._name} has {len(packets)} frames and no key frame to begin from; save it again, as mp4 or webm")
        return packets

    def _decode(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Decoded frames, in order of time: all that the wanted ones depend on, and their neighbours."""
        codec = self._stream.codec_context
        groups = self._groups()
        needed = set()
        for place, group in enumerate(groups):
            held = {packet.pts for packet in group}
            if any(pts in held for pts in wanted):
                needed.add(place)
                # Frames that stand behind a key frame but show before it may look back to the group before.
                if any(pts in held and pts < group[0].pts for pts in wanted):
                    needed.add(place - 1)
        before = None
        for place in sorted(needed - {-1}):
            if before is not None and place != before + 1:
                yield from codec.decode(None)
                codec.flush_buffers()
            for packet in groups[place]:
                yield from codec.decode(packet)
            before = place
        yield from codec.decode(None)

    def _groups(self) -> list[list[Any]]:
        """Packets from one key frame up to the next, in the order of decoding."""
        starts = [place for place, packet in enumerate(self._packets) if packet.is_keyframe]
        return [self._packets[start:end] for start, end in pairwise([0, *starts[1:], len(self._packets)])]

    def _frame(self, frame: Any) -> clip.Frame:
        self._check_pixels(frame.width, frame.height)
        picture = frame.to_image()
        aspect = self._stream.sample_aspect_ratio
        if aspect and aspect != 1:
            width = max(1, round(picture.width * aspect))
            self._check_pixels(width, picture.height)
            picture = picture.resize((width, picture.height), Pillow.Resampling.BILINEAR)
        turn = _TURNS.get(round(frame.rotation))
        return clip.Frame(self._seconds(frame.pts), picture if turn is None else picture.transpose(turn))

    def _seconds(self, pts: int) -> float:
        return float((pts - self._pts[0]) * self._stream.time_base)

    def _check_pixels(self, width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise MediaError(f"{self._name} has frames of {width} x {height} pixels; a frame needs at least one")
        if width * height > clip.MAX_FRAME_PIXELS:
            most = clip.MAX_FRAME_PIXELS
            raise MediaError(
                f"{self._name} has frames of {width:,} x {height:,} pixels, but a frame may have at most {most:,}; make it smaller"
            )

    def _damaged(self, error: Exception) -> MediaError:
        reason = getattr(error, "strerror", None) or str(error)
        return MediaError(
            f"{self._name} is damaged, cut short or no video ({reason}); send the whole file, or save it again as mp4 or webm"
        )
