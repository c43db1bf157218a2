"""Rate limits: a bucket of requests and a bucket of tokens for each key, or for each address where nobody has a key.

A bucket holds a minute's worth, is full at the start and fills steadily. What an answer will cost is not known when it begins: a request
is let in while its bucket of tokens is not empty, and pays in full at the end, so that a bucket may owe, and the next request waits
until it does not. The headers are those of OpenAI and Groq.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from puna.serve.access import METRICS, Say, in_openai_words, is_public
from puna.serve.errors import ApiError
from puna.serve.record import Record, record_of

_MINUTE_S = 60.0


@dataclass(slots=True)
class Bucket:
    """Room for `capacity`, filling by as much a minute. `level` may be below zero: what is owed."""

    capacity: float
    level: float
    at_s: float

    def fill(self, now_s: float) -> None:
        self.level = min(self.capacity, self.level + (now_s - self.at_s) * self.capacity / _MINUTE_S)
        self.at_s = now_s

    def seconds_until(self, level: float) -> float:
        return max(0.0, level - self.level) * _MINUTE_S / self.capacity


class Refused(NamedTuple):
    """Why a request has to wait, and for how long."""

    what: str
    per_minute: int
    wait_s: float


class RateLimits:
    """Buckets by who asks. None does not limit. The `most_known` that asked last are remembered: whoever is forgotten starts full."""

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        most_known: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = {
            what: limit for what, limit in (("requests", requests_per_minute), ("tokens", tokens_per_minute)) if limit is not None
        }
        self._most_known, self._clock = most_known, clock
        self._known: OrderedDict[str, dict[str, Bucket]] = OrderedDict()

    def enter(self, who: str) -> Refused | None:
        """Let one request of `who` in and take it off, or say why not."""
        buckets = self._buckets(who)
        waits = [
            Refused(what, self.limits[what], wait)
            for what, bucket in buckets.items()
            # A float that has filled for exactly as long as it should may miss its mark by a rounding.
            if (wait := bucket.seconds_until(1.0)) > 1e-6
        ]
        if waits:
            return max(waits, key=lambda each: each.wait_s)
        if "requests" in buckets:
            buckets["requests"].level -= 1.0
        return None

    def pay(self, who: str, tokens: int) -> None:
        """Take what an answer has cost."""
        if "tokens" in (buckets := self._buckets(who)):
            buckets["tokens"].level -= tokens

    def headers(self, who: str, owed_tokens: int = 0) -> dict[str, str]:
        """How much is left, and when all of it is there again. `owed_tokens` have been used and will be paid."""
        headers = {}
        for what, bucket in self._buckets(who).items():
            level = bucket.level - (owed_tokens if what == "tokens" else 0)
            headers[f"x-ratelimit-limit-{what}"] = str(self.limits[what])
            headers[f"x-ratelimit-remaining-{what}"] = str(max(0, math.floor(level + 1e-6)))
            headers[f"x-ratelimit-reset-{what}"] = duration((bucket.capacity - level) * _MINUTE_S / bucket.capacity)
        return headers

    @property
    def num_known(self) -> int:
        return len(self._known)

    def _buckets(self, who: str) -> dict[str, Bucket]:
        now = self._clock()
        if who not in self._known:
            self._known[who] = {what: Bucket(limit, limit, now) for what, limit in self.limits.items()}
            if len(self._known) > self._most_known:
                self._known.popitem(last=False)
        self._known.move_to_end(who)
        for bucket in self._known[who].values():
            bucket.fill(now)
        return self._known[who]


def duration(seconds: float) -> str:
    """As OpenAI and Groq write it: 250ms, 7.66s, 2m59.56s, 1h0m3s."""
    milliseconds = math.ceil(max(0.0, seconds) * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


class RateLimiting:
    """Holds to `limits` whatever asks the model: not probes, the page or /metrics. Stands behind the one that finds out the key."""

    def __init__(self, app: ASGIApp, limits: RateLimits, *, say: Say = in_openai_words) -> None:
        self._app, self._limits, self._say = app, limits, say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._limits.limits or is_public(scope["path"]) or scope["path"] == METRICS:
            await self._app(scope, receive, send)
            return
        record = record_of(scope)
        who = _who(record)
        refused = self._limits.enter(who)
        if refused is not None:
            await self._say(scope, _too_many(refused, self._limits.headers(who)))(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._limits.headers(who, record.tokens).items():
                    headers[name] = value
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            if record.goes_on:
                record.at_end.append(lambda: self._limits.pay(who, record.tokens))
            else:
                self._limits.pay(who, record.tokens)  # also for an answer that nobody waited for


def _who(record: Record) -> str:
    return f"key {record.key}" if record.key is not None else f"address {record.client}"


def _too_many(refused: Refused, headers: dict[str, str]) -> ApiError:
    seconds = math.ceil(refused.wait_s)
    message = f"{refused.per_minute:,} {refused.what} a minute are allowed and used up; try again in {duration(refused.wait_s)}"
    headers = {**headers, "Retry-After": str(seconds), "retry-after-ms": str(math.ceil(refused.wait_s * 1000))}
    return ApiError(429, message, type=refused.what, code="rate_limit_exceeded", headers=headers)
