"""Values as models write them, in Python or in JSON, turned into JSON piece by piece, while they are being written.

Read are strings of both languages (adjoining ones are one, raw line ends and unknown escapes stay), numbers, lists, tuples, mappings with
text keys, and the words True, true, None, null, nan, inf and their like. Everything else, such as a name, a sum or a call, is unreadable:
nothing is ever evaluated. What JSON lacks: NaN becomes null, infinity 1e999 (which readers of JSON take for infinity), half a surrogate
pair U+FFFD.
"""

import json
import re
from collections import deque
from dataclasses import dataclass, field

MOST_DEPTH = 100
_MOST_SCALAR = 1000  # characters of a number or a word; Python and others refuse far longer integers

_SPACE = re.compile(r"\s*")
_SCALAR = re.compile(r"[+\-.\w]+")
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)", re.ASCII)
_WORDS = {"True": "true", "true": "true", "False": "false", "false": "false", "None": "null", "null": "null", "nan": "null", "NaN": "null"}
_INFINITE = ("inf", "Infinity")
_RUN = {quote: re.compile(rf"[^\\{quote}]+") for quote in "\"'"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-7]{1,3}))")
_LOW_HALF = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_SIMPLE = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "\\": "\\", "'": "'", '"': '"', "/": "/", "\n": "",
}  # fmt: skip
_LONGEST_ESCAPE = 12  # two halves of a surrogate pair
_CLOSING = {"[": "]", "(": ")", "{": "}"}


class UnreadableError(Exception):
    """What stands here is no literal."""


@dataclass(slots=True)
class _Open:
    """A bracket that is open. `written`: what it became in JSON, "" until that is known: `(` may begin a tuple or just a value."""

    bracket: str
    written: list[str]
    items: int = 0


@dataclass(slots=True)
class LiteralReader:
    """One value. Feed it text; take what JSON is sure so far. The pieces taken, joined, are the value in compact JSON once it is `done`.

    `at`: where reading stopped, behind the value or before what can only be read when more is known. `is_opened`: a string or a bracket
    was opened, so that the value is more than a number or a word.
    """

    at: int = 0
    done: bool = False
    is_opened: bool = False
    _expects: str = "value"  # or: first, key, first key, colon, after, string, string's end
    _quote: str = ""
    _is_raw: bool = False
    _is_key: bool = False
    _open: list[_Open] = field(default_factory=list)
    _written: deque[list[str]] = field(default_factory=deque)

    def feed(self, text: str, at: int, ended: bool = False) -> None:
        """Read on from `text[at]`. `ended`: nothing will follow this text. Raises `UnreadableError`, `at` before what is unreadable."""
        self.at = at
        while not self.done:
            if self._expects == "string":
                found = self._string(text, self.at, ended)
            else:
                self.at = _skip_space(text, self.at)
                if self.at == len(text) and not (ended and self._expects in ("string's end", "after")):
                    return
                found = self._token(text, self.at, ended)
            if found is None:
                return
            self.at = found

    def take(self) -> str:
        """The JSON that has become sure since the last time."""
        sure = []
        while self._written and self._written[0]:
            sure += self._written.popleft()
        return "".join(sure)

    def _write(self, json_text: str) -> None:
        if json_text:
            self._written.append([json_text])

    def _token(self, text: str, at: int, ended: bool) -> int | None:
        if self._expects == "string's end":
            return self._after_string(text, at, ended)
        if self._expects == "after":
            return self._after(text, at)
        character = text[at]
        if self._expects == "colon":
            if character != ":":
                raise UnreadableError
            self._write(":")
            self._expects = "value"
            return at + 1
        if self._open and self._expects in ("first", "first key") and character == _CLOSING[self._open[-1].bracket]:
            return self._close(at)
        if character in "\"'":
            return self._open_string(text, at, ended)
        if self._expects in ("key", "first key"):
            raise UnreadableError
        if character in "[({":
            self._begin_item()
            self._push(character)
            return at + 1
        return self._scalar(text, at, ended)

    def _begin_item(self) -> None:
        if self._open:
            holder = self._open[-1]
            if holder.bracket != "{" or self._expects in ("key", "first key"):
                if holder.items:
                    self._write(",")
                holder.items += 1

    def _push(self, bracket: str) -> None:
        if len(self._open) == MOST_DEPTH:
            raise UnreadableError
        self.is_opened = True
        written: list[str] = [] if bracket == "(" else [bracket]
        self._written.append(written)
        self._open.append(_Open(bracket, written))
        self._expects = "first key" if bracket == "{" else "first"

    def _close(self, at: int) -> int:
        closed = self._open.pop()
        if closed.bracket == "(" and not closed.written:
            closed.written.append("" if closed.items else "[")  # (1) is 1, () is a tuple
        opened = closed.written[0]
        self._write(_CLOSING[opened] if opened else "")
        self._over()
        return at + 1

    def _over(self) -> None:
        """A value has ended."""
        self.done = not self._open
        self._expects = "after"

    def _after(self, text: str, at: int) -> int:
        if at == len(text):
            raise UnreadableError
        holder = self._open[-1]
        if text[at] == _CLOSING[holder.bracket]:
            return self._close(at)
        if text[at] != ",":
            raise UnreadableError
        if holder.bracket == "(" and not holder.written:
            holder.written.append("[")
        self._expects = "first key" if holder.bracket == "{" else "first"  # a comma may stand before a closing bracket
        return at + 1

    def _scalar(self, text: str, at: int, ended: bool) -> int | None:
        found = _SCALAR.match(text, at)
        if found is None or found.end() - at > _MOST_SCALAR:
            raise UnreadableError
        if found.end() == len(text) and not ended:
            return None
        if found[0] in ("r", "R", "u", "U") and text[found.end() : found.end() + 1] in ('"', "'"):
            return self._open_string(text, found.end(), ended, is_raw=found[0] in "rR")
        scalar = _scalar_json(found[0])
        self._begin_item()
        self._write(scalar)
        self._over()
        return found.end()

    def _open_string(self, text: str, at: int, ended: bool, *, is_raw: bool = False, goes_on: bool = False) -> int | None:
        quote = text[at]
        if text[at : at + 2] == quote * 2 and len(text) < at + 3 and not ended:
            return None  # an empty string, or three quotes
        if len(text) == at + 1 and not ended:
            return None
        self.is_opened = True
        self._quote = quote * 3 if text.startswith(quote * 3, at) else quote
        self._is_raw = is_raw
        if not goes_on:
            self._is_key = self._expects in ("key", "first key")
            self._begin_item()
            self._write('"')
        self._expects = "string"
        return at + len(self._quote)

    def _string(self, text: str, at: int, ended: bool) -> int | None:
        run = _RUN[self._quote[0]].match(text, at)
        if run is not None:
            self._write(json.dumps(run[0], ensure_ascii=False)[1:-1])
            return run.end()
        if at == len(text):
            return None
        if text[at] == "\\":
            return self._escape(text, at, ended)
        if text.startswith(self._quote, at):
            self._expects = "string's end"
            return at + len(self._quote)
        if self._quote.startswith(text[at:]) and not ended:
            return None
        self._write(json.dumps(text[at])[1:-1])
        return at + 1

    def _escape(self, text: str, at: int, ended: bool) -> int | None:
        if len(text) - at < _LONGEST_ESCAPE and not ended and (len(text) == at + 1 or text[at + 1] in "uUx01234567"):
            return None
        if len(text) == at + 1:
            raise UnreadableError
        character, end = _escaped(text, at, self._is_raw)
        self._write(json.dumps(character, ensure_ascii=False)[1:-1])
        return end

    def _after_string(self, text: str, at: int, ended: bool) -> int | None:
        """Adjoining strings are one."""
        following = text[at : at + 1]
        if following and following in "\"'":
            return self._open_string(text, at, ended, goes_on=True)
        if following and following in "rRuU":
            if len(text) == at + 1 and not ended:
                return None
            if text[at + 1 : at + 2] in ('"', "'"):
                return self._open_string(text, at + 1, ended, is_raw=following in "rR", goes_on=True)
        self._write('"')
        if self._is_key:
            self._is_key = False
            self._expects = "colon"
        else:
            self._over()
        return at


