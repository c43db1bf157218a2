"""A reply while it is being written: its text and its tool calls, each as soon as it is sure.

What is a call:
- Text that begins a line may begin a call to a tool on offer, in any of the forms of `call_forms`. It is one from the moment when its
  arguments begin (a string, a list or a mapping is opened, or the first value is whole), and then it stays one.
- Inside a line, or inside a ``` fence, a call may only be talked about: it is one if nothing but calls follows it to the end of the reply.
  It is therefore held back until then, or until it turns out to be text.
- In python tags, what does not begin with a call is code: one call of `code_interpreter`, if that is on offer. [meta]

A call that has begun and then cannot be read on, or is cut off, is *broken*: it never ends, its arguments stay cut, so that they are no
JSON and no client runs it by mistake, and the text goes on behind them. Nothing raises, whatever a model writes.
"""

import json
import re
import secrets
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple, TypeVar

from puna.stream import ToolCall
from puna.tokens.call_forms import Began, Named, Piece, Step, Window, any_call, opening
from puna.tokens.literals import UnreadableError

# The tool of a reply that starts with python_start and is not a call: code to run. [meta]
CODE_INTERPRETER = "code_interpreter"

_OPENER = re.compile(r"\[(?=[\[\s\w{<]|\Z)|\{(?=[\s\"]|\Z)|<(?=f|\Z)")
# Between calls, and after the last one: lists that end or begin, commas, and the semicolons that Llama 3 puts there.
_BETWEEN = re.compile(r"[\s,;\[\]]*")
_LIST_ENDS = re.compile(r"[\s,;]*\](?:\s*\])*")
_MOST_BETWEEN = 4096
# What looked like a call and is text is read once more, for a call inside it. Both bounds keep reading linear.
_FREE_AGAIN = 64
_MOST_AGAIN = 1 << 16
_FENCES = ("```", "~~~")

T = TypeVar("T")
Reading = Generator[None, None, T]  # yields when it needs more text


@dataclass(frozen=True, slots=True)
class ReplyText:
    """The reply's text goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call begins; `index` counts the reply's calls from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A call's arguments go on: the fragments of one call, joined, are a JSON object in compact form."""

    index: int
    json_fragment: str


@dataclass(frozen=True, slots=True)
class CallEnd:
    """A call's arguments are whole."""

    index: int


ReplyEvent = ReplyText | CallStart | CallArguments | CallEnd


class BrokenCall(NamedTuple):
    """A call that began and never ended. `arguments`: the cut JSON that was told of it. `source`: what the model wrote."""

    index: int
    id: str
    name: str
    arguments: str
    source: str


class WholeReply(NamedTuple):
    """A reply at its end.

    events: what `close` had left to tell. text: the text of all events. full_text: the same, with what the model wrote in place of each
    broken call, for who is told nothing of them. arguments: those of `calls` as JSON, as their fragments told it.
    failures: how often something that looked like a call to a tool on offer could not be read as one.
    """

    events: list[ReplyEvent]
    text: str
    full_text: str
    calls: tuple[ToolCall, ...]
    arguments: tuple[str, ...]
    broken: tuple[BrokenCall, ...]
    failures: int


@dataclass(slots=True)
class _Begun:
    """The call that is being told."""

    index: int
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Attempt:
    """Reading calls from one opener on. `depth`: lists that are open. `between`: what was read since the last whole call."""

    is_quoted: bool
    has_opened: bool = False
    depth: int = 0
    between: str | None = None
    has_name: bool = False
    has_ended: bool = False


