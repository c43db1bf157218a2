"""The end of a server: what runs may end, what does not is told so, and nobody new comes in."""

import asyncio
import threading

import pytest

from puna.engine import Settings
from puna.pipeline import Pipeline
from puna.testing.models import tiny_config, tiny_model
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error
from puna.testing.tokenizer import byte_tokenizer

pytestmark = pytest.mark.anyio


async def until(claim) -> None:
    async with asyncio.timeout(5):
        while not claim():
            await asyncio.sleep(0.002)


async def test_answers_that_end_in_time_end_well() -> None:
    hold = threading.Semaphore(0)
    client = AppClient(ScriptedPipeline("one two", hold=hold))
    answers = [asyncio.create_task(client.chat(stream=stream)) for stream in (False, True)]
    await until(lambda: client.core.in_flight == 2)
    draining = asyncio.create_task(client.core.drain(5))
    await until(lambda: client.core.line.is_closed)
    assert_error(await client.chat(), 503, "shutting_down")
    hold.release(100)
    whole, streamed = [await answer for answer in answers]
    assert whole.json()["choices"][0]["message"]["content"] == "one two"
    assert streamed.text.endswith("data: [DONE]\n\n") and "error" not in streamed.text
    async with asyncio.timeout(1):
        await draining


async def test_answers_that_do_not_are_told_so_at_the_deadline() -> None:
    hold = threading.Semaphore(1)
    pipeline = ScriptedPipeline("one two", hold=hold)
    client = AppClient(pipeline)
    streamed = asyncio.create_task(client.events())
    await until(lambda: pipeline.running == 1)
    whole = asyncio.create_task(client.chat())
    await until(lambda: client.core.in_flight == 2)
    await asyncio.sleep(0.02)
    await client.core.drain(0.01)
    *_, failure, done = await streamed
    assert (failure["error"]["code"], done) == ("shutting_down", "[DONE]")
    assert_error(await whole, 503, "shutting_down")
    await until(lambda: client.core.in_flight == 0)
    assert pipeline.abandoned == 2


async def test_a_server_without_work_is_drained_at_once() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    async with asyncio.timeout(0.5):
        await client.core.drain(60)


async def test_what_is_cut_gives_its_pages_back_within_a_step() -> None:
    pipeline = Pipeline("tiny", tiny_model(tiny_config(eos_ids=())), byte_tokenizer(), settings=Settings(max_streams=2))
    client = AppClient(pipeline)
    answers = [asyncio.create_task(client.chat(max_tokens=3000)) for _ in range(4)]  # two run, two wait
    await until(lambda: pipeline.engine.counters.steps > 5)
    await client.core.drain(0)
    for answer in answers:
        assert_error(await answer, 503, "shutting_down")
    await until(lambda: not pipeline.engine.has_work)
    await client.core.aclose()
