"""A conversation on its way in, whatever the API: pictures are decoded, tool calls and their results matched, counts kept within limits.

Errors name the parameter by its path in the client's own body. Nothing is dropped: a part that the model cannot take is refused.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from puna.config import ModelConfig
from puna.media import MediaError, decode_data_url, load_media, load_video, video_tokens
from puna.media.fetch import FetchError, fetch
from puna.serve.errors import ApiError
from puna.serve.limits import Limits
from puna.serve.metrics import Metrics
from puna.stream import Image, Message, Part, Role, ToolCall, Video

Kind = Literal["image", "video"]

_EXAMPLES = {"image": ("picture", "data:image/png;base64,..."), "video": ("video", "data:video/mp4;base64,...")}


class Conversation:
    """Messages as they are read, in order. `param` is the list's name in the client's body."""

    def __init__(self, name: str, config: ModelConfig, limits: Limits, param: str = "messages", metrics: Metrics | None = None) -> None:
        self._name, self._config, self._limits, self._param, self._metrics = name, config, limits, param, metrics
        self._messages: list[Message] = []
        self._called: dict[str, str] = {}  # the function behind each call so far: a result names the id only
        self._pictures = self._videos = 0

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(self._messages)

    def expect(self, *, messages: int = 0, pictures: int = 0, videos: int = 0) -> None:
        """Refuses too many at once, before the first is decoded."""
        limits = self._limits
        if messages > limits.messages:
            raise self._too_many("messages", messages, limits.messages, "drop the oldest", "too_many_messages")
        if pictures > limits.pictures:
            raise self._too_many("pictures", pictures, limits.pictures, "in one request; send fewer", "too_many_images")
        if videos > limits.videos:
            what = "videos (animated pictures are videos too)"
            raise self._too_many(what, videos, limits.videos, "in one request; send fewer", "too_many_videos")

    def _too_many(self, what: str, count: int, limit: int, way_out: str, code: str) -> ApiError:
        gap = " " if way_out.startswith("in") else "; "
        return ApiError(
            400, f"{count:,} {what} are more than the {limit:,} that this server takes{gap}{way_out}", code=code, param=self._param
        )

    def say(self, role: Role, content: Sequence[Part], calls: Sequence[ToolCall] = ()) -> None:
        """A message of the system, the user or the assistant."""
        self._called.update((call.id, call.name) for call in calls)
        self._messages.append(Message(role, tuple(content), tuple(calls)))
        self.expect(messages=len(self._messages))

    def give_result(self, call_id: str, content: Sequence[Part], *, param: str, name: str | None = None) -> None:
        """What a tool answered. `param` is the path of the call's id, beside which the client may have repeated the function's name."""
        if call_id not in self._called:
            message = f"{param}={call_id!r} answers no tool call of an earlier assistant message"
            raise ApiError(400, message, code="invalid_value", param=param)
        called = self._called[call_id]
        if name not in (None, called):
            where = param.rpartition(".")[0] + ".name"
            raise ApiError(400, f"{where}={name!r} is not the called function, {called!r}; leave it out", code="invalid_value", param=where)
        self._messages.append(Message("tool", tuple(content), name=called))

    def url(self, url: str, kind: Kind, param: str) -> Image | Video:
        """A picture or a video by its data: URL, or its web address or file: URL where the server fetches or reads any. Its bytes decide
        what an image is.
        """
        self._refuse_blindness(kind, param)
        if url[:5].lower() == "file:":
            return self._seen(self._of_file(url, kind, param), kind, param)
        if url[:8].lower().startswith(("http://", "https://")):
            return self._seen(self._fetched(url, kind, param), kind, param)
        try:
            # Never load(url): a string from outside could name a file of this machine.
            data = decode_data_url(url)
        except MediaError as error:
            raise _unreadable(error, kind, param) from error
        return self._seen(data, kind, param)

    def data(self, data: bytes, kind: Kind, param: str) -> Image | Video:
        """A picture or a video by its bytes."""
        self._refuse_blindness(kind, param)
        return self._seen(data, kind, param)

    def _refuse_blindness(self, kind: Kind, param: str) -> None:
        if self._config.vision is None:
            what = _EXAMPLES[kind][0]
            raise ApiError(400, f"{self._name} reads no {what}s; send text only", code="unsupported_content", param=param)

    def _fetched(self, url: str, kind: Kind, param: str) -> bytes:
        what, example = _EXAMPLES[kind]
        if not self._limits.fetch.enabled:
            message = f"{param}: {url[:60]!r} is a web address, and this server fetches none; send the {what} as {example}"
            raise ApiError(400, message, code=f"{kind}_url_not_supported", param=param)
        try:
            with self._timed(kind, "fetch"):
                return fetch(url, self._limits.fetch).data
        except FetchError as error:
            raise ApiError(400, f"{param}: {error}", code=error.code, param=param) from error

    def _of_file(self, url: str, kind: Kind, param: str) -> bytes:
        what, example = _EXAMPLES[kind]
        root = self._limits.media_root
        if root is None:
            message = (
                f"{param}: {url[:60]!r} names a file of the server's machine, and this server reads none; send the {what} as {example}"
            )
            raise ApiError(400, message, code=f"{kind}_url_not_supported", param=param)
        try:
            with self._timed(kind, "fetch"):
                return root.read(url, self._limits.fetch.max_bytes)
        except FetchError as error:
            raise ApiError(400, f"{param}: {error}", code=error.code, param=param) from error

    def _seen(self, data: bytes, kind: Kind, param: str) -> Image | Video:
        config = self._config
        assert config.vision is not None
        load = load_media if kind == "image" else load_video
        try:
            with self._timed(kind, "decode"):
                seen = load(data, config.vision, max_tokens=video_tokens(config.max_positions))
        except MediaError as error:
            raise _unreadable(error, kind, param) from error
        self._videos += isinstance(seen, Video)
        self._pictures += isinstance(seen, Image)
        self.expect(pictures=self._pictures, videos=self._videos)
        return seen

    def _timed(self, kind: Kind, step: str) -> AbstractContextManager[None]:
        return self._metrics.media(kind, step) if self._metrics is not None else nullcontext()


def _unreadable(error: MediaError, kind: Kind, param: str) -> ApiError:
    return ApiError(400, f"{param}: {error}", code=f"invalid_{kind}", param=param)


def json_arguments(text: str, param: str) -> Mapping[str, Any]:
    """A call's arguments as clients send them: the text of a JSON object, or nothing."""
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"{param} is not valid JSON: {error}", code="invalid_value", param=param) from error
    if not isinstance(arguments, dict):
        message = f"{param} is a JSON {type(arguments).__name__}; it must be an object"
        raise ApiError(400, message, code="invalid_value", param=param)
    return arguments
