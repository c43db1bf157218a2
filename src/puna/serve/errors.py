"""OpenAI's error object for everything that goes wrong, and who is to blame for it.

A client's mistake is a 4xx that names the parameter, its value, the rule and the way out; our own is a 500 that says nothing of its
inside (the traceback goes to the log). Knows HTTP, not the APIs' requests; another API says the same `ApiError` in its own words
(`Voices`).
"""

from collections.abc import Callable, Collection
from difflib import get_close_matches

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Scope

from puna.engine import ContextError, GrammarError, NoTokenError, PromptError, SamplingError
from puna.media import MediaError
from puna.pipeline import RequestError, ToolError
from puna.pipeline.ask import SAMPLING
from puna.serve.record import record_of
from puna.tokens.chat import ChatError


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    error: ErrorBody


class ApiError(Exception):
    """An answer other than 200. `param` is a path such as `messages[0].content[1].image_url`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        # A client's own words in it may be of any length; the way out stands at the end.
        self.body = ErrorBody(message=_cut(message, 1000), type=type, param=param and _cut(param, 200), code=code)
        self.headers = headers or {}
        # The request that it answers, for an API whose errors say so; known once it is said.
        self.request_id: str | None = None

    def response(self) -> JSONResponse:
        # nosniff here too: the answer to an unforeseen exception passes no middleware of ours.
        headers = {"X-Content-Type-Options": "nosniff", **self.headers}
        return JSONResponse(ErrorResponse(error=self.body).model_dump(), self.status, headers)


def _cut(text: str, length: int) -> str:
    """Without its middle, if it is longer."""
    half = (length - 5) // 2
    return text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"


def internal_error() -> ApiError:
    message = "the server failed at this request; its log says why. Other requests are not affected."
    # uvicorn drops the connection after an unforeseen exception: whoever keeps it for the next request must be told.
    return ApiError(500, message, type="server_error", headers={"Connection": "close"})


def as_api_error(error: BaseException) -> ApiError:
    """What the client is told of `error`: the rooms below raise these for a caller's mistake, and anything else is ours."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ContextError):
        return ApiError(400, str(error), code="context_length_exceeded", param="messages")
    if isinstance(error, MediaError):
        return ApiError(400, str(error), code="invalid_image", param="messages")
    if isinstance(error, NoTokenError):
        return ApiError(400, str(error), code="no_token_left")
    if isinstance(error, ToolError):
        return ApiError(400, str(error), code="invalid_tools", param="tools")
    if isinstance(error, ChatError | RequestError | PromptError):
        return ApiError(400, str(error), code="invalid_request", param="messages" if isinstance(error, ChatError) else None)
    return internal_error()


def refused_option(error: SamplingError | GrammarError) -> ApiError:
    """For what is found while a request is read. Later the same classes tell of damaged weights, which is nobody's request's fault."""
    message = str(error)
    if isinstance(error, GrammarError):
        return ApiError(400, message, code="invalid_grammar")
    param = next((name for name in SAMPLING if message.startswith(name)), None)
    return ApiError(400, message, code="invalid_value", param=param)


class Voices:
    """Which API says an error: the one that has the longest prefix of the path, or else OpenAI's."""

    def __init__(self) -> None:
        self._voices: dict[str, Callable[[ApiError], Response]] = {}

    def add(self, prefix: str, voice: Callable[[ApiError], Response]) -> None:
        self._voices[prefix] = voice

    def say(self, scope: Scope, error: ApiError) -> Response:
        path = scope["path"]
        error.request_id = record_of(scope).id
        found = [prefix for prefix in self._voices if path.startswith(prefix)]
        return self._voices[max(found, key=len)](error) if found else error.response()


def install(app: FastAPI, voices: Voices) -> None:
    """Makes every failure of `app` an error object. Its described routes are named to whoever asks for an address that is not there."""

    async def api_error(request: Request, error: Exception) -> Response:
        return voices.say(request.scope, as_api_error(error))

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}"
        if error.status_code == 404:
            message = f"there is no {request.method} {request.url.path} here; there are {', '.join(described(app))}"
        headers = dict(error.headers or {})
        if error.status_code == 405:
            message = f"{request.url.path} does not take {request.method}; it takes {headers.get('Allow', 'other methods')}"
        return voices.say(request.scope, ApiError(error.status_code, message, headers=headers))

    for kind in (ApiError, ChatError, MediaError, RequestError, PromptError, NoTokenError, Exception):
        app.add_exception_handler(kind, api_error)
    app.add_exception_handler(HTTPException, http_error)


def described(app: FastAPI) -> list[str]:
    """The routes of the API, as "POST /v1/chat/completions", in the order in which they were added."""
    routes = (route for route in app.routes if isinstance(route, Route) and route.include_in_schema)
    return [f"{method} {route.path}" for route in routes for method in sorted((route.methods or set()) - {"HEAD"})]


def invalid_request(error: ValidationError, known: Collection[str] = (), branches: Collection[str] = ()) -> ApiError:
    """The first thing that is wrong with a request body, in one sentence.

    `known`: the names of its parameters. `branches`: what pydantic puts into a location for the branch of a union: "user" after an index,
    "tool_choice:function" after a name.
    """
    first = error.errors(include_url=False)[0]
    kind, param, value = first["type"], _path(first["loc"], branches), first["input"]
    context = first.get("ctx", {})
    if kind == "json_invalid":
        return ApiError(400, f"the body is not valid JSON: {context['error']}", code="invalid_json")
    if kind == "model_type":
        return ApiError(400, 'the body is not a JSON object such as {"model": ...}', code="invalid_json")
    if kind == "extra_forbidden":
        return ApiError(400, f"{param} is not a parameter of this server{_nearest(param, known)}", code="unknown_parameter", param=param)
    if kind == "missing":
        return ApiError(400, f"{param} is missing", code="missing_required_parameter", param=param)
    if kind == "union_tag_invalid":
        field = str(context["discriminator"]).strip("'")
        message = f"{param}.{field}={context['tag']!r} is not known here; there are {context['expected_tags']}"
        return ApiError(400, message, code="invalid_value", param=f"{param}.{field}")
    if kind == "union_tag_not_found":
        field = str(context["discriminator"]).strip("'")
        return ApiError(400, f"{param} has no {field}", code="missing_required_parameter", param=f"{param}.{field}")
    reason = first["msg"][:1].lower() + first["msg"][1:]
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return ApiError(400, f"{param}={_shown(value)}: {reason}", code=code, param=param)


def _path(location: tuple[int | str, ...], branches: Collection[str]) -> str:
    """`messages[0].content[1].image_url.url` out of ("messages", 0, "user", "content", 1, "image_url", "image_url", "url")."""
    path = ""
    for place, step in enumerate(location):
        before = location[place - 1] if place else None
        is_branch = step in branches and isinstance(before, int) and place + 1 < len(location) or f"{before}:{step}" in branches
        if isinstance(step, int):
            path += f"[{step}]"
        elif not is_branch:
            path += f".{step}" if path else step
    return path


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(param: str, known: Collection[str]) -> str:
    near = [] if "." in param else get_close_matches(param, known, 1)
    return f"; did you mean {near[0]}?" if near else "; leave it out"
