"""One choice's tokens to its events: characters, stop strings, tool calls, scores. Knows neither engine nor threads.

Text that may begin a stop string is held back until it is decided, and a token's score until its text is out: what a stop string cuts
off was never said, nor scored.
"""

import json
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from puna.engine import Token
from puna.pipeline.ask import CallBegun, CallBroken, CallDone, CallPiece, ChoiceEvent, Finished, FinishReason, Scored, TextDelta
from puna.stream import ToolCall
from puna.tokens.bpe import Tokenizer
from puna.tokens.incremental import IncrementalDecoder
from puna.tokens.reply import CallArguments, CallEnd, CallStart, ReplyEvent, ReplyReader, ReplyText


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)


class AnswerReader:
    """`push` each token, then `close`; a stop string may end it before (`is_done`), after which nothing may be pushed.

    `tools`: names of those on offer; without any, all is text. `has_form_or_calls`: the answer is held to a form or to a list of calls, so
    that all is text unless it begins as such a list: JSON of a form may look like a call, and is none. `new_id` makes a call's id.
    """

    def __init__(
        self,
        choice: int,
        tokenizer: Tokenizer,
        eos_ids: Sequence[int],
        *,
        stops: Sequence[str] = (),
        tools: Collection[str] = (),
        has_form_or_calls: bool = False,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self.choice = choice
        self.num_tokens = 0
        self.is_done = False
        self._tokenizer = tokenizer
        self._eos_ids = frozenset(eos_ids)
        self._stops = tuple(stops)
        self._decoder = IncrementalDecoder(tokenizer)
        self._held = ""
        self._num_seen = self._num_said = 0  # characters: of all tokens, and of what no stop string can take back
        self._scores: deque[tuple[int, Scored]] = deque()  # with the number of characters that are seen at their end
        self._closing: list[Scored] = []
        self._is_cut = True  # until the model ends it
        self._reply = ReplyReader(tools, new_id) if tools else None
        self._calls: dict[int, _Call] = {}
        self._openers = tuple(f"[{name}(" for name in tools) if has_form_or_calls else ()  # until it is known which of both it is

    def push(self, token: Token) -> list[ChoiceEvent]:
        self.num_tokens += 1
        if token.finish_reason == "stop":
            self._is_cut = False
        is_closing = token.id in self._eos_ids
        text = "" if is_closing else self._decoder.push(token.id)
        if token.logprob is not None:
            score = score_of(self._tokenizer, token.id, token.logprob, token.top)
            if is_closing:
                self._closing.append(score)
            else:
                self._scores.append((self._num_seen + len(text), score))
        tag = self._tag(token.id)
        return self._read(text, is_last=False) if tag is None else [*self._read(self._decoder.flush(), is_last=True), *self._told(tag())]

    def close(self) -> list[ChoiceEvent]:
        """What is left, and why it ended. Nothing is left where a stop string ended it."""
        if self.is_done:
            return []
        events = self._read(self._decoder.flush(), is_last=True)
        return events if self.is_done else [*events, *self._end(None)]

    def _tag(self, token_id: int) -> Callable[[], list[ReplyEvent]] | None:
        """What the reader of calls is told of a python tag."""
        special = self._tokenizer.special
        if self._reply is None or token_id not in (special.python_start, special.python_end):
            return None
        return self._reply.python_start if token_id == special.python_start else self._reply.python_end

    def _read(self, text: str, is_last: bool) -> list[ChoiceEvent]:
        self._held += text
        self._num_seen += len(text)
        found = first_stop(self._held, self._stops)
        if found is not None:
            at, stop = found
            self._settle(self._held[:at], is_last=True)
            return [*self._say(self._held[:at]), *self._end(stop)]
        safe = len(self._held) if is_last else len(self._held) - held_back(self._held, self._stops)
        if not self._settle(self._held[:safe], is_last):
            safe = 0
        said, self._held = self._held[:safe], self._held[safe:]
        return self._say(said)

    def _settle(self, beginning: str, is_last: bool) -> bool:
        """Whether it is known if the answer is calls or of its form; if it is, nothing in it is a call."""
        if not self._openers:
            return True
        is_calls = beginning.startswith(self._openers)
        if not is_calls and not is_last and any(opener.startswith(beginning) for opener in self._openers):
            return False
        if not is_calls:
            self._reply = None
        self._openers = ()
        return True

    def _say(self, text: str) -> list[ChoiceEvent]:
        self._num_said += len(text)
        scores: list[Scored] = []
        while self._scores and self._scores[0][0] <= self._num_said:
            scores.append(self._scores.popleft()[1])
        if self._reply is None:
            return [TextDelta(self.choice, text, self.num_tokens, tuple(scores))] if text or scores else []
        events = self._told(self._reply.push(text))
        if scores:  # of text, or of a call: they go with the text, if there is any
            place = next((place for place, event in enumerate(events) if isinstance(event, TextDelta)), None)
            if place is None:
                return [TextDelta(self.choice, "", self.num_tokens, tuple(scores)), *events]
            events[place] = replace(events[place], scores=tuple(scores))
        return events

    def _told(self, events: Sequence[ReplyEvent]) -> list[ChoiceEvent]:
        told: list[ChoiceEvent] = []
        for event in events:
            match event:
                case ReplyText(text):
                    told.append(TextDelta(self.choice, text, self.num_tokens))
                case CallStart(index, id, name):
                    self._calls[index] = _Call(id, name)
                    told.append(CallBegun(self.choice, index, id, name))
                case CallArguments(index, fragment):
                    self._calls[index].pieces.append(fragment)
                    told.append(CallPiece(self.choice, index, fragment))
                case CallEnd(index):
                    call = self._calls[index]
                    told.append(CallDone(self.choice, index, ToolCall(call.name, json.loads("".join(call.pieces)), call.id)))
        return told

    def _end(self, stop: str | None) -> list[ChoiceEvent]:
        self.is_done = True
        reason: FinishReason = "stop" if stop is not None or not self._is_cut else "length"
        events: list[ChoiceEvent] = []
        failures = 0
        if self._reply is not None:
            whole = self._reply.close(cut=self._is_cut or stop is not None)
            events += self._told(whole.events)
            events += [CallBroken(self.choice, each.index, each.source) for each in whole.broken]
            failures = whole.failures
            if whole.calls and not (whole.broken and self._is_cut):
                reason = "tool_calls"
        return [*events, Finished(self.choice, reason, self.num_tokens, stop, tuple(self._closing), failures)]


def score_of(tokenizer: Tokenizer, token_id: int, logprob: float | None, top: Sequence[tuple[int, float]]) -> Scored:
    best = tuple((each, token_data(tokenizer, each), value) for each, value in top)
    return Scored(token_id, token_data(tokenizer, token_id), logprob, best)


def token_data(tokenizer: Tokenizer, token_id: int) -> bytes:
    """A token's bytes, or the name of a special one; none for an id that the model has beyond its tokenizer."""
    return tokenizer.token_bytes(token_id, keep_special=True) if token_id < tokenizer.vocab_size else b""


def first_stop(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Where the first stop string begins, and which it is; of those that begin together, the first given."""
    places = [(text.find(stop), order) for order, stop in enumerate(stops) if stop in text]
    if not places:
        return None
    at, order = min(places)
    return at, stops[order]


def held_back(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins a stop string."""
    longest = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), longest, -1):
            if stop.startswith(text[-size:]):
                longest = size
                break
    return longest
