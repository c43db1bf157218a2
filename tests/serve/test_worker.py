"""One answer at a time, a bounded line before it, and an end at once when nobody waits any more."""

import asyncio
import threading

import pytest

from puna.serve.errors import ApiError
from puna.serve.limits import Limits
from puna.serve.worker import Worker
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error

pytestmark = pytest.mark.anyio


async def until(claim) -> None:
    async with asyncio.timeout(5):
        while not claim():
            await asyncio.sleep(0.002)


async def test_answers_are_written_one_at_a_time_in_order() -> None:
    pipeline = ScriptedPipeline("one two three", "four five", "six", seconds_per_token=0.002)
    client = AppClient(pipeline)
    answers = await asyncio.gather(*(client.chat(stream=index == 1) for index in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3
    assert pipeline.most_running == 1
    assert "six" in answers[2].text


async def test_several_answers_are_written_side_by_side_where_the_engine_has_streams() -> None:
    hold = threading.Semaphore(0)
    pipeline = ScriptedPipeline("Yes", hold=hold)
    client = AppClient(pipeline, Limits(answering=2, waiting=1))
    answers = [asyncio.create_task(client.chat()) for _ in range(3)]
    await until(lambda: client.app.state.worker.in_flight == 3 and pipeline.running == 2)
    assert_error(await client.chat(), 429, "rate_limit_exceeded")
    hold.release(100)
    assert [(await answer).status_code for answer in answers] == [200] * 3
    assert pipeline.most_running == 2


async def test_beyond_the_line_requests_are_told_to_come_back() -> None:
    hold = threading.Semaphore(0)
    pipeline = ScriptedPipeline("Yes", hold=hold)
    client = AppClient(pipeline, Limits(waiting=1))
    first = asyncio.create_task(client.chat())
    await until(lambda: pipeline.running == 1)
    second = asyncio.create_task(client.chat())
    await until(lambda: client.app.state.worker.in_flight == 2)
    third = await client.chat()
    assert_error(third, 429, "rate_limit_exceeded")
    assert int(third.headers["Retry-After"]) >= 1
    hold.release(100)
    assert [(await answer).status_code for answer in (first, second)] == [200, 200]
    assert (await client.chat()).status_code == 200
    await until(lambda: client.app.state.worker.in_flight == 0)  # its place is given back just after its answer is sent


@pytest.mark.parametrize("fields", [{"n": 2}, {"model": "other"}, {"messages": []}])
async def test_refused_requests_give_their_place_back(fields: dict) -> None:
    client = AppClient(ScriptedPipeline("Yes"), Limits(waiting=0))
    for _ in range(3):
        response = await client.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}], **fields})
        assert response.status_code in (400, 404)
    assert client.app.state.worker.in_flight == 0


async def test_failed_answers_give_their_place_back() -> None:
    client = AppClient(ScriptedPipeline(RuntimeError("boom"), ["Hello ", RuntimeError("boom")]), Limits(waiting=0))
    for _ in range(4):
        assert (await client.chat(stream=True)).status_code in (200, 500)
        await until(lambda: client.app.state.worker.in_flight == 0)


async def test_an_answer_stopped_in_line_leaves_it_at_once_and_never_runs() -> None:
    hold = threading.Semaphore(0)
    pipeline = ScriptedPipeline("Yes", hold=hold)
    worker = Worker(waiting=1)
    running = worker.answer(worker.ticket(), lambda: pipeline.stream(()))
    waiting = worker.answer(worker.ticket(), lambda: pipeline.stream(()))
    with pytest.raises(ApiError):
        worker.ticket()
    waiting.stop()
    assert worker.in_flight == 1
    hold.release(100)
    while await running.next() is not None:
        pass
    await until(lambda: worker.in_flight == 0)
    assert len(pipeline.requests) == 1
    worker.close()


async def test_a_stopped_answer_ends_before_its_next_token() -> None:
    hold = threading.Semaphore(2)
    pipeline = ScriptedPipeline("one two three four", hold=hold)
    worker = Worker(waiting=0)
    answer = worker.answer(worker.ticket(), lambda: pipeline.stream(()))
    assert (await answer.next()).text == "one "
    assert (await answer.next()).text == "two "
    answer.stop()
    hold.release()
    await until(lambda: worker.in_flight == 0)
    assert pipeline.abandoned == 1
    worker.close()


async def test_a_place_given_back_twice_counts_once() -> None:
    worker = Worker(waiting=3)
    ticket = worker.ticket()
    ticket.give_back()
    ticket.give_back()
    assert worker.in_flight == 0
    worker.close()
