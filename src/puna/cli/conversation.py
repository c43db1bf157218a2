"""A conversation with a pipeline: what has been said, what waits to be seen with the next line, and the options of every answer.

Knows messages and chunks; knows nothing of terminals. An answer that fails leaves the conversation as it was; one that is stopped
leaves what was said so far.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from puna.cli.error import UserError
from puna.config import ModelConfig
from puna.stream import Image, Message, Part, Text, ToolCall, Video


class Chunk(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def tool_calls(self) -> tuple[ToolCall, ...]: ...


class Pipeline(Protocol):
    """What a conversation needs of `puna.pipeline.Pipeline`."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def stream(self) -> Callable[..., Iterator[Chunk]]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """How an answer ended: `finish_reason` is the pipeline's, or "stopped" when the reader had enough."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    tokens: int
    seconds: float


@dataclass(slots=True)
class Conversation:
    pipeline: Pipeline
    system: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(init=False)
    waiting: list[Image | Video] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets all that was said, and the pictures and videos that wait; the system prompt stays."""
        self.messages = [Message("system", (Text(self.system),))] if self.system else []
        self.waiting = []

    def look(self, path: str | Path) -> Image | Video:
        """The picture or the video at `path`, cut for this model."""
        from puna.media import load_media, video_tokens

        config = self.pipeline.config
        if config.vision is None:
            raise UserError(f"{self.pipeline.name} has no vision tower and cannot see {path}; scout, maverick and the nanos can")
        return load_media(Path(path), config.vision, max_tokens=video_tokens(config.max_positions))

    def attach(self, path: str | Path) -> Image | Video:
        """Keeps the picture or the video at `path` for the next question, before its words."""
        seen = self.look(path)
        self.waiting.append(seen)
        return seen

    def ask(self, parts: Sequence[Part], write: Callable[[str], None]) -> Answer:
        """Puts the question and hands each piece of the answer to `write`. KeyboardInterrupt stops the answer and goes no further."""
        question = Message("user", (*self.waiting, *parts))
        said: list[str] = []
        calls: list[ToolCall] = []
        finish_reason, tokens, start = None, 0, perf_counter()
        chunks = self.pipeline.stream([*self.messages, question], **self.options)
        try:
            for chunk in chunks:
                tokens, finish_reason = chunk.completion_tokens, chunk.finish_reason
                calls += chunk.tool_calls
                if chunk.text:
                    said.append(chunk.text)
                    write(chunk.text)
        except KeyboardInterrupt:
            finish_reason = "stopped"
        finally:
            close = getattr(chunks, "close", None)  # frees the engine's pages now rather than at the next collection
            if close is not None:
                close()
        text = "".join(said)
        if text or calls or finish_reason != "stopped":
            self.messages += [question, Message("assistant", (Text(text),) if text else (), tuple(calls))]
            self.waiting = []
        return Answer(text=text, tool_calls=tuple(calls), finish_reason=finish_reason, tokens=tokens, seconds=perf_counter() - start)
