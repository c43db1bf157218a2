"""OpenAI's error object for everything that goes wrong, and who is to blame for it.

A client's mistake is a 4xx that names the parameter, its value, the rule and the way out; our own is a 500 that says nothing of its
inside (the traceback goes to the log). Knows HTTP, not the chat protocol.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from puna.engine import ContextError, PromptError
from puna.media import MediaError
from puna.pipeline import RequestError
from puna.serve.wire import ChatRequest
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
        self.body = ErrorBody(message=message, type=type, param=param, code=code)
        self.headers = headers or {}

    def response(self) -> JSONResponse:
        # nosniff here too: the answer to an unforeseen exception passes no middleware of ours.
        headers = {"X-Content-Type-Options": "nosniff", **self.headers}
        return JSONResponse(ErrorResponse(error=self.body).model_dump(), self.status, headers)


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
    if isinstance(error, ChatError | RequestError | PromptError):
        return ApiError(400, str(error), code="invalid_request", param="messages" if isinstance(error, ChatError) else None)
    return internal_error()


def install(app: FastAPI, routes: Sequence[str]) -> None:
    """Makes every failure of `app` an error object. `routes` are named to whoever asks for an address that is not there."""

    async def api_error(request: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}"
        if error.status_code == 404:
            message = f"there is no {request.method} {request.url.path} here; there are {', '.join(routes)}"
        headers = dict(error.headers or {})
        if error.status_code == 405:
            message = f"{request.url.path} does not take {request.method}; it takes {headers.get('Allow', 'other methods')}"
        return ApiError(error.status_code, message, headers=headers).response()

    for kind in (ApiError, ChatError, MediaError, RequestError, PromptError, Exception):
        app.add_exception_handler(kind, api_error)
    app.add_exception_handler(HTTPException, http_error)


def invalid_request(error: ValidationError) -> ApiError:
    """The first thing that is wrong with a request body, in one sentence."""
    first = error.errors(include_url=False)[0]
    kind, param, value = first["type"], _path(first["loc"]), first["input"]
    context = first.get("ctx", {})
    if kind == "json_invalid":
        return ApiError(400, f"the body is not valid JSON: {context['error']}", code="invalid_json")
    if kind == "model_type":
        return ApiError(400, 'the body is not a JSON object; send {"model": ..., "messages": [...]}', code="invalid_json")
    if kind == "extra_forbidden":
        return ApiError(400, f"{param} is not a parameter of this server{_nearest(param)}", code="unknown_parameter", param=param)
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


# The branches of the two unions in a request: pydantic puts the one it took into the location, after the index.
_BRANCHES = {"system", "developer", "user", "assistant", "tool", "text", "image_url", "video_url"}


def _path(location: tuple[int | str, ...]) -> str:
    """`messages[0].content[1].image_url.url` out of ("messages", 0, "user", "content", 1, "image_url", "image_url", "url")."""
    path = ""
    for place, step in enumerate(location):
        is_branch = step in _BRANCHES and isinstance(location[place - 1], int) and place + 1 < len(location)
        if isinstance(step, int):
            path += f"[{step}]"
        elif not is_branch:
            path += f".{step}" if path else step
    return path


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(param: str) -> str:
    near = [] if "." in param else get_close_matches(param, ChatRequest.model_fields, 1)
    return f"; did you mean {near[0]}?" if near else "; leave it out"
