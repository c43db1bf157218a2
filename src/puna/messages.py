"""Messages as people write them in Python, to `puna.stream.Message`: plain dicts, strings, pictures and videos by path or bytes.

The server has its own wire types; this is for `puna.load(...).chat([...])`. Knows neither models nor HTTP.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from puna.config import VisionConfig
from puna.media import decode_data_url, load_media, load_video
from puna.stream import Image, Message, Part, Text, ToolCall, Video
from puna.tokens.tool_calls import arguments_of

MessageLike = Message | Mapping[str, Any]

_PART_FORMS = (
    "a content part is text, {'type': 'image', 'image': path or bytes}, {'type': 'video', 'video': path or bytes}, "
    "or OpenAI's 'image_url' or 'video_url' with {'url': 'data:...'}"
)
_VIDEO_OPTIONS = {"frames_per_second": int | float, "max_frames": int}


class RequestError(ValueError):
    """A request that cannot be answered as it stands. The message says what is wrong and what would be right."""


def read_messages(messages: Sequence[MessageLike], vision: VisionConfig | None, max_video_tokens: int | None = None) -> list[Message]:
    """Messages from dicts: `{"role": "user", "content": [{"type": "image", "image": "cat.png"}, "What is this?"]}`.

    `content` is a string, None, or a list of strings and parts; `tool_calls` are in OpenAI's form or `{"name", "arguments"}`.
    A part is also `{"type": "video", "video": "clip.mp4"}`, perhaps with `frames_per_second` and `max_frames`, or OpenAI's `image_url` or
    `video_url` with a data: URL. Where the part says "video", it must be one; else the bytes decide, so that an animated GIF or WebP is a
    video and a still one a picture. `max_video_tokens` bounds the frames of each video.
    """
    if isinstance(messages, str | Mapping) or not messages:
        raise RequestError("messages must be a non-empty list of dicts such as {'role': 'user', 'content': 'Hello'}")
    return [message if isinstance(message, Message) else _message(message, vision, max_video_tokens) for message in messages]


def _message(fields: Mapping[str, Any], vision: VisionConfig | None, max_video_tokens: int | None) -> Message:
    if not isinstance(fields, Mapping):
        raise RequestError(f"a message is a dict such as {{'role': 'user', 'content': 'Hello'}}; got {fields!r}")
    unknown = set(fields) - {"role", "content", "tool_calls", "name", "tool_call_id"}
    if "role" not in fields or unknown:
        raise RequestError(f"a message has 'role' and 'content', and may have 'tool_calls' and 'name'; got {sorted(fields)}")
    content = fields.get("content")
    parts = [content] if isinstance(content, str) else _list(fields, "content")
    calls = tuple(_tool_call(call) for call in _list(fields, "tool_calls"))
    return Message(fields["role"], tuple(_part(part, vision, max_video_tokens) for part in parts), calls, fields.get("name") or "")


def _list(fields: Mapping[str, Any], name: str) -> Sequence[Any]:
    values = fields.get(name)
    if values is None:
        return ()
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise RequestError(f"a message's {name} is {values!r}; it must be a list")
    return values


def _part(part: str | Part | Mapping[str, Any], vision: VisionConfig | None, max_video_tokens: int | None) -> Part:
    if isinstance(part, str):
        return Text(part)
    if isinstance(part, Text | Image | Video):
        return part
    if not isinstance(part, Mapping):
        raise RequestError(f"{_PART_FORMS}; got {part!r}")
    kind = part.get("type")
    if kind == "text" and isinstance(part.get("text"), str):
        return Text(part["text"])
    if kind in ("image", "video", "image_url", "video_url") and kind in part:
        return _seen(kind, part, vision, max_video_tokens)
    raise RequestError(f"{_PART_FORMS}; got type {kind!r} with {sorted(part)}")


def _seen(kind: str, part: Mapping[str, Any], vision: VisionConfig | None, max_video_tokens: int | None) -> Image | Video:
    if vision is None:
        what = "pictures and videos"
        raise RequestError(f"this model reads no {what}: it has no vision tower; leave them out or load another model")
    source = part[kind]
    if kind in ("image_url", "video_url"):
        url = source.get("url") if isinstance(source, Mapping) else source
        if not isinstance(url, str):
            raise RequestError(f"{kind} is {source!r}; it must be {{'url': 'data:...;base64,...'}}")
        # Never a path: messages in this form often come from somebody else, who could name a file of this machine.
        source = decode_data_url(url)
    if not kind.startswith("video"):
        return load_media(source, vision, max_tokens=max_video_tokens)
    options = {name: part[name] for name in _VIDEO_OPTIONS if name in part}
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, _VIDEO_OPTIONS[name]):
            wanted = "a whole number" if name == "max_frames" else "a number"
            raise RequestError(f"a video's {name}={value!r} is not {wanted}; leave it out or give one")
    return load_video(source, vision, max_tokens=max_video_tokens, **options)


def _tool_call(call: ToolCall | Mapping[str, Any]) -> ToolCall:
    if isinstance(call, ToolCall):
        return call
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RequestError(f"a tool call has 'name' and 'arguments', or OpenAI's 'function' with both; got {call!r}")
    return ToolCall(function["name"], arguments_of(function.get("arguments")), str(call.get("id") or ""))
