"""Tool calls as text: writing Meta's pythonic list, and reading every form in which Llama 4 is known to answer.

Written: `[get_weather(city="Paris", days=3), now()]` [meta]. Read: what `puna.tokens.reply` reads, of which this is the whole-text form.
Reading never raises on what a model wrote and never evaluates it: a text that is not wholly readable is no call.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from puna.stream import ToolCall
from puna.tokens.errors import ChatError
from puna.tokens.reply import ReplyReader

_TOOL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*")
_ARGUMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]*")


class ReadCalls(NamedTuple):
    """What a reply says: the text around the calls, and the calls."""

    text: str
    calls: tuple[ToolCall, ...]


def write_calls(calls: Sequence[ToolCall]) -> str:
    """Meta's pythonic list.

    >>> write_calls([ToolCall("get_weather", {"city": "Paris", "days": 3})])
    '[get_weather(city="Paris", days=3)]'
    """
    return "[" + ", ".join(_write_call(call) for call in calls) + "]"


def _write_call(call: ToolCall) -> str:
    if not isinstance(call.name, str) or not _TOOL_NAME.fullmatch(call.name):
        raise ChatError(f"tool name {call.name!r} cannot be written as a call; use letters, digits and _ . : / - only")
    if not isinstance(call.arguments, Mapping):
        raise ChatError(f"arguments of {call.name} are {type(call.arguments).__name__}; a mapping from names to values is needed")
    plain = {name: value for name, value in call.arguments.items() if isinstance(name, str) and _ARGUMENT_NAME.fullmatch(name)}
    odd = {name: value for name, value in call.arguments.items() if name not in plain}
    written = [f"{name}={_write_value(value)}" for name, value in plain.items()]
    if odd:
        written.append(f"**{_write_value(odd)}")
    return f"{call.name}({', '.join(written)})"


def _write_value(value: Any) -> str:
    """A Python literal. Strings are quoted as in JSON, which Python reads the same way."""
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_write_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ChatError(f"key {key!r} in a tool call's arguments is {type(key).__name__}; JSON objects have text keys")
        return "{" + ", ".join(f"{_write_value(key)}: {_write_value(item)}" for key, item in value.items()) + "}"
    raise ChatError(f"argument value {value!r} is {type(value).__name__}; calls hold text, numbers, booleans, None, lists and mappings")


def arguments_of(given: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A client's arguments as a mapping: OpenAI's protocol sends them as JSON text, and nothing or "" if there are none."""
    if isinstance(given, str):
        try:
            given = json.loads(given) if given.strip() else None
        except (ValueError, RecursionError) as error:
            raise ChatError(f"tool arguments {given[:200]!r} are not JSON ({error}); give a JSON object") from error
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ChatError(f"tool arguments are {type(given).__name__}; give a JSON object from names to values")
    return given


def read_calls(text: str, names: Collection[str] | None = None) -> ReadCalls:
    """The calls in a whole reply, and the text around them. What was begun as a call and is none is text.

    `names` are the tools on offer: what looks like a call to anything else is ordinary text (a reply may well be a JSON object with a
    "name"). None allows every name.
    """
    reader = ReplyReader(names, new_id=lambda: "")
    reader.push(text)
    whole = reader.close()
    return ReadCalls(whole.full_text, whole.calls)
