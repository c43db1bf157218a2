"""The forms in which Llama 4 calls tools, each read while it is being written.

A form is a generator over a `Window`: it yields None when it needs more text, and otherwise what it has become sure of: `Named`, `Began`,
`Piece`, `Ended`, in this order. It raises `UnreadableError` where the text is no call, with the window there.

- pythonic: `get_weather(city="Paris", days=3)` inside a list [meta]
- JSON: `{"name": ..., "parameters": {...}}`, also with "arguments", "type": "function", "id", in any order, or wrapped in "function"
- tagged: `<function=get_weather>{"city": "Paris"}</function>`

Names and the keys around a call's arguments are read as they stand, without escapes: a grammar can then keep them out of plain text.
"""

import json
import re
from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from puna.tokens.literals import LiteralReader, UnreadableError, literal_json

# What may stand between the parts of a call that has not shown itself to be one, and how long a name may be: so little is held back.
_MOST_SPACE = 256
_MOST_NAME = 256
_MOST_BRACKETS = 8
_KEPT = 4096  # characters behind the reading place that can be read again

_BRACKET = re.compile(r"\[")
_BRACKETS = re.compile(r"[\[\s]+")
_PYTHONIC_NAME = re.compile(r"\w[\w.:/-]*")
_TAGGED_NAME = re.compile(r"[^<>{}\s]+")
_JSON_NAME = re.compile(r"[^\"\\]+")
_ARGUMENT_NAME = re.compile(r"[A-Za-z_][\w.$-]*")
_KEYS = ("name", "parameters", "arguments", "type", "function", "id")


class Named(NamedTuple):
    """A tool on offer is named where a call names it."""

    name: str


class Began(NamedTuple):
    """From here on this is a call, whatever follows."""

    name: str


class Piece(NamedTuple):
    """The arguments' JSON goes on."""

    json: str


class Ended(NamedTuple):
    """The arguments are whole."""


T = TypeVar("T")
Step = Named | Began | Piece | Ended | None
Steps = Generator[Step, None, T]


class Window:
    """The text that is being read, and where. Behind that place, what was read since `keep` can be had back."""

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        self._start = 0
        self._earlier: list[str] = []

    def push(self, text: str) -> None:
        if self.at - self._start > _KEPT:
            self._earlier.append(self.text[self._start : self.at])
            self._start = self.at
        self.text = self.text[self._start :] + text
        self.at -= self._start
        self._start = 0

    def keep(self) -> None:
        self._start = self.at
        self._earlier.clear()

    def read(self) -> str:
        """What was read since `keep`."""
        return "".join(self._earlier) + self.text[self._start : self.at]

    def can_go_back(self, most: int) -> bool:
        return not self._earlier and self.at - self._start <= most

    def go_back(self) -> int:
        """To where `keep` was called; how many characters that was."""
        size = self.at - self._start
        self.at = self._start
        return size

    def has_more(self) -> bool:
        return self.at < len(self.text)


def opening(window: Window) -> Steps[int]:
    """Skip the lists that open here; how many they are. The window is then where a call must stand."""
    depth, read = 0, 0
    while True:
        yield from _until_more(window)
        run = (_BRACKETS if depth else _BRACKET).match(window.text, window.at, window.at + _MOST_SPACE - read)
        if run is None:
            return depth
        for place, character in enumerate(run[0], window.at + 1):
            depth += character == "["
            if depth > _MOST_BRACKETS:
                window.at = place
                raise UnreadableError
        read += len(run[0])
        window.at = run.end()
        if read == _MOST_SPACE:
            raise UnreadableError


def any_call(window: Window, names: Collection[str] | None, depth: int) -> Steps[None]:
    """The one call that stands here, inside `depth` lists. None allows every name."""
    yield from _until_more(window)
    character = window.text[window.at]
    if character == "{":
        yield from _json_call(window, names)
    elif character == "<":
        yield from _tagged_call(window, names)
    elif depth:
        yield from _pythonic_call(window, names)
    else:
        raise UnreadableError


