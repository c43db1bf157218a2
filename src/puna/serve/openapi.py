"""A true description of the APIs, in OpenAPI's form, at /openapi.json.

Routes read their bodies themselves, within limits and in a thread, so that the framework cannot know them: each route says here what it
takes and gives. No page comes with it: such pages load their scripts from elsewhere.
"""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from puna.serve.errors import ErrorResponse

_REF = "#/components/schemas/{model}"
_WHY = {
    400: "The request is wrong, or asks for what this server does not do: `param` says where.",
    401: "No key, or not one of this server's.",
    403: "The key may not do this.",
    404: "No such model, or no such address.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not called application/json.",
    429: "Too many requests: `Retry-After` says when to come back.",
    500: "The server failed at this request.",
    503: "The server is shutting down.",
}


class Described:
    """The models that routes take and give. One for each application."""

    def __init__(self) -> None:
        self._models: dict[type[BaseModel], None] = {}

    def route(
        self, takes: type[BaseModel], gives: type[BaseModel], *, error: type[BaseModel] = ErrorResponse, streams: bool = False
    ) -> dict[str, Any]:
        """Keyword arguments for `app.post`. `streams`: the answer may also come as server-sent events."""
        self._models.update(dict.fromkeys((takes, gives, error)))
        content: dict[str, Any] = {"application/json": {"schema": _ref(gives)}}
        if streams:
            content["text/event-stream"] = {"schema": {"type": "string"}}
        failures = {status: _failure(status, error) for status in _WHY}
        return {
            "response_model": None,
            "responses": {200: {"description": "The answer.", "content": content}, **failures},
            "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": _ref(takes)}}}},
        }

    def look_up(
        self,
        *statuses: int,
        error: type[BaseModel] = ErrorResponse,
        gives: type[BaseModel] | None = None,
        query: type[BaseModel] | None = None,
    ) -> dict[str, Any]:
        """Keyword arguments for the decorator of a route without a body. `gives` and `query`: where the route itself makes a response of
        the one, and reads the fields of the other.
        """
        self._models[error] = None
        responses = {status: _failure(status, error) for status in (401, 403, 429, *statuses)}
        if gives is None:
            return {"responses": responses}
        self._models[gives] = None
        answer = {"description": "What was asked for.", "content": {"application/json": {"schema": _ref(gives)}}}
        schema = query.model_json_schema() if query is not None else {"properties": {}}
        parameters = [{"name": name, "in": "query", "schema": part} for name, part in schema["properties"].items()]
        return {"response_model": None, "responses": {200: answer, **responses}, "openapi_extra": {"parameters": parameters}}

    def install(self, app: FastAPI) -> None:
        """Serves the description, made at the first request for it: all routes are there by then."""

        def openapi() -> dict[str, Any]:
            if app.openapi_schema is None:
                described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
                app.openapi_schema = self._completed(described)
            return app.openapi_schema

        app.openapi = openapi

        @app.get("/openapi.json", include_in_schema=False)
        async def description() -> Mapping[str, Any]:
            return app.openapi()

    def _completed(self, described: dict[str, Any]) -> dict[str, Any]:
        """With the models that only this object knows, and without the framework's own 422, which no route gives."""
        refs, schemas = models_json_schema([(model, "validation") for model in self._models], ref_template=_REF)
        text = json.dumps(described)
        for (model, _), ref in refs.items():
            text = text.replace(_ref(model)["$ref"], ref["$ref"])  # two APIs may have a model of one name
        described = json.loads(text)
        components = described["components"]["schemas"]
        components.update(schemas.get("$defs", {}))
        for name in ("HTTPValidationError", "ValidationError"):
            components.pop(name, None)
        for operations in described["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        return described


def _failure(status: int, error: type[BaseModel]) -> dict[str, Any]:
    return {"description": _WHY[status], "content": {"application/json": {"schema": _ref(error)}}}


def _ref(model: type[Any]) -> dict[str, str]:
    """A name of its own, in place of the one that is known when all models are."""
    return {"$ref": _REF.format(model=f"{model.__module__}.{model.__qualname__}.")}