class ReplyReader:
    """Reads one reply. `push` its text in pieces, tell of the python tags, then `close` it; all give the events that have become sure.

    names: the tools on offer; what looks like a call to anything else is text. None allows every name. new_id makes a call's id.
    """

    def __init__(self, names: Collection[str] | None, new_id: Callable[[], str] | None = None) -> None:
        self._names = None if names is None else frozenset(names)
        self._new_id = new_id or _new_id
        self._events: list[ReplyEvent] = []
        self._held: list[ReplyEvent] | None = None  # what is only sure if nothing but calls follows
        self._blank: list[str] = []  # space before the first word: no text, if calls are all there is
        self._said: list[str] = []
        self._whole: list[str] = []
        self._started = 0
        self._calls: list[ToolCall] = []
        self._arguments: list[str] = []
        self._broken: list[BrokenCall] = []
        self._begun: _Begun | None = None
        self._failures = 0
        self._is_cut = False
        self._again = _MOST_AGAIN
        self._begin_segment(is_code=False)

    def push(self, text: str) -> list[ReplyEvent]:
        if text:
            self._window.push(text)
            next(self._reading)
        return self._told()

    def python_start(self) -> list[ReplyEvent]:
        """The model wrote the id python_start: code or calls follow."""
        self._end_segment()
        self._begin_segment(is_code=True)
        return self._told()

    def python_end(self) -> list[ReplyEvent]:
        self._end_segment()
        self._begin_segment(is_code=False)
        return self._told()

    def close(self, cut: bool = False) -> WholeReply:
        """The end of the reply; nothing can be pushed after it.

        cut: the reply was ended from outside, by a limit on its tokens or a stop string. A call that is then unfinished is broken, which
        is not counted as a failure.
        """
        self._is_cut = cut
        self._end_segment()
        if not self._started and self._blank:
            self._tell_text("".join(self._blank))
        full_text = "".join(self._whole)
        if self._calls and not full_text.strip():
            full_text = ""
        calls, arguments, broken = tuple(self._calls), tuple(self._arguments), tuple(self._broken)
        return WholeReply(self._told(), "".join(self._said), full_text, calls, arguments, broken, self._failures)

    # Segments: what stands between python tags

    def _begin_segment(self, is_code: bool) -> None:
        self._window = Window()
        self._line = ""  # how the current line begins, "" if it is blank so far
        self._is_fenced = False
        runs_code = is_code and (self._names is None or CODE_INTERPRETER in self._names)
        self._reading = self._read_code() if runs_code else self._read_text()

    def _end_segment(self) -> None:
        self._window.ended = True
        for _ in self._reading:
            raise AssertionError("a reader asked for more text than there is")

    def _read_text(self) -> Reading[None]:
        window = self._window
        has_tools = self._names is None or len(self._names) > 0
        while True:
            window.keep()
            opener = _OPENER.search(window.text, window.at) if has_tools else None
            place = opener.start() if opener else len(window.text)
            self._say(window.text[window.at : place])
            window.at = place
            if opener:
                yield from self._read_calls(self._say)
            elif window.ended:
                return
            else:
                yield

    def _read_code(self) -> Reading[None]:
        """Code, unless it begins with a call."""
        window, space, place = self._window, "", len(self._whole)
        while True:
            unread = window.text[window.at :]
            size = len(unread) - len(unread.lstrip())
            space += unread[:size]
            window.at += size
            if window.has_more():
                break
            if window.ended:
                return self._say(space)
            window.keep()
            yield
        code = [space]
        if _OPENER.match(window.text, window.at) and (yield from self._read_calls(code.append)):
            if not self._calls:
                self._whole.insert(place, space)  # before the broken call
            return (yield from self._read_text())
        self._begin(CODE_INTERPRETER)
        self._tell_arguments('{"code":"')
        told = 0
        while True:
            code.append(window.text[window.at :])
            window.at = len(window.text)
            window.keep()
            self._tell_arguments(json.dumps("".join(code[told:]), ensure_ascii=False)[1:-1])
            told = len(code)
            if window.ended:
                break
            yield
        if self._is_cut:
            self._break("".join(code))
        else:
            self._tell_arguments('"}')
            self._end()

    # Calls

    def _read_calls(self, release: Callable[[str], None]) -> Reading[bool]:
        """Calls from this opener on, if there are any; else part of what was read goes to `release`, and the rest is to be read as text."""
        window = self._window
        window.keep()
        attempt = _Attempt(is_quoted=self._is_fenced or (self._line != "" and window.text[window.at] != "<"))
        before = self._started, len(self._calls)
        if attempt.is_quoted:
            self._held = []
        try:
            attempt.depth = yield from self._steps(opening(window), attempt)
            attempt.has_opened = True
            while True:
                yield from self._steps(any_call(window, self._names, attempt.depth), attempt)
                if not (yield from self._read_between(attempt)):
                    break
        except UnreadableError:
            at_end = window.ended and not window.has_more()
            if not (attempt.has_ended and at_end):  # a whole call that only lacks its closing brace
                if not attempt.is_quoted:
                    return self._give_up(attempt, release, is_counted=not (at_end and self._is_cut))
                self._forget(*before)
                self._release(release, attempt.has_opened)
                return False
        self._events += self._held or ()
        self._held = None
        return True

    def _steps(self, steps: Generator[Step, None, T], attempt: _Attempt) -> Reading[T]:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                attempt.has_ended = False
                return stop.value
            if step is None:
                yield
            elif isinstance(step, Named):
                attempt.has_name = True
            elif isinstance(step, Began):
                self._begin(step.name)
            elif isinstance(step, Piece):
                self._tell_arguments(step.json)
            else:
                self._end()
                attempt.has_ended, attempt.has_name, attempt.between = True, False, ""
                if not attempt.is_quoted:
                    self._window.keep()

    def _read_between(self, attempt: _Attempt) -> Reading[bool]:
        """Read what may stand between two calls; whether there is another one. Raises `UnreadableError` if text follows."""
        window, attempt.between = self._window, ""
        while True:
            if found := _BETWEEN.match(window.text, window.at):
                attempt.between += found[0]
                window.at = found.end()
                for bracket in found[0]:
                    attempt.depth = attempt.depth + 1 if bracket == "[" else max(0, attempt.depth - (bracket == "]"))
            if not attempt.is_quoted:
                window.keep()
            if window.has_more():
                break
            if window.ended:
                return False
            if len(attempt.between) > _MOST_BETWEEN:
                raise UnreadableError
            yield
        following = window.text[window.at]
        if following in "{<" or (attempt.depth and (following.isalnum() or following == "_")):
            return True
        raise UnreadableError

    def _give_up(self, attempt: _Attempt, release: Callable[[str], None], is_counted: bool) -> bool:
        """This is no call, or no call any more; whether there was one."""
        if self._begun is not None:
            self._failures += is_counted
            self._break(self._window.read())
            return True
        was_meant = attempt.has_name or attempt.has_ended or (attempt.between is not None and attempt.depth > 0)
        self._failures += is_counted and was_meant
        if attempt.between is None:
            self._release(release, attempt.has_opened)
            return False
        ends = _LIST_ENDS.match(attempt.between)
        self._say(attempt.between[ends.end() if ends else 0 :])
        self._release(self._say)
        return True

    def _forget(self, started: int, calls: int) -> None:
        """Calls that were only talked about."""
        self._held, self._begun, self._started = None, None, started
        del self._calls[calls:], self._arguments[calls:]

    def _release(self, release: Callable[[str], None], may_hold_calls: bool = True) -> None:
        """What was read is text: its first character, and the rest is read again; or all of it, when enough has been read again."""
        window = self._window
        is_free = window.can_go_back(_FREE_AGAIN)
        if not may_hold_calls or not (is_free or window.can_go_back(self._again)):
            release(window.read())
        elif size := window.go_back():
            self._again -= 0 if is_free else size
            release(window.text[window.at])
            window.at += 1

    # Telling

    def _tell(self, event: ReplyEvent) -> None:
        (self._events if self._held is None else self._held).append(event)

    def _tell_text(self, text: str) -> None:
        self._said.append(text)
        self._tell(ReplyText(text))

    def _begin(self, name: str) -> None:
        self._begun = _Begun(self._started, self._new_id(), name)
        self._started += 1
        self._tell(CallStart(self._begun.index, self._begun.id, name))

    def _tell_arguments(self, fragment: str) -> None:
        if fragment and self._begun:
            self._begun.pieces.append(fragment)
            self._tell(CallArguments(self._begun.index, fragment))

    def _end(self) -> None:
        if self._begun:
            arguments = "".join(self._begun.pieces)
            self._calls.append(ToolCall(self._begun.name, json.loads(arguments), self._begun.id))
            self._arguments.append(arguments)
            self._tell(CallEnd(self._begun.index))
        self._begun = None
        self._line = ""

    def _break(self, source: str) -> None:
        if self._begun:
            index, call_id, name = self._begun.index, self._begun.id, self._begun.name
            self._broken.append(BrokenCall(index, call_id, name, "".join(self._begun.pieces), source))
        self._whole.append(source)
        self._begun = None
        self._line = "..."  # the text goes on inside a line

    def _say(self, text: str) -> None:
        if not text:
            return
        self._whole.append(text)
        self._follow_lines(text)
        if self._said or text.strip():
            self._tell_text("".join(self._blank) + text)
            self._blank.clear()
        else:
            self._blank.append(text)

    def _follow_lines(self, text: str) -> None:
        for place, line in enumerate(text.split("\n")):
            if place:
                self._is_fenced ^= self._line.startswith(_FENCES)
                self._line = ""
            self._line = (self._line + line).lstrip()[:3]

    def _told(self) -> list[ReplyEvent]:
        """The new events; neighbours that go on with the same are one."""
        told: list[ReplyEvent] = []
        for (kind, index), group in groupby(self._events, key=lambda event: (type(event), getattr(event, "index", None))):
            events = list(group)
            if kind is ReplyText:
                told.append(ReplyText("".join(event.text for event in events if isinstance(event, ReplyText))))
            elif kind is CallArguments and index is not None:
                told.append(CallArguments(index, "".join(event.json_fragment for event in events if isinstance(event, CallArguments))))
            else:
                told += events
        self._events = []
        return told


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"
