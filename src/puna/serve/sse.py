"""Server-sent events, and what happens when a client goes away."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from puna.pipeline import Event
from puna.serve.errors import as_api_error
from puna.serve.exchange import Exchange
from puna.serve.running import Running, Silence

T = TypeVar("T")

_log = logging.getLogger(__name__)

DONE = b"data: [DONE]\n\n"


def frame(data: BaseModel | str, event: str | None = None) -> bytes:
    """One event: JSON in one line, after its name if it has one."""
    text = data if isinstance(data, str) else data.model_dump_json()
    return (f"event: {event}\n" if event else "").encode() + b"data: " + text.encode() + b"\n\n"


class EventStream(StreamingResponse):
    """A streamed answer. However it ends, `running` is stopped: at a disconnect, before its next token."""

    def __init__(self, exchange: Exchange, running: Running, prompt_tokens: int, first: Event | Silence | None, ping_s: float) -> None:
        content = _frames(exchange, running, prompt_tokens, first, ping_s)
        super().__init__(content, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}, media_type="text/event-stream")
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self.stream_response(send))
        except ClientDisconnect:
            pass  # nobody is left to be told
        finally:
            self._running.stop()


async def _frames(
    exchange: Exchange, running: Running, prompt_tokens: int, first: Event | Silence | None, ping_s: float
) -> AsyncIterator[bytes]:
    """`first` is what has come before the headers went out. An error after them cannot be a status code any more: it is an event."""
    event = first
    try:
        yield b"".join(exchange.opening(prompt_tokens))
        while event is not None:
            frames = exchange.ping if isinstance(event, Silence) else b"".join(exchange.frames(event))
            if frames:
                yield frames
            event = await running.next(ping_s)
        last = b"".join(exchange.closing())
    except Exception as error:
        told = as_api_error(error)
        if told.status >= 500 and told is not error:  # what was raised to be told, as at a server's end, is no failure
            _log.exception("an answer failed after its stream had begun")
        last = b"".join(exchange.failing(told))
    yield last


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """The result of `work`; if the client goes away first, `work` is cancelled and `ClientDisconnect` raised.

    Only after the body has been read: `receive` would give the next piece of it.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait((task,))
        raise ClientDisconnect()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
