"""Messages as people write them in Python, to `puna.stream.Message`: plain dicts, strings, pictures by path, bytes or Pillow.

The server has its own wire types; this is for `puna.load(...).chat([...])`. Knows neither models nor HTTP.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from puna.config import VisionConfig
from puna.media import load_image
from puna.stream import Image, Message, Part, Text, ToolCall
from puna.tokens.tool_calls import arguments_of

MessageLike = Message | Mapping[str, Any]


class RequestError(ValueError):
    """A request that cannot be answered as it stands. The message says what is wrong and what would be right."""


def read_messages(messages: Sequence[MessageLike], vision: VisionConfig | None) -> list[Message]:
    """Messages from dicts: `{"role": "user", "content": [{"type": "image", "image": "cat.png"}, "What is this?"]}`.

    `content` is a string, None, or a list of strings and parts; `tool_calls` are in OpenAI's form or `{"name", "arguments"}`.
    """
    if isinstance(messages, str | Mapping) or not messages:
        raise RequestError("messages must be a non-empty list of dicts such as {'role': 'user', 'content': 'Hello'}")
    return [message if isinstance(message, Message) else _message(message, vision) for message in messages]


def _message(fields: Mapping[str, Any], vision: VisionConfig | None) -> Message:
    if not isinstance(fields, Mapping):
        raise RequestError(f"a message is a dict such as {{'role': 'user', 'content': 'Hello'}}; got {fields!r}")
    unknown = set(fields) - {"role", "content", "tool_calls", "name", "tool_call_id"}
    if "role" not in fields or unknown:
        raise RequestError(f"a message has 'role' and 'content', and may have 'tool_calls' and 'name'; got {sorted(fields)}")
    content = fields.get("content")
    parts = [content] if isinstance(content, str) else _list(fields, "content")
    calls = tuple(_tool_call(call) for call in _list(fields, "tool_calls"))
    return Message(fields["role"], tuple(_part(part, vision) for part in parts), calls, fields.get("name") or "")


def _list(fields: Mapping[str, Any], name: str) -> Sequence[Any]:
    values = fields.get(name)
    if values is None:
        return ()
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise RequestError(f"a message's {name} is {values!r}; it must be a list")
    return values


def _part(part: str | Part | Mapping[str, Any], vision: VisionConfig | None) -> Part:
    if isinstance(part, str):
        return Text(part)
    if isinstance(part, Text | Image):
        return part
    if not isinstance(part, Mapping):
        raise RequestError(f"a content part is text or {{'type': 'image', 'image': path or bytes}}; got {part!r}")
    kind = part.get("type")
    if kind == "text" and isinstance(part.get("text"), str):
        return Text(part["text"])
    if kind == "image" and "image" in part:
        if vision is None:
            raise RequestError("this model reads no pictures: it has no vision tower; leave the picture out or load another model")
        return load_image(part["image"], vision)
    raise RequestError(f"a content part is text or {{'type': 'image', 'image': path or bytes}}; got type {kind!r} with {sorted(part)}")


def _tool_call(call: ToolCall | Mapping[str, Any]) -> ToolCall:
    if isinstance(call, ToolCall):
        return call
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RequestError(f"a tool call has 'name' and 'arguments', or OpenAI's 'function' with both; got {call!r}")
    return ToolCall(function["name"], arguments_of(function.get("arguments")), str(call.get("id") or ""))