def literal_json(text: str) -> str:
    """A whole value as JSON. Raises `UnreadableError` if the text is anything else."""
    reader = LiteralReader()
    reader.feed(text, 0, ended=True)
    if not reader.done or text[reader.at :].strip():
        raise UnreadableError
    return reader.take()


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _scalar_json(text: str) -> str:
    if text in _WORDS:
        return _WORDS[text]
    sign = "-" if text[0] == "-" else ""
    if text.removeprefix(sign or "+") in _INFINITE:
        return f"{sign}1e999"
    if not _NUMBER.fullmatch(text):
        raise UnreadableError
    try:
        return str(int(text, 0))
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError as error:
        raise UnreadableError from error
    if text.lstrip("+-").isdigit():
        raise UnreadableError  # 007 is no number in either language
    return f"{sign}1e999" if abs(number) == float("inf") else repr(number)


def _escaped(text: str, at: int, is_raw: bool) -> tuple[str, int]:
    """What the backslash at `at` and what follows it mean, and where that ends."""
    following = text[at + 1]
    if is_raw:
        return "\\" + following, at + 2
    found = _ESCAPE.match(text, at)
    if found is None:
        return _SIMPLE.get(following, "\\" + following), at + 2
    code = int(found[4], 8) if found[4] else int(found[1] or found[2] or found[3], 16)
    low = _LOW_HALF.match(text, found.end()) if 0xD800 <= code < 0xDC00 else None
    if low is not None:
        return chr(0x10000 + ((code - 0xD800) << 10) + (int(low[1], 16) - 0xDC00)), low.end()
    if 0xD800 <= code < 0xE000:
        return "\ufffd", found.end()
    return (chr(code), found.end()) if code <= 0x10FFFF else (text[at : at + 2], at + 2)
