"""The routes of OpenAI's Responses API."""

from collections.abc import AsyncIterator
from typing import Any, Literal, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from puna.serve.core import Core, nobody_listens
from puna.serve.errors import ApiError, invalid_request
from puna.serve.record import record_of
from puna.serve.responses.exchange import ResponseExchange, frames_after
from puna.serve.responses.items import ITEMS
from puna.serve.responses.keeper import Keeper
from puna.serve.responses.reading import read_response
from puna.serve.responses.wire import DeletedResponse, Includable, ItemList, ResponseObject, ResponseRequest
from puna.serve.store import Store

Q = TypeVar("Q", bound=BaseModel)


class _Query(BaseModel):
    # Not strict: a query is text.
    model_config = ConfigDict(extra="forbid")


class _Retrieve(_Query):
    stream: bool = False
    starting_after: int | None = Field(default=None, ge=0)
    include_obfuscation: bool = False  # there is none
    include: list[Includable] = []


class _List(_Query):
    limit: int = Field(default=20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    include: list[Includable] = []


def mount(app: FastAPI, core: Core, store: Store | None = None) -> Keeper | None:
    """Without a store every response is answered and forgotten."""
    keeper = Keeper(store) if store is not None else None
    describe = core.described

    @app.post("/v1/responses", **describe.route(ResponseRequest, ResponseObject, streams=True))
    async def create_response(request: Request) -> Response:
        """Answer a conversation, and keep it to be continued. In OpenAI's form, with `input_video` and sampling options beside it."""
        record = record_of(request.scope)
        try:
            begun = await core.begin(request, lambda body: read_response(core, keeper, record.key, body))
            exchange = begun.exchange
            assert isinstance(exchange, ResponseExchange)
            if keeper is None or not exchange.is_background:
                return await core.told(request, begun)
            await keeper.go_on(exchange, begun.running, record)
        except ClientDisconnect:
            return nobody_listens()
        if exchange.stream:
            return _streamed(exchange.follow(-1, core.limits.ping_s))
        return JSONResponse(exchange.draft.response.model_dump(mode="json"))

    @app.get("/v1/responses/{response_id}", **describe.look_up(400, 404, gives=ResponseObject, query=_Retrieve))
    async def get_response(request: Request, response_id: str) -> Response:
        """A kept response. With `stream`, one that was made in the background and streamed, from the event behind `starting_after`."""
        query, owner = _query(request, _Retrieve), record_of(request.scope).key
        if not query.stream:
            kept = await _there(keeper).get(response_id, owner)
            return Response(kept.response, media_type="application/json")
        after = -1 if query.starting_after is None else query.starting_after
        live = _there(keeper).following(response_id, owner)
        if live is not None and live.stream:
            return _streamed(live.follow(after, core.limits.ping_s))
        events = (await _there(keeper).get(response_id, owner)).events
        if events is None:
            message = f"{response_id!r} was not made with background=true and stream=true; ask for it without stream"
            raise ApiError(400, message, code="not_streamable", param="stream")
        return Response(frames_after(events, after), media_type="text/event-stream")

    @app.delete("/v1/responses/{response_id}", **describe.look_up(404, gives=DeletedResponse))
    async def delete_response(request: Request, response_id: str) -> Response:
        """Forget a response; what continues it cannot be continued any more."""
        await _there(keeper).delete(response_id, record_of(request.scope).key)
        return JSONResponse(DeletedResponse(id=response_id).model_dump())

    @app.post("/v1/responses/{response_id}/cancel", **describe.look_up(400, 404, gives=ResponseObject))
    async def cancel_response(request: Request, response_id: str) -> Response:
        """Stop a response that runs in the background; one that has ended stays as it is."""
        kept = await _there(keeper).cancel(response_id, record_of(request.scope).key)
        return Response(kept.response, media_type="application/json")

    @app.get("/v1/responses/{response_id}/input_items", **describe.look_up(400, 404, gives=ItemList, query=_List))
    async def list_input_items(request: Request, response_id: str) -> Response:
        """What a response was asked, by the page: its own input, not that of the responses before it."""
        query = _query(request, _List)
        kept = await _there(keeper).get(response_id, record_of(request.scope).key)
        return JSONResponse(_page(kept.input, query).model_dump(mode="json"))

    return keeper


def _there(keeper: Keeper | None) -> Keeper:
    if keeper is None:
        raise ApiError(404, "this server keeps no responses; start it without --no-store to have some", code="no_store")
    return keeper


def _query(request: Request, kind: type[Q]) -> Q:
    """The query's parameters; of a list each entry is one, perhaps with brackets behind its name."""
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        name = name.removesuffix("[]")
        if name == "include":
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise invalid_request(error, kind.model_fields) from error


def _streamed(frames: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(frames, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}, media_type="text/event-stream")


def _page(input: str, query: _List) -> ItemList:
    items = ITEMS.validate_json(input)
    if query.order == "desc":
        items.reverse()
    ids = [item.id or "" for item in items]
    if query.after is not None:
        if query.after not in ids:
            raise ApiError(400, f"after={query.after!r} is no item of this response's input", code="invalid_value", param="after")
        items = items[ids.index(query.after) + 1 :]
    page = items[: query.limit]
    return ItemList(
        data=page,
        first_id=(page[0].id or "") if page else "",
        last_id=(page[-1].id or "") if page else "",
        has_more=len(page) < len(items),
    )
