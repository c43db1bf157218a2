"""Buckets that fill with time, and what the client is told of them."""

import asyncio
import re

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from puna.serve.rates import RateLimiting, RateLimits, duration
from puna.serve.record import record_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.25, "250ms"), (0.0001, "1ms"), (1, "1s"), (7.66, "7.66s"), (59.9999, "1m0s"), (179.56, "2m59.56s"),
        (360, "6m0s"), (3603, "1h0m3s"), (-5, "0ms"),
    ],
)  # fmt: skip
def test_durations_are_written_as_openai_and_groq_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_minutes_worth_may_come_at_once_and_then_steadily(clock: Clock) -> None:
    limits = RateLimits(requests_per_minute=3, clock=clock)
    assert [limits.enter("a") for _ in range(3)] == [None] * 3
    refused = limits.enter("a")
    assert (refused.what, refused.per_minute) == ("requests", 3)
    assert refused.wait_s == pytest.approx(20)
    assert limits.enter("b") is None, "another one has his own"
    clock.now += 19.9
    assert limits.enter("a") is not None
    clock.now += 0.1
    assert limits.enter("a") is None
    assert limits.enter("a") is not None
    clock.now += 3600
    assert [limits.enter("a") is None for _ in range(4)] == [True, True, True, False], "no more than a minute's worth is saved up"


def test_waiting_as_long_as_one_is_told_is_enough(clock: Clock) -> None:
    for rate in (1, 7, 13, 59, 1000):
        limits = RateLimits(requests_per_minute=rate, clock=clock)
        for _ in range(rate):
            assert limits.enter("a") is None
        for _ in range(5):
            clock.now += limits.enter("a").wait_s
            assert limits.enter("a") is None


def test_tokens_are_paid_afterwards_and_a_debt_is_waited_off(clock: Clock) -> None:
    limits = RateLimits(tokens_per_minute=600, clock=clock)
    assert limits.enter("a") is None
    limits.pay("a", 1000)
    refused = limits.enter("a")
    assert refused.what == "tokens"
    assert refused.wait_s == pytest.approx(40.1)
    clock.now += 40.1
    assert limits.enter("a") is None


def test_headers_say_what_is_left_and_when_all_is_there_again(clock: Clock) -> None:
    limits = RateLimits(60, 600, clock=clock)
    limits.enter("a")
    assert limits.headers("a", owed_tokens=30) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "570",
        "x-ratelimit-reset-tokens": "3s",
    }
    limits.pay("a", 5000)
    assert limits.headers("a")["x-ratelimit-remaining-tokens"] == "0"


def test_memory_is_bounded_and_those_who_ask_are_remembered(clock: Clock) -> None:
    limits = RateLimits(requests_per_minute=2, most_known=100, clock=clock)
    limits.enter("regular")
    limits.enter("regular")
    for stranger in range(1000):
        limits.enter(str(stranger))
        assert limits.enter("regular") is not None, "strangers do not wash a regular's debts away"
    assert limits.num_known == 100


async def answer(request: Request) -> Response:
    record = record_of(request.scope)
    record.prompt_tokens, record.completion_tokens = 30, 20
    return PlainTextResponse("ok")


def served(limits: RateLimits, route=answer) -> TestClient:
    paths = ("/v1/chat/completions", "/health", "/metrics", "/")
    return TestClient(RateLimiting(Starlette(routes=[Route(path, route) for path in paths]), limits))


def test_an_answer_carries_its_headers_and_costs_its_tokens(clock: Clock) -> None:
    client = served(RateLimits(10, 100, clock=clock))
    first = client.get("/v1/chat/completions")
    assert first.status_code == 200
    assert first.headers["x-ratelimit-remaining-requests"] == "9"
    assert first.headers["x-ratelimit-remaining-tokens"] == "50", "what this answer costs is known when it goes out"
    assert client.get("/v1/chat/completions").headers["x-ratelimit-remaining-tokens"] == "0"
    refused = client.get("/v1/chat/completions")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["retry-after-ms"] == "600"
    assert refused.headers["x-ratelimit-limit-tokens"] == "100"
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
    assert re.search(r"100 tokens a minute .* try again in 600ms", error["message"])


def test_without_limits_nothing_is_said() -> None:
    response = served(RateLimits()).get("/v1/chat/completions")
    assert not [name for name in response.headers if name.startswith("x-ratelimit")]


def test_probes_and_metrics_are_never_limited(clock: Clock) -> None:
    client = served(RateLimits(1, clock=clock))
    for path in ("/health", "/metrics", "/"):
        assert [client.get(path).status_code for _ in range(3)] == [200] * 3
    assert [client.get("/v1/chat/completions").status_code for _ in range(2)] == [200, 429]


def test_a_broken_or_abandoned_stream_is_paid_for(clock: Clock) -> None:
    limits = RateLimits(tokens_per_minute=100, clock=clock)

    async def breaks(request: Request) -> Response:
        record = record_of(request.scope)

        async def pieces():
            record.completion_tokens = 70
            yield b"half"
            raise ConnectionResetError

        return StreamingResponse(pieces())

    with pytest.raises(ConnectionResetError):
        served(limits, breaks).get("/v1/chat/completions")
    assert limits.headers("address testclient")["x-ratelimit-remaining-tokens"] == "30"


def test_each_key_has_its_own_bucket_and_without_keys_each_address(clock: Clock) -> None:
    limits = RateLimits(1, clock=clock)

    async def ask(key: str | None, address: str) -> int:
        statuses = []

        async def send(message) -> None:
            statuses.append(message.get("status"))

        scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": [], "client": (address, 1)}
        record_of(scope).key = key
        await RateLimiting(PlainTextResponse("ok"), limits)(scope, None, send)
        return statuses[0]

    def statuses(*asking: tuple[str | None, str]) -> list[int]:
        return [asyncio.run(ask(*each)) for each in asking]

    assert statuses(("a", "10.0.0.1"), ("a", "10.0.0.2"), ("b", "10.0.0.1")) == [200, 429, 200]
    assert statuses((None, "10.0.0.1"), (None, "10.0.0.1"), (None, "10.0.0.2")) == [200, 429, 200]
