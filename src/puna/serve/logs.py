"""The log: one line a request, JSON for machines and colours on a terminal; what libraries log goes the same way.

A request's line says method, route, status, time, tokens, why the answer ended and the key's name. Never what was asked or answered, and
no key: values of local variables, which pretty tracebacks like to print, are left out for that reason.
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TextIO

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, Processor

from puna.serve.access import METRICS, Say, in_openai_words
from puna.serve.errors import internal_error
from puna.serve.record import Record, open_record

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]

# The standard library's, so that an application that embeds the server and configures nothing gets its usual log.
_log = logging.getLogger("puna.requests")


# All that is said of a request. Whoever adds one thinks of who reads logs.
FACTS = (
    "method",
    "route",
    "path",
    "status",
    "ms",
    "key",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "finish_reason",
    "error",
)


class _Handler(logging.StreamHandler[TextIO]):
    """Ours among the root logger's handlers."""


def configure(format: Format = "auto", level: Level = "info", stream: TextIO | None = None) -> None:
    """Send every logger of this process to `stream` (standard error). "auto" is for people on a terminal and JSON elsewhere."""
    out = stream or sys.stderr
    is_pretty = format == "console" or format == "auto" and out.isatty()
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=FACTS),
        structlog.processors.TimeStamper("%H:%M:%S" if is_pretty else "iso", utc=not is_pretty),
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if is_pretty:
        last += [
            _without_logger,
            structlog.dev.ConsoleRenderer(colors=out.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    else:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    handler = _Handler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=first, processors=last))
    root = logging.getLogger()
    for other in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(other)
    root.addHandler(handler)
    # Libraries speak from warnings up: below, clients of HTTP tell addresses with their signatures, and headers.
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("puna").setLevel(level.upper())


def _without_logger(logger: Any, method: str, event: EventDict) -> EventDict:
    """On a terminal the names of loggers only take room."""
    event.pop("logger", None)
    return event


class RequestLog:
    """The outermost middleware: opens the request's `Record`, gives it its id, answers what nothing else has caught, and logs the end.

    `observers` see each record when its request is done.
    """

    def __init__(self, app: ASGIApp, observers: Sequence[Callable[[Record], None]] = (), *, say: Say = in_openai_words) -> None:
        self._app, self._observers, self._say = app, observers, say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record, failure = open_record(scope), None

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = record.id
            await send(message)

        with bound_contextvars(request_id=record.id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:
                failure, record.error = error, type(error).__name__
                if record.status is not None:
                    raise  # half an answer has gone out: the connection has to break, or the client would take it for whole
                await self._say(scope, internal_error())(scope, receive, send_with_id)
            finally:
                record.seconds = time.perf_counter() - record.began_s
                record.route = _route(scope)
                _tell(record, scope, failure)
                for observe in self._observers:
                    observe(record)


def _route(scope: Scope) -> str | None:
    """The template of the route that was taken, such as /v1/models/{name}; None if there was none."""
    return getattr(scope.get("route"), "path", None)


def _tell(record: Record, scope: Scope, failure: Exception | None) -> None:
    facts: dict[str, Any] = {"method": record.method, "route": record.route, "status": record.status, "ms": round(record.seconds * 1000, 1)}
    if record.route is None:
        facts["path"] = scope["path"][:100]  # the query stays out: some put keys there
    if record.key is not None:
        facts["key"] = record.key
    if record.tokens:
        facts |= {"prompt_tokens": record.prompt_tokens, "completion_tokens": record.completion_tokens}
    if record.cached_tokens:
        facts["cached_tokens"] = record.cached_tokens
    if record.finish_reasons:
        facts["finish_reason"] = ",".join(dict.fromkeys(record.finish_reasons))
    if record.error is not None:
        facts["error"] = record.error
    is_probe = scope["path"] == METRICS or scope["path"].startswith("/health")
    broke = record.error is not None or (record.status or 0) >= 500
    level = logging.DEBUG if is_probe else logging.ERROR if broke else logging.INFO
    _log.log(level, "request", exc_info=failure, extra=facts)
