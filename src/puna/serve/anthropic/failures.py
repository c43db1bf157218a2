"""Errors in Anthropic's words: the kind of an error hangs on its status, and its request has a name."""

from fastapi.responses import JSONResponse

from puna.serve.anthropic.wire import ErrorType, Failure, FailureAnswer
from puna.serve.errors import ApiError
from puna.serve.line import FullLineError

OVERLOADED = 529

# What coding agents look for in a message, to shorten their conversation and ask again: Anthropic's own begins so.
_TOO_LONG = "prompt is too long"

_TYPES: dict[int, ErrorType] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    OVERLOADED: "overloaded_error",
}


def status_of(error: ApiError) -> int:
    """529 while the line is full, which no client's own doing is; 429 is for one that has used up what it may."""
    return OVERLOADED if isinstance(error, FullLineError) else error.status


def failure_of(error: ApiError, request_id: str | None) -> FailureAnswer:
    status = status_of(error)
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    message = f"{_TOO_LONG}: {error.body.message}" if error.body.code == "context_length_exceeded" else error.body.message
    return FailureAnswer(error=Failure(type=kind, message=message), request_id=request_id)


def failed(error: ApiError) -> JSONResponse:
    """The voice of `/v1/messages`."""
    headers = {"X-Content-Type-Options": "nosniff", **error.headers}
    if error.request_id is not None:
        headers["request-id"] = error.request_id
    return JSONResponse(failure_of(error, error.request_id).model_dump(), status_of(error), headers)
