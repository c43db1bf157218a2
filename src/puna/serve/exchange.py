"""What an API's module gives the core for one request: what to ask, and how to say the answer. The core knows no API's words."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from puna.config import ModelConfig
from puna.pipeline import Answer, Ask, Event
from puna.serve.errors import ApiError
from puna.stream import Message, Stream
from puna.tokens.bpe import Tokenizer


class ChatFormat(Protocol):
    def encode(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None, add_generation_prompt: bool = True
    ) -> Stream: ...


class Asked(Protocol):
    """An ask that has passed every check."""

    @property
    def ask(self) -> Ask: ...
    @property
    def prompt_tokens(self) -> int: ...


class Answering(Protocol):
    """What this server needs of `puna.pipeline.Pipeline`; `puna.testing.scripted` has another one."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def chat_format(self) -> ChatFormat: ...
    def prepare(self, ask: Ask, default_max_tokens: int | None = None) -> Any: ...
    def answer(self, asked: Sequence[Any]) -> Any: ...
    async def aclose(self) -> None: ...


class Exchange(Protocol):
    """One request in an API's words. Made by the API's reader out of the body, used once.

    A whole answer is `whole`. A streamed one is the frames of `opening`, of each event as it comes, and of `closing`; or, when something
    goes wrong on the way, those of `failing` at the end. A frame is the bytes of one server-sent event, empty line included. `ping` is
    sent in a long silence.
    """

    @property
    def asks(self) -> Sequence[Ask]: ...
    @property
    def stream(self) -> bool: ...
    @property
    def ping(self) -> bytes: ...

    def whole(self, answer: Answer) -> BaseModel | Mapping[str, Any]: ...
    def opening(self, prompt_tokens: int) -> Iterable[bytes]: ...
    def frames(self, event: Event) -> Iterable[bytes]: ...
    def closing(self) -> Iterable[bytes]: ...
    def failing(self, error: ApiError) -> Iterable[bytes]: ...


@runtime_checkable
class Watching(Protocol):
    """An exchange that sees the events of its answer before anybody is told, and may do something first, such as write them down."""

    def watched(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]: ...


PING = b": still here\n\n"
