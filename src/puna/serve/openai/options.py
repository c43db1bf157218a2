"""What chat completions and completions share on their way in: the body's parsing, sampling options, what is refused by name."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from puna.serve.errors import ApiError, invalid_request
from puna.serve.openai.wire import BRANCHES, SamplingOptions, Wire

W = TypeVar("W", bound=Wire)


def parsed(kind: type[W], body: bytes) -> W:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error, kind.model_fields, BRANCHES) from error


def refuse_unsupported(request: Wire, only: Mapping[str, tuple[Any, ...]]) -> None:
    """`only`: the values, besides null, that ask for what this server does anyway."""
    for name, accepted in only.items():
        value = getattr(request, name)
        if value is not None and not any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in accepted):
            raise unsupported(name, value, *(json.dumps(other) for other in accepted))


def unsupported(param: str, value: object, *accepted: str) -> ApiError:
    shown = json.dumps(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    way_out = f"leave it out or send {' or '.join(accepted)}" if accepted else "leave it out"
    return ApiError(400, f"{param}={shown} is not supported by this server; {way_out}", code="unsupported_parameter", param=param)


def sampling_of(request: SamplingOptions) -> dict[str, Any]:
    """The fields of an `Ask` that are named alike."""
    names = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "seed")
    given = {name: value for name in names if (value := getattr(request, name)) is not None}
    if request.top_k is not None and request.top_k > 0:
        given["top_k"] = request.top_k
    return {**given, "n": request.n or 1, "stop": tuple(request.stop or ())}


def refuse_lonely_stream_options(stream: bool | None, options: object | None) -> None:
    if options is not None and not stream:
        raise ApiError(400, "stream_options is only for stream=true; leave it out or stream", code="invalid_value", param="stream_options")
