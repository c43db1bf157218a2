"""What is known of one request while it is answered: who asks, by which route, and what the answer cost.

Made by the outermost middleware (`puna.serve.logs`), filled on the way by whoever knows, read at the end by the log, the rate limits and
the metrics. Holds nothing that a user wrote and no key.
"""

import re
import secrets
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers

_PLACE = "puna.record"
# What a client, or a proxy before us, may call a request. Anything else could forge lines of the log or break a header.
_SOUND_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True)
class Record:
    """One request. `key` is the name of the key it came with, `finish_reasons` has one entry a choice.

    `error` is the name of the exception that broke it, if one did.
    """

    id: str
    method: str = ""
    client: str = ""
    key: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    finish_reasons: list[str] = field(default_factory=list)
    route: str | None = None
    status: int | None = None
    error: str | None = None
    # Set for an answer that goes on when its request is over; whoever wants to know its cost then adds to `at_end`.
    goes_on: bool = False
    at_end: list[Callable[[], None]] = field(default_factory=list)
    began_s: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def end(self) -> None:
        """Of an answer that went on."""
        self.goes_on = False
        for tell in self.at_end:
            tell()


def open_record(scope: MutableMapping[str, Any]) -> Record:
    """A new record in an ASGI scope. Takes the client's `x-request-id` if it is a plain word, and makes one up if not."""
    given = Headers(scope=scope).get("x-request-id", "")
    client = scope.get("client")
    record = Record(
        id=given if _SOUND_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}",
        method=scope["method"],
        client=client[0] if client else "",
    )
    scope[_PLACE] = record
    return record


def record_of(scope: MutableMapping[str, Any]) -> Record:
    """The record of the request that `scope` belongs to; a new one where no middleware has made it."""
    return scope.get(_PLACE) or open_record(scope)
