"""The server as an ASGI application: routes, headers, and what happens when a client goes away.

Knows HTTP; the translation is `chat_completions`, the thread is `worker`, the page is `page`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from puna.pipeline import Chunk
from puna.serve import errors, page
from puna.serve.chat_completions import ChatPipeline, Prompt, Silence, Stamp, completion, events, read_prompt
from puna.serve.errors import ApiError
from puna.serve.limits import Limits, read_body
from puna.serve.wire import ChatCompletion, Health, ModelCard, ModelList
from puna.serve.worker import Answer, Ticket, Worker

T = TypeVar("T")

ROUTES = ("POST /v1/chat/completions", "GET /v1/models", "GET /health", "GET /")


def create_app(pipeline: ChatPipeline, *, limits: Limits | None = None, web: Path = page.WEB) -> FastAPI:
    """Everything that `puna serve` serves, around one pipeline. `web` is the folder of the chat page."""
    limits = limits or Limits()
    worker = Worker(limits.waiting, limits.answering)
    card = _card(pipeline)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    # No generated documentation page: it loads its scripts from elsewhere.
    app = FastAPI(title="Puna", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, redirect_slashes=False)
    app.state.worker = worker
    errors.install(app, ROUTES)

    @app.post("/v1/chat/completions", response_model=None)
    async def chat_completions(request: Request) -> Response | ChatCompletion:
        ticket = worker.ticket()
        try:
            body = await read_body(request, limits)
            prompt = await unless_gone(request.receive, worker.prepare(lambda: read_prompt(body, pipeline, limits)))
        except ClientDisconnect:
            ticket.give_back()
            return _nobody_listens()
        except BaseException:
            ticket.give_back()
            raise
        return await _respond(request, prompt, ticket)

    async def _respond(request: Request, prompt: Prompt, ticket: Ticket) -> Response | ChatCompletion:
        answer = worker.answer(ticket, lambda: prompt.run(pipeline))
        stamp = Stamp.new(pipeline.name)
        try:
            if not prompt.stream:
                return completion(stamp, await unless_gone(request.receive, _all(answer)))
            first = await unless_gone(request.receive, answer.next(limits.first_chunk_s))
            return EventStream(events(stamp, prompt, first, answer, limits.ping_s), answer)
        except ClientDisconnect:
            answer.stop()
            return _nobody_listens()
        except BaseException:
            answer.stop()
            raise

    @app.get("/v1/models")
    async def models() -> ModelList:
        return ModelList(data=[card])

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> ModelCard:
        if name != card.id:
            raise ApiError(404, f"model={name!r} is not served here; this server has {card.id!r}", code="model_not_found", param="model")
        return card

    @app.get("/health")
    async def health() -> Health:
        return Health(model=pipeline.name, requests_in_flight=worker.in_flight)

    page.mount(app, web)
    return app


class EventStream(StreamingResponse):
    """Server-sent events. However it ends, the answer behind it is stopped: at a disconnect, before its next token."""

    def __init__(self, content: AsyncIterator[bytes], answer: Answer) -> None:
        super().__init__(content, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}, media_type="text/event-stream")
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self.stream_response(send))
        except ClientDisconnect:
            pass  # nobody is left to be told
        finally:
            self._answer.stop()


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


async def _all(answer: Answer) -> list[Chunk]:
    chunks: list[Chunk] = []
    while (chunk := await answer.next()) is not None:
        assert not isinstance(chunk, Silence)  # only patience brings silence
        chunks.append(chunk)
    return chunks


def _nobody_listens() -> Response:
    return Response(status_code=499)


def _card(pipeline: ChatPipeline) -> ModelCard:
    modalities: list[Literal["text", "image", "video"]] = ["text", "image", "video"] if pipeline.config.vision else ["text"]
    return ModelCard(id=pipeline.name, created=int(time.time()), context_length=pipeline.config.max_positions, input_modalities=modalities)
