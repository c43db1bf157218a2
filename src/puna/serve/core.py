"""From a request to its response, whatever the API: the line, the reading in threads, the guard, the answer whole or streamed.

An API's route is `return await core.respond(request, read)`, where `read` makes an `Exchange` of the body. One request's mistake or
failure is that request's alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from puna.engine import ContextError, GrammarError, SamplingError
from puna.pipeline import Ask, Event
from puna.serve.conversation import Conversation
from puna.serve.errors import ApiError, Voices, refused_option
from puna.serve.exchange import Answering, Asked, Exchange, Watching
from puna.serve.guard import Guard, check_asks, guarded
from puna.serve.limits import Limits, read_body
from puna.serve.line import Line, Ticket, closing
from puna.serve.metrics import Metrics
from puna.serve.noted import NotedGuard, noted
from puna.serve.openapi import Described
from puna.serve.record import Record, record_of
from puna.serve.running import Running
from puna.serve.sse import EventStream, unless_gone

T = TypeVar("T")
Read = Callable[[bytes], Exchange]


class Begun(NamedTuple):
    """An answer under way. Whoever has it must see `running` to its end, or stop it."""

    exchange: Exchange
    asked: Sequence[Asked]
    running: Running


class Core:
    """What all APIs share: a pipeline, limits, perhaps a guard, and the answers under way."""

    def __init__(self, pipeline: Answering, limits: Limits, guard: Guard | None = None, metrics: Metrics | None = None) -> None:
        self.pipeline, self.limits, self.metrics = pipeline, limits, metrics
        self.guard = NotedGuard(guard, metrics) if guard is not None and metrics is not None else guard
        self.voices = Voices()
        self.described = Described()
        self.line = Line(limits.answering, limits.waiting)
        self._running: set[Running] = set()
        self._is_over = False
        self._readers = ThreadPoolExecutor(limits.readers, thread_name_prefix="puna-read")

    # For an API's reader

    def check_model(self, model: str | None) -> None:
        """A client may leave the model out; another one is a 404."""
        if model is not None and model != self.pipeline.name:
            message = f"model={model!r} is not served here; this server has {self.pipeline.name!r}"
            raise ApiError(404, message, code="model_not_found", param="model")

    def conversation(self, param: str = "messages") -> Conversation:
        return Conversation(self.pipeline.name, self.pipeline.config, self.limits, param, self.metrics)

    # For an API's routes

    async def respond(self, request: Request, read: Read) -> Response:
        """`read` is called in a thread with the whole body; it raises `ApiError` for a client's mistake."""
        try:
            return await self.told(request, await self.begin(request, read))
        except ClientDisconnect:
            return nobody_listens()

    async def begin(self, request: Request, read: Read) -> Begun:
        """The first half of `respond`, for an answer that may go on without its client. Raises `ClientDisconnect`."""
        ticket = self.line.ticket()
        try:
            body = await read_body(request, self.limits)
            exchange, asked = await unless_gone(request.receive, self._prepared(read, body))
        except BaseException:
            ticket.give_back()
            raise
        running = self._start(exchange, asked, ticket, record_of(request.scope))
        if self._is_over:  # the deadline came while it was read
            running.fail(closing())
        return Begun(exchange, asked, running)

    async def told(self, request: Request, begun: Begun) -> Response:
        """The second half. Raises `ClientDisconnect`."""
        exchange, asked, running = begun
        try:
            if not exchange.stream:
                answer = await unless_gone(request.receive, running.whole(sum(each.ask.n for each in asked)))
                whole = exchange.whole(answer)
                return JSONResponse(whole.model_dump(mode="json") if isinstance(whole, BaseModel) else whole)
            first = await unless_gone(request.receive, running.next(self.limits.first_chunk_s))
            return EventStream(exchange, running, _prompt_tokens(asked), first, self.limits.ping_s)
        except BaseException:
            running.stop()
            raise

    async def reply(self, request: Request, read: Callable[[bytes], BaseModel | Awaitable[BaseModel]]) -> Response:
        """For a route that generates nothing: `read` makes the whole response of the body, in a thread; what it leaves to be awaited is
        awaited in the loop.
        """
        ticket = self.line.ticket()
        try:
            body = await read_body(request, self.limits)
            made = await self._in_thread(lambda: read(body))
            reply = made if isinstance(made, BaseModel) else await made
            return JSONResponse(reply.model_dump(mode="json"))
        except ClientDisconnect:
            return nobody_listens()
        finally:
            ticket.give_back()

    # For whoever runs the server

    @property
    def in_flight(self) -> int:
        return self.line.in_flight

    async def drain(self, seconds: float) -> None:
        """Let nobody in any more; answers under way may end within `seconds`, the rest ends with an error that says so."""
        self.line.is_closed = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.line.in_flight and loop.time() < deadline:
            await asyncio.sleep(0.02)
        self._is_over = True
        for running in list(self._running):
            running.fail(closing())

    async def aclose(self) -> None:
        self._readers.shutdown(wait=False, cancel_futures=True)
        for running in list(self._running):
            running.stop()
        await self.pipeline.aclose()

    # Steps of an answer

    async def _prepared(self, read: Read, body: bytes) -> tuple[Exchange, list[Asked]]:
        exchange = await self._in_thread(lambda: _read(read, body))
        self._check_choices(exchange)
        if self.guard is not None:
            await check_asks(self.guard, exchange.asks)
        return exchange, await self._in_thread(lambda: [self._prepare(ask) for ask in exchange.asks])

    def _prepare(self, ask: Ask) -> Asked:
        try:
            return self.pipeline.prepare(ask, self.limits.default_max_tokens)
        except (SamplingError, GrammarError) as error:
            raise refused_option(error) from error
        except ContextError as error:
            param = "messages" if ask.prompt_ids is None else "prompt"
            raise ApiError(400, str(error), code="context_length_exceeded", param=param) from error

    def _check_choices(self, exchange: Exchange) -> None:
        count = sum(ask.n for ask in exchange.asks)
        if count > self.limits.choices:
            message = f"n={count} answers in one request are more than the {self.limits.choices} that this server writes; ask for fewer"
            raise ApiError(400, message, code="invalid_value", param="n")

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function)

    def _start(self, exchange: Exchange, asked: Sequence[Asked], ticket: Ticket, record: Record) -> Running:
        events: AsyncGenerator[Event, None] = self.pipeline.answer(asked)
        if self.guard is not None:
            events = guarded(self.guard, exchange.asks, _prompt_tokens(asked), events)
        if isinstance(exchange, Watching):
            events = exchange.watched(events)

        def done(running: Running) -> None:
            self._running.discard(running)
            ticket.give_back()

        record.prompt_tokens = _prompt_tokens(asked)
        running = Running(noted(events, [each.ask for each in asked], record, self.metrics), done)
        self._running.add(running)
        return running


def _read(read: Read, body: bytes) -> Exchange:
    try:
        return read(body)
    except GrammarError as error:
        raise refused_option(error) from error


def _prompt_tokens(asked: Sequence[Asked]) -> int:
    return sum(each.prompt_tokens for each in asked)


def nobody_listens() -> Response:
    return Response(status_code=499)
