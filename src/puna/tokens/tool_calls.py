"""Tool calls as text: writing Meta's pythonic list, and reading every form in which Llama 4 is known to answer.

Written: `[get_weather(city="Paris", days=3), now()]` [meta]. Read, in this order:

- tagged: `<function=get_weather>{"city": "Paris"}</function>`
- JSON: `{"name": ..., "parameters": {...}}` (or "arguments", or wrapped in "function"), one, several in a row, or a list
- pythonic: as written; a list that lost its closing `]`, or several lists in a row

Calls must end the text; what stands before them stays text. Reading never raises on what a model wrote and never evaluates it: a text
that is not wholly readable is no call. Knows nothing of tokens or tools' schemas.
"""

import ast
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from puna.stream import ToolCall
from puna.tokens.errors import ChatError

# A call may start at any of this many places in a reply. Hostile text full of brackets then costs linear time, not quadratic.
_MAX_STARTS = 32

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
    """The calls that end `text`, and the text before them.

    `names` are the tools on offer: what looks like a call to anything else is ordinary text (a reply may well be a JSON object with a
    "name"). None allows every name.
    """
    for read in (_read_tagged, _read_json, _read_pythonic):
        found = read(text)
        if found is not None and (names is None or all(call.name in names for call in found.calls)):
            return ReadCalls(found.text if found.text.strip() else "", found.calls)
    return ReadCalls(text, ())


# Tagged calls


_TAG = re.compile(r"<function=([^<>{}\s]+)>\s*")
_CLOSING_TAG = re.compile(r"\s*</function>")


def _read_tagged(text: str) -> ReadCalls | None:
    calls: list[ToolCall] = []
    around: list[str] = []
    at = 0
    while tag := _TAG.search(text, at):
        value, end = _decode_json(text, tag.end())
        if not isinstance(value, dict):
            return None
        calls.append(ToolCall(tag[1], value))
        around.append(text[at : tag.start()])
        closing = _CLOSING_TAG.match(text, end)
        at = closing.end() if closing else end
    if not calls:
        return None
    after = text[at:]
    return ReadCalls("".join(around) + (after if after.strip() else ""), tuple(calls))


# JSON calls


_JSON_START = re.compile(r"\{\s*\"")
# Between calls, and after the last one: lists that end or begin, commas, and the semicolons that Llama 3 puts there.
_BETWEEN = re.compile(r"[\s,;\[\]]*")


def _read_json(text: str) -> ReadCalls | None:
    if '"name"' not in text:
        return None
    for start in _starts(_JSON_START, text):
        calls = _json_calls(text, start)
        if calls:
            return ReadCalls(text[:start], calls)
    return None


def _json_calls(text: str, at: int) -> tuple[ToolCall, ...] | None:
    calls: list[ToolCall] = []
    at = _skip(_BETWEEN, text, at)
    while at < len(text):
        value, at = _decode_json(text, at)
        call = _call_of(value)
        if call is None:
            return None
        calls.append(call)
        at = _skip(_BETWEEN, text, at)
    return tuple(calls)


def _call_of(value: Any) -> ToolCall | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = {"type": "function", **value["function"]}
    name = value.get("name")
    given = [value[key] for key in ("parameters", "arguments") if key in value]
    if not given and value.get("type") == "function":
        given = [{}]
    arguments = given[0] if given else None
    if isinstance(arguments, str):
        arguments, end = _decode_json(value := arguments.strip(), 0)
        arguments = arguments if end == len(value) else None
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return None
    return ToolCall(name, arguments)


def _decode_json(text: str, at: int) -> tuple[Any, int]:
    """The JSON value at `at` and where it ends; `(None, len(text))` if there is none."""
    try:
        return _JSON.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, len(text)


_JSON = json.JSONDecoder(strict=False)  # models put raw newlines into strings


# Pythonic calls