def _pythonic_call(window: Window, names: Collection[str] | None) -> Steps[None]:
    name = yield from _name(window, _PYTHONIC_NAME, names)
    yield from _expect(window, "(")
    yield Named(name)
    has_begun, comma, held = False, "", "{"
    while (yield from _visible(window)) != ")":
        before = yield from _keyword(window)
        for_mapping = not before
        if for_mapping and (yield from _visible(window)) != "{":
            raise UnreadableError
        before, value, is_first = comma + before, LiteralReader(), True
        for step in _pieces(window, value):
            if not isinstance(step, Piece):
                yield step
                continue
            content = step.json
            if for_mapping:  # its members become the call's own: it goes without its braces
                content = content[is_first : -1 if value.done else None]
                is_first = False
            if content:
                held, before, comma = held + before + content, "", ","
            if value.is_opened and not has_begun:
                has_begun = True
                yield Began(name)
            if has_begun and held:
                yield Piece(held)
                held = ""
        if (yield from _visible(window)) == ",":
            window.at += 1
        elif window.text[window.at] != ")":
            raise UnreadableError
        if not has_begun:
            has_begun = True
            yield Began(name)
    window.at += 1
    if not has_begun:
        yield Began(name)
    yield Piece(held + "}")
    yield Ended()


def _keyword(window: Window) -> Steps[str]:
    """`name=` as the beginning of a JSON member, or "" for `**`."""
    if window.text[window.at] == "*":
        yield from _literally(window, "**")
        return ""
    name = yield from _name(window, _ARGUMENT_NAME, None)
    yield from _expect(window, "=")
    yield from _until_more(window)
    if window.text[window.at] == "=":
        raise UnreadableError
    return json.dumps(name, ensure_ascii=False) + ":"


@dataclass(slots=True)
class _Fields:
    """What a JSON call has shown so far."""

    name: str | None = None
    arguments: str | None = None
    is_function: bool = False
    is_sent: bool = False


def _json_call(window: Window, names: Collection[str] | None) -> Steps[None]:
    fields = _Fields()
    yield from _json_members(window, names, fields, is_inner=False)
    if fields.is_sent:
        return
    if fields.arguments is None and fields.is_function:
        fields.arguments = "{}"
    if fields.name is None or fields.arguments is None:
        raise UnreadableError
    yield Began(fields.name)
    yield Piece(fields.arguments)
    yield Ended()


def _json_members(window: Window, names: Collection[str] | None, fields: _Fields, is_inner: bool) -> Steps[None]:
    window.at += 1
    while (yield from _visible(window)) != "}":
        if fields.is_sent:
            yield from _skip_value(window)
            yield from _expect(window, ":")
            yield from _skip_value(window)
        else:
            key = yield from _quoted(window, _KEYS)
            yield from _expect(window, ":")
            yield from _visible(window)
            yield from _json_member(window, names, fields, key, is_inner)
        if (yield from _visible(window)) == ",":
            window.at += 1
        elif window.text[window.at] != "}":
            raise UnreadableError
    window.at += 1


def _json_member(window: Window, names: Collection[str] | None, fields: _Fields, key: str, is_inner: bool) -> Steps[None]:
    character = window.text[window.at]
    if key == "name" and fields.name is None:
        fields.name = yield from _quoted(window, names)
        yield Named(fields.name)
    elif key == "type":
        yield from _quoted(window, ("function",))
        fields.is_function = True
    elif key == "function" and character == "{" and not is_inner:
        fields.is_function = True
        yield from _json_members(window, names, fields, is_inner=True)
    elif key in ("parameters", "arguments") and fields.arguments is None:
        if character == "{" and fields.name is not None:
            yield Began(fields.name)
            yield from _pieces(window, LiteralReader())
            yield Ended()
            fields.is_sent = True
        else:
            fields.arguments = _arguments((yield from _whole_value(window)))
    elif key == "id":
        yield from _skip_value(window)
    else:
        raise UnreadableError


