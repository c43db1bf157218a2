"""A pipeline that says what it is told to: for tests of whatever stands in front of one, without a model.

Each answer takes the next reply of the script, and after the last the first again. Text comes word by word, one token a word, and a prompt
is counted with the byte tokenizer, so that all numbers are the same on every run.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from puna.config import ModelConfig
from puna.pipeline import (
    Ask,
    CallBegun,
    CallDone,
    CallPiece,
    ChoiceEvent,
    Chunk,
    Event,
    Finished,
    PromptScored,
    Reply,
    Scored,
    TextDelta,
    Usage,
)
from puna.pipeline.room import answer_length
from puna.presets import preset
from puna.stream import Message, Text, ToolCall
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.chat import ChatFormat

# One reply: what to say, what to call, or what to raise. A sequence mixes them, in order.
Line = str | ToolCall | Exception
Script = Line | Sequence[Line]

# What every token of an answer and of a prompt is worth, where scores are asked for.
LOGPROB = -0.5


@dataclass(frozen=True, slots=True)
class ScriptedRequest:
    """What one call was asked: by `chat` and `stream` as `messages` and `options`, by `answer` as an `ask` with its checked length."""

    messages: tuple[Message, ...]
    options: Mapping[str, Any]
    ask: Ask | None = None


class ScriptedAsk(NamedTuple):
    ask: Ask
    prompt_tokens: int
    max_tokens: int


class ScriptedPipeline:
    """Has the surface of `puna.pipeline.Pipeline` that chat and server need. Its config is scout-nano's; only name, context and vision
    mean anything.

    `seconds_per_token` slows it down; `hold`, when given, must be set before each chunk (a test decides when the next token comes).

    >>> ScriptedPipeline("Hello there").chat([Message("user", (Text("Hi"),))]).text
    'Hello there'
    """

    def __init__(
        self,
        *replies: Script,
        name: str = "scripted",
        config: ModelConfig | None = None,
        seconds_per_token: float = 0.0,
        hold: threading.Semaphore | None = None,
        cached_tokens: int = 0,
    ) -> None:
        if not replies:
            raise ValueError("a scripted pipeline without replies cannot answer; give at least one")
        self.name = name
        self.config = config or replace(preset("scout-nano"), name=name)
        self.tokenizer = byte_tokenizer()
        self.chat_format = ChatFormat(self.tokenizer, self.config.vision)
        self.requests: list[ScriptedRequest] = []
        self.running = 0
        self.most_running = 0
        self.abandoned = 0
        self._replies = [[reply] if isinstance(reply, Line) else list(reply) for reply in replies]
        self._answers = 0
        self._seconds_per_token = seconds_per_token
        self._hold = hold
        self._cached_tokens = cached_tokens

    # As in `Pipeline`: all at once, and in a loop

    def chat(self, messages: Sequence[Message], **options: Any) -> Reply:
        chunks = list(self.stream(messages, **options))
        text = "".join(chunk.text for chunk in chunks)
        calls = tuple(call for chunk in chunks for call in chunk.tool_calls)
        last = chunks[-1]
        assert last.finish_reason is not None
        message = Message("assistant", (Text(text),) if text else (), calls)
        return Reply(message, last.finish_reason, last.prompt_tokens, last.completion_tokens)

    def stream(self, messages: Sequence[Message], **options: Any) -> Generator[Chunk, None, None]:
        """The next reply of the script. Counts how many run at once, and how many were closed before their end (`abandoned`)."""
        script = self._next_reply()
        self.requests.append(ScriptedRequest(tuple(messages), options))
        prompt_tokens = len(self.chat_format.encode(messages, options.get("tools")))
        self._begin()
        try:
            for event in self._events(0, script, options.get("max_tokens", 256), is_scored=False):
                self._wait()
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, TextDelta):
                    yield Chunk(event.text, None, prompt_tokens, event.tokens)
                elif isinstance(event, CallDone):
                    yield Chunk("", None, prompt_tokens, 0, (event.call,))
                elif isinstance(event, Finished):
                    yield Chunk("", event.reason, prompt_tokens, event.completion_tokens)
        except GeneratorExit:
            self.abandoned += 1
            raise
        finally:
            self.running -= 1

    # As in `Pipeline`: asks and events

    def prepare(self, ask: Ask, default_max_tokens: int | None = None) -> ScriptedAsk:
        if ask.prompt_ids is None:
            prompt_tokens = len(self.chat_format.encode(ask.messages, ask.offered_tools))
        else:
            prompt_tokens = len(ask.prompt_ids)
        return ScriptedAsk(ask, prompt_tokens, answer_length(ask, prompt_tokens, self.config.max_positions, default_max_tokens))

    async def answer(self, asked: Sequence[ScriptedAsk]) -> AsyncGenerator[Event, None]:
        """Each choice takes the next reply; one after the other."""
        for each in asked:
            self.requests.append(ScriptedRequest(each.ask.messages, {"max_tokens": each.max_tokens}, each.ask))
        self._begin()
        try:
            choice, completion_tokens = 0, 0
            for place, (ask, _, max_tokens) in enumerate(asked):
                if ask.prompt_logprobs is not None:
                    yield PromptScored(place, self._prompt_scores(ask))
                for _ in range(ask.n):
                    for event in self._events(choice, self._next_reply(), max_tokens, is_scored=ask.logprobs is not None):
                        await self._wait_in_loop()
                        if isinstance(event, Exception):
                            raise event
                        yield event
                        if isinstance(event, Finished):
                            completion_tokens += event.completion_tokens
                    choice += 1
            yield Usage(sum(each.prompt_tokens for each in asked), completion_tokens, self._cached_tokens)
        except (GeneratorExit, asyncio.CancelledError):
            self.abandoned += 1
            raise
        finally:
            self.running -= 1

    async def aclose(self) -> None:
        pass

    def _next_reply(self) -> Sequence[Line]:
        self._answers += 1
        return self._replies[(self._answers - 1) % len(self._replies)]

    def _begin(self) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)

    def _events(
        self, choice: int, script: Sequence[Line], max_tokens: int, is_scored: bool
    ) -> Generator[ChoiceEvent | Exception, None, None]:
        made, calls = 0, 0
        for line in script:
            if isinstance(line, Exception):
                yield line
            elif isinstance(line, ToolCall):
                made += 1
                yield CallBegun(choice, calls, line.id or f"call_{choice}_{calls}", line.name)
                yield CallPiece(choice, calls, json.dumps(dict(line.arguments), ensure_ascii=False, separators=(",", ":")))
                yield CallDone(choice, calls, line)
                calls += 1
            else:
                for word in re.findall(r"\S+\s*|\s+", line):
                    if made == max_tokens:
                        yield Finished(choice, "length", made)
                        return
                    made += 1
                    scores = (Scored(made, word.encode(), LOGPROB, ((made, word.encode(), LOGPROB),)),) if is_scored else ()
                    yield TextDelta(choice, word, made, scores)
        yield Finished(choice, "tool_calls" if calls else "stop", made)

    def _prompt_scores(self, ask: Ask) -> tuple[Scored, ...]:
        assert ask.prompt_ids is not None, "only plain prompts are scored"
        datas = [self.tokenizer.token_bytes(each, keep_special=True) for each in ask.prompt_ids]
        first, *rest = zip(ask.prompt_ids, datas, strict=True)
        return (Scored(*first, None, ()), *(Scored(*each, LOGPROB, ((*each, LOGPROB),)) for each in rest))

    def _wait(self) -> None:
        if self._hold is not None:
            self._hold.acquire()
        if self._seconds_per_token:
            time.sleep(self._seconds_per_token)

    async def _wait_in_loop(self) -> None:
        while self._hold is not None and not self._hold.acquire(blocking=False):
            await asyncio.sleep(0.002)
        await asyncio.sleep(self._seconds_per_token)