_LIST_START = re.compile(r"\[\s*(?=[\w][\w.:/-]*\s*\()")
_HEAD = re.compile(r"([\w][\w.:/-]*)\s*\(")
_KEYWORD = re.compile(r"\s*(?:([A-Za-z_][\w.$-]*)\s*=(?!=)|\*\*)\s*")
_SPACE = re.compile(r"\s*")
_STRING = r'"""(?:\\.|[^\\])*?"""|' r"'''(?:\\.|[^\\])*?'''|" r'"(?:\\.|[^"\\])*"|' r"'(?:\\.|[^'\\])*'"
_MARK = re.compile(rf"({_STRING})|[\[\](){{}},\"']", re.DOTALL)
_STRING_PART = re.compile(r"\\.|[\r\n]", re.DOTALL)


class _UnreadableError(Exception):
    """This text is not a list of calls; it stays text."""


def _read_pythonic(text: str) -> ReadCalls | None:
    for start in _starts(_LIST_START, text):
        try:
            return ReadCalls(text[:start], tuple(_pythonic_calls(text, start)))
        except _UnreadableError:
            continue
    return None


def _pythonic_calls(text: str, at: int) -> Iterator[ToolCall]:
    at = _skip(_BETWEEN, text, at)
    while at < len(text):
        head = _HEAD.match(text, at)
        if head is None:
            raise _UnreadableError
        arguments, at = _read_arguments(text, head.end())
        yield ToolCall(head[1], arguments)
        at = _skip(_BETWEEN, text, at)


def _read_arguments(text: str, at: int) -> tuple[dict[str, Any], int]:
    """The keyword arguments from just behind `(`, and the place just behind `)`."""
    arguments: dict[str, Any] = {}
    while True:
        at = _skip(_SPACE, text, at)
        if text.startswith(")", at):
            return arguments, at + 1
        keyword = _KEYWORD.match(text, at)
        if keyword is None:
            raise _UnreadableError
        end = _value_end(text, keyword.end())
        value = _read_literal(text[keyword.end() : end])
        if keyword[1] is not None:
            arguments[keyword[1]] = value
        elif isinstance(value, dict):
            arguments.update(value)
        else:
            raise _UnreadableError
        at = end + 1 if text[end] == "," else end


def _value_end(text: str, at: int) -> int:
    """Where the value at `at` ends: the next comma or `)` outside all strings and brackets."""
    depth = 0
    for mark in _MARK.finditer(text, at):
        if mark[1] is not None:
            continue
        if mark[0] in "[({":
            depth += 1
        elif mark[0] in "\"'":
            raise _UnreadableError  # a string that never ends
        elif depth == 0 and mark[0] in "),":
            return mark.start()
        elif mark[0] in "])}":
            depth -= 1
            if depth < 0:
                raise _UnreadableError
    raise _UnreadableError


def _read_literal(source: str) -> Any:
    """A Python or JSON literal. Strings may hold raw line ends, and backslashes that begin no escape of Python's."""
    source = _MARK.sub(lambda mark: _STRING_PART.sub(_python_part, mark[0]) if mark[1] else mark[0], source.strip())
    try:
        return _value_of(ast.parse(source, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _UnreadableError from error


def _python_part(found: re.Match[str]) -> str:
    part = found[0]
    if part[0] != "\\":
        return {"\n": "\\n", "\r": "\\r"}[part]
    if part[1] == "/":
        return "/"  # JSON may escape it
    return part if part[1] in "\\'\"abfnrtvxuUN01234567\n" else "\\" + part


_WORDS = {"true": True, "false": False, "null": None, "nan": math.nan, "NaN": math.nan, "inf": math.inf, "Infinity": math.inf}


def _value_of(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _value_of(operand)
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise _UnreadableError
            return -number if isinstance(sign, ast.USub) else number
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value_of(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            names = [_value_of(key) if key is not None else None for key in keys]
            if not all(isinstance(name, str) for name in names):
                raise _UnreadableError
            return dict(zip(names, map(_value_of, values), strict=True))
    raise _UnreadableError


# Common to the readers


def _starts(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    """Where `pattern` begins, moved left over the brackets of lists that hold it."""
    for found in islice(pattern.finditer(text), _MAX_STARTS):
        before = text[: found.start()]
        brackets = before[len(before.rstrip("[ \t\r\n")) :]
        yield found.start() - len(brackets.lstrip(" \t\r\n"))


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
