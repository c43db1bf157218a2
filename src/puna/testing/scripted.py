"""A pipeline that says what it is told to: for tests of whatever stands in front of one, without a model.

Each call takes the next reply of the script, and after the last the first again. Text comes word by word, one token a word, and a prompt
is counted with the byte tokenizer, so that all numbers are the same on every run.
"""

import re
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from puna.config import ModelConfig
from puna.pipeline import Chunk, Reply
from puna.presets import preset
from puna.stream import Message, Text, ToolCall
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.chat import ChatFormat

# One reply: what to say, what to call, or what to raise. A sequence mixes them, in order.
Line = str | ToolCall | Exception
Script = Line | Sequence[Line]


@dataclass(frozen=True, slots=True)
class ScriptedRequest:
    """What one call was asked."""

    messages: tuple[Message, ...]
    options: Mapping[str, Any]


class ScriptedPipeline:
    """Has the surface of `puna.pipeline.Pipeline` that chat needs. Its config is scout-nano's; only name, context and vision mean anything.

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
        self._seconds_per_token = seconds_per_token
        self._hold = hold

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
        script = self._replies[len(self.requests) % len(self._replies)]
        self.requests.append(ScriptedRequest(tuple(messages), options))
        prompt_tokens = len(self.chat_format.encode(messages, options.get("tools")))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            yield from self._chunks(script, prompt_tokens, options.get("max_tokens", 256))
        except GeneratorExit:
            self.abandoned += 1
            raise
        finally:
            self.running -= 1

    def _chunks(self, script: Sequence[Line], prompt_tokens: int, max_tokens: int) -> Generator[Chunk, None, None]:
        made, calls = 0, []
        for line in script:
            if isinstance(line, Exception):
                self._wait()
                raise line
            if isinstance(line, ToolCall):
                calls.append(line)
                continue
            for word in re.findall(r"\S+\s*|\s+", line):
                if made == max_tokens:
                    yield Chunk("", "length", prompt_tokens, made, ())
                    return
                self._wait()
                made += 1
                yield Chunk(word, None, prompt_tokens, made, ())
        self._wait()
        yield Chunk("", "tool_calls" if calls else "stop", prompt_tokens, made + len(calls), tuple(calls))

    def _wait(self) -> None:
        if self._hold is not None:
            self._hold.acquire()
        if self._seconds_per_token:
            time.sleep(self._seconds_per_token)
