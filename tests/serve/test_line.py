"""A bounded line before the model, whose places come back whatever becomes of a request."""

import asyncio
import threading

import pytest

from puna.serve.errors import ApiError
from puna.serve.limits import Limits
from puna.serve.line import Line
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error

pytestmark = pytest.mark.anyio


async def until(claim) -> None:
    async with asyncio.timeout(5):
        while not claim():
            await asyncio.sleep(0.002)


async def test_beyond_the_line_requests_are_told_to_come_back() -> None:
    hold = threading.Semaphore(0)
    pipeline = ScriptedPipeline("Yes", hold=hold)
    client = AppClient(pipeline, Limits(answering=2, waiting=1))
    answers = [asyncio.create_task(client.chat()) for _ in range(3)]
    await until(lambda: client.core.in_flight == 3)
    refused = await client.chat()
    assert_error(refused, 429, "rate_limit_exceeded")
    assert int(refused.headers["Retry-After"]) >= 1
    hold.release(100)
    assert [(await answer).status_code for answer in answers] == [200] * 3
    assert (await client.chat()).status_code == 200
    await until(lambda: client.core.in_flight == 0)  # its place is given back just after its answer is sent


@pytest.mark.parametrize("fields", [{"n": 0}, {"model": "other"}, {"messages": []}, {"top_p": 2}])
async def test_refused_requests_give_their_place_back(fields: dict) -> None:
    client = AppClient(ScriptedPipeline("Yes"), Limits(waiting=0))
    for _ in range(3):
        response = await client.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}], **fields})
        assert response.status_code in (400, 404)
    assert client.core.in_flight == 0


async def test_failed_answers_give_their_place_back() -> None:
    client = AppClient(ScriptedPipeline(RuntimeError("boom"), ["Hello ", RuntimeError("boom")]), Limits(waiting=0))
    for _ in range(4):
        assert (await client.chat(stream=True)).status_code in (200, 500)
        await until(lambda: client.core.in_flight == 0)


async def test_hundreds_of_requests_wait_without_a_thread_each() -> None:
    hold = threading.Semaphore(0)
    client = AppClient(ScriptedPipeline("Yes", hold=hold), Limits(waiting=400))
    threads = threading.active_count()
    answers = [asyncio.create_task(client.chat()) for _ in range(300)]
    await until(lambda: client.core.in_flight == 300)
    assert threading.active_count() - threads <= Limits().readers
    hold.release(10_000)
    assert {(await answer).status_code for answer in answers} == {200}


async def test_a_closed_line_lets_nobody_in() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    client.core.line.is_closed = True
    refused = await client.chat()
    assert_error(refused, 503, "shutting_down")
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_place_given_back_twice_counts_once() -> None:
    line = Line(1, 3)
    ticket = line.ticket()
    ticket.give_back()
    ticket.give_back()
    assert line.in_flight == 0
    with pytest.raises(ApiError):
        for _ in range(5):
            line.ticket()
    assert line.in_flight == 4
