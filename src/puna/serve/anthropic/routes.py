"""Anthropic's routes. Its client and those of others name a version in a header, of which any will do, and betas, which are not needed."""

from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from puna.serve.anthropic.failures import OVERLOADED, failed
from puna.serve.anthropic.reading import count_tokens, read_messages
from puna.serve.anthropic.wire import CountRequest, FailureAnswer, MessageAnswer, MessagesRequest, ModelEntry, ModelPage, TokenCount
from puna.serve.core import Core
from puna.serve.errors import ApiError
from puna.serve.record import record_of

VERSION = "anthropic-version"


def mount(app: FastAPI, core: Core) -> None:
    """Before OpenAI's routes: both have /v1/models, and only these look for Anthropic's header."""
    core.voices.add("/v1/messages", failed)
    messages_route = core.described.route(MessagesRequest, MessageAnswer, error=FailureAnswer, streams=True)
    count_route = core.described.route(CountRequest, TokenCount, error=FailureAnswer)
    for route in (messages_route, count_route):
        _add_overload(route)

    @app.post("/v1/messages", **messages_route)
    async def messages(request: Request) -> Response:
        """Answer a conversation. In Anthropic's form, with a block "video" beside "image"."""
        name = record_of(request.scope).id
        return _named(await core.respond(request, lambda body: read_messages(core, body, name)), name)

    @app.post("/v1/messages/count_tokens", **count_route)
    async def count(request: Request) -> Response:
        """The tokens of a conversation with its tools, as the model would read it. In Anthropic's form."""
        return _named(await core.reply(request, lambda body: count_tokens(core, body)), record_of(request.scope).id)

    entry = model_entry(core)

    async def models(request: Request, after_id: str | None = None, before_id: str | None = None) -> Response:
        found = [entry] if after_id is None and before_id is None else []  # nothing is before or behind the only one
        page = ModelPage(data=found, first_id=found[0].id if found else None, last_id=found[-1].id if found else None)
        return _named(JSONResponse(page.model_dump()), record_of(request.scope).id)

    async def model(request: Request, name: str) -> Response:
        request_id = record_of(request.scope).id
        try:
            core.check_model(name)
        except ApiError as error:
            error.request_id = request_id
            return failed(error)
        return _named(JSONResponse(entry.model_dump()), request_id)

    # Not described: OpenAI's routes of the same address are.
    for path, endpoint in (("/v1/models", models), ("/v1/models/{name:path}", model)):
        app.router.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False, route_class_override=ForAnthropic)


class ForAnthropic(APIRoute):
    """A route for who speaks Anthropic's API; for others it is not there."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if VERSION in Headers(scope=scope) else (Match.NONE, {})


def model_entry(core: Core) -> ModelEntry:
    name, context = core.pipeline.name, core.pipeline.config.max_positions
    began = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    return ModelEntry(id=name, display_name=name, created_at=began, max_input_tokens=context, max_tokens=context)


def _named(response: Response, request_id: str) -> Response:
    response.headers["request-id"] = request_id
    return response


def _add_overload(route: dict[str, Any]) -> None:
    responses = route["responses"]
    responses[429] = {**responses[429], "description": "This key has used up what it may: `Retry-After` says when to come back."}
    responses[OVERLOADED] = {**responses[503], "description": "As many requests wait as may: `Retry-After` says when to come back."}