def _arguments(value: str) -> str:
    """A JSON call's arguments that are not streamed: an object, null for none, or either of them as text."""
    if value.startswith('"'):
        text = json.loads(value)
        value = literal_json(text) if text.strip() else "null"
    if value == "null":
        return "{}"
    if not value.startswith("{"):
        raise UnreadableError
    return value


def _tagged_call(window: Window, names: Collection[str] | None) -> Steps[None]:
    yield from _literally(window, "<function=")
    name = yield from _name(window, _TAGGED_NAME, names)
    yield from _literally(window, ">")
    yield Named(name)
    if (yield from _visible(window)) != "{":
        raise UnreadableError
    yield Began(name)
    yield from _pieces(window, LiteralReader())
    yield Ended()
    while True:
        rest = window.text[window.at : window.at + _MOST_SPACE]
        tag = rest.lstrip()
        if tag.startswith("</function>"):
            window.at += len(rest) - len(tag) + len("</function>")
            return
        if window.ended or len(rest) == _MOST_SPACE or not "</function>".startswith(tag):
            return
        yield None


# The parts of forms


def _until_more(window: Window) -> Steps[None]:
    while not window.has_more():
        if window.ended:
            raise UnreadableError
        yield None


def _visible(window: Window) -> Steps[str]:
    """The next character that is no space, which is not read."""
    read = 0
    while True:
        yield from _until_more(window)
        character = window.text[window.at]
        if not character.isspace():
            return character
        window.at += 1
        read += 1
        if read > _MOST_SPACE:
            raise UnreadableError


def _expect(window: Window, character: str) -> Steps[None]:
    if (yield from _visible(window)) != character:
        raise UnreadableError
    window.at += 1


def _literally(window: Window, wanted: str) -> Steps[None]:
    for character in wanted:
        yield from _until_more(window)
        if window.text[window.at] != character:
            raise UnreadableError
        window.at += 1


def _name(window: Window, pattern: re.Pattern[str], names: Collection[str] | None) -> Steps[str]:
    """One of the names (None: any), refused as soon as it can be none of them."""
    while True:
        yield from _until_more(window)
        found = pattern.match(window.text, window.at, window.at + _MOST_NAME)
        if found is None:
            raise UnreadableError
        if found.end() < len(window.text) or window.ended:
            break
        if names is not None and not any(name.startswith(found[0]) for name in names):
            raise UnreadableError
        yield None
    if found.end() - window.at == _MOST_NAME or (names is not None and found[0] not in names):
        raise UnreadableError
    window.at = found.end()
    return found[0]


def _quoted(window: Window, names: Collection[str] | None) -> Steps[str]:
    yield from _literally(window, '"')
    name = yield from _name(window, _JSON_NAME, names)
    yield from _literally(window, '"')
    return name


def _pieces(window: Window, value: LiteralReader) -> Steps[None]:
    """The JSON of the value that stands here, piece by piece."""
    while not value.done:
        unreadable = None
        try:
            value.feed(window.text, window.at, window.ended)
        except UnreadableError as error:
            unreadable = error
        window.at = value.at
        if piece := value.take():
            yield Piece(piece)
        if unreadable is not None:
            raise unreadable
        if not value.done:
            if window.ended:
                raise UnreadableError
            yield None


def _whole_value(window: Window) -> Steps[str]:
    held: list[str] = []
    for step in _pieces(window, LiteralReader()):
        if isinstance(step, Piece):
            held.append(step.json)
        else:
            yield step
    return "".join(held)


def _skip_value(window: Window) -> Steps[None]:
    for step in _pieces(window, LiteralReader()):
        if not isinstance(step, Piece):
            yield step
