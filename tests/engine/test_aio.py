"""The engine in event loops: many streams at once, leaving early, errors, closing, and loops in several threads."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from puna.engine import AsyncEngine, Generation, PromptError, Request, Sampling, SamplingError, generate
from puna.model import Model
from puna.testing.engines import assert_nothing_is_left, engine_with_pages, small_model, text, tile, with_pictures

ENDLESS = Request(prompt=text(4), sampling=Sampling(max_tokens=3000))
PAGES = dict(num_global=800, num_local=20)


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


def asked(seed: int) -> Request:
    sampling = Sampling(max_tokens=3 + seed % 5, **(dict(temperature=1.0, seed=seed) if seed % 3 == 0 else {}))
    return Request(prompt=text(1 + 3 * seed % 20, seed % 4), sampling=sampling)


def alone(model: Model, request: Request) -> list[int]:
    return list(generate(model, request.prompt, request.sampling, request.stop_ids))


@asynccontextmanager
async def opened(model: Model, **options: Any) -> AsyncIterator[AsyncEngine]:
    """An engine that must be empty and closed when the test is done with it."""
    engine = AsyncEngine(engine_with_pages(model, **(PAGES | options)))
    try:
        yield engine
        await until(lambda: not engine.engine.has_work)
    finally:
        await engine.close()
    assert not engine._thread.is_alive() and not engine._listeners
    assert_nothing_is_left(engine.engine)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


async def answer(engine: AsyncEngine, request: Request) -> list[int]:
    return [token.id async for token in engine.stream(request)]


async def followed(engine: AsyncEngine, generation: Generation) -> list[int]:
    return [token.id async for token in engine.follow(generation)]


def test_twenty_streams_at_once_are_those_alone(model: Model) -> None:
    async def main() -> list[list[int]]:
        async with opened(model, num_global=20, num_local=6) as engine:
            return await asyncio.gather(*(answer(engine, asked(seed)) for seed in range(20)))

    assert asyncio.run(main()) == [alone(model, asked(seed)) for seed in range(20)]


def test_the_last_token_says_why_it_ended(model: Model) -> None:
    async def main() -> list[Any]:
        async with opened(model) as engine:
            return [token async for token in engine.stream(asked(4))]

    assert [token.finish_reason for token in asyncio.run(main())] == [None] * 6 + ["length"]


@pytest.mark.parametrize("after", [1, 5])
def test_breaking_out_of_the_loop_frees_pages(model: Model, after: int) -> None:
    async def main() -> None:
        async with opened(model) as engine:
            taken = []
            async for token in engine.stream(ENDLESS):
                taken.append(token.id)
                if len(taken) == after:
                    break
            await until(lambda: not engine.engine._sequences)
            assert engine.engine.counters.tokens_sampled < 1000

    asyncio.run(main())


def test_a_cancelled_task_frees_pages_and_others_go_on(model: Model) -> None:
    async def main() -> None:
        async with opened(model) as engine:
            tasks = [asyncio.create_task(answer(engine, ENDLESS)) for _ in range(3)]
            await until(lambda: engine.engine.counters.tokens_sampled > 5)
            for task in tasks:
                task.cancel()
            assert await answer(engine, asked(5)) == alone(model, asked(5))
            for task in tasks:
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(main())


def test_whoever_is_cancelled_while_submitting_leaves_no_request_behind(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with opened(model) as engine:
            submit, gate = engine.engine.submit, threading.Event()
            entered: list[Generation] = []

            def slow(request: Request) -> Generation:
                gate.wait(10)
                entered.append(submit(request))
                return entered[-1]

            monkeypatch.setattr(engine.engine, "submit", slow)
            task = asyncio.create_task(answer(engine, ENDLESS))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
            await until(lambda: bool(entered) and entered[0].is_done)
            assert entered[0].finish_reason == "cancelled"

    asyncio.run(main())


def test_mistakes_raise_before_the_first_token(model: Model) -> None:
    async def main() -> None:
        async with opened(model) as engine:
            other = asyncio.create_task(answer(engine, asked(8)))
            with pytest.raises(PromptError, match="empty"):
                await answer(engine, Request(prompt=text(0)))
            assert await other == alone(model, asked(8))

    asyncio.run(main())


def test_errors_under_way_reach_their_own_stream(model: Model) -> None:
    broken = tile(1)
    broken[0, 0, 0] = np.nan

    async def main() -> None:
        async with opened(model) as engine:
            bad = answer(engine, Request(prompt=with_pictures(text(3), broken)))
            good, failed = await asyncio.gather(answer(engine, asked(7)), bad, return_exceptions=True)
            assert good == alone(model, asked(7)) and isinstance(failed, SamplingError)

    asyncio.run(main())


def test_what_is_nobodys_fault_is_told_to_all_and_the_engine_lives_on(
    model: Model, embedding: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with opened(model) as engine:

            def full(*_: object) -> None:
                raise MemoryError("no room")

            with monkeypatch.context() as patch:
                patch.setattr(*embedding, full)
                results = await asyncio.gather(*(answer(engine, asked(seed)) for seed in range(3)), return_exceptions=True)
            assert [str(result) for result in results] == ["no room"] * 3
            assert await answer(engine, asked(1)) == alone(model, asked(1))

    asyncio.run(main())


def test_closing_with_work_under_way_ends_every_stream(model: Model) -> None:
    async def main() -> None:
        engine = AsyncEngine(engine_with_pages(model, **PAGES, max_streams=2))
        entered = [await engine.submit(ENDLESS) for _ in range(4)]  # two of them wait
        tasks = [asyncio.create_task(followed(engine, generation)) for generation in entered]
        await until(lambda: engine.engine.counters.tokens_sampled > 5)
        await engine.close()
        taken = await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert taken[0] and all(len(tokens) < 3000 for tokens in taken) and not taken[3]
        assert not engine._thread.is_alive()
        assert_nothing_is_left(engine.engine)
        await engine.close()

    asyncio.run(main())


def test_a_closed_engine_takes_nothing_and_nobody_waits_for_it(model: Model) -> None:
    async def main() -> None:
        engine = AsyncEngine(engine_with_pages(model, **PAGES))
        unfollowed = await engine.submit(ENDLESS)
        await engine.close()
        with pytest.raises(RuntimeError, match="closed"):
            await engine.submit(ENDLESS)
        rest = [token async for token in engine.follow(unfollowed)]
        assert len(rest) == len(unfollowed.token_ids) and unfollowed.finish_reason == "cancelled"

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_request_that_comes_in_while_the_engine_closes_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        engine = AsyncEngine(engine_with_pages(model, **PAGES))
        submit, gate = engine.engine.submit, threading.Event()

        def slow(request: Request) -> Generation:
            gate.wait(10)
            return submit(request)

        monkeypatch.setattr(engine.engine, "submit", slow)
        task = asyncio.create_task(answer(engine, ENDLESS))
        await asyncio.sleep(0.05)
        await engine.close()
        gate.set()
        with pytest.raises(RuntimeError, match="closed"):
            await asyncio.wait_for(task, 10)
        assert_nothing_is_left(engine.engine)

    asyncio.run(main())


def test_a_finished_generation_can_be_followed_late_and_once(model: Model) -> None:
    async def main() -> None:
        async with opened(model) as engine:
            generation = await engine.submit(asked(2))
            await until(lambda: generation.is_done)
            assert [token.id async for token in engine.follow(generation)] == alone(model, asked(2))
            assert [token.id async for token in engine.follow(generation)] == []

    asyncio.run(asyncio.wait_for(main(), 20))


def test_two_event_loops_in_two_threads_share_an_engine(model: Model) -> None:
    engine = AsyncEngine(engine_with_pages(model, num_global=30, num_local=8))
    answers: dict[int, list[int]] = {}

    def loop(seeds: range) -> None:
        async def main() -> None:
            async with aclosing(engine.stream(ENDLESS if seeds[0] else asked(0))) as tokens:  # one of them leaves somebody behind
                await anext(tokens)
            for seed, ids in zip(seeds, await asyncio.gather(*(answer(engine, asked(seed)) for seed in seeds)), strict=True):
                answers[seed] = ids

        asyncio.run(main())

    threads = [threading.Thread(target=loop, args=(seeds,)) for seeds in (range(0, 8), range(8, 16))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {seed: alone(model, asked(seed)) for seed in range(16)}
    asyncio.run(engine.close())
    assert_nothing_is_left(engine.engine)


def test_a_loop_that_is_closed_amid_a_stream_kills_no_engine(model: Model) -> None:
    engine = AsyncEngine(engine_with_pages(model, **PAGES))
    loop = asyncio.new_event_loop()
    stream = engine.stream(ENDLESS)
    loop.run_until_complete(anext(stream))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()  # without a word to the generator
    deadline = time.monotonic() + 20
    while engine.engine.has_work and time.monotonic() < deadline:
        time.sleep(0.01)
    assert engine._thread.is_alive() and not engine.engine._sequences and engine.engine.counters.tokens_sampled < 1000

    async def main() -> None:
        assert await answer(engine, asked(1)) == alone(model, asked(1))
        await engine.close()

    asyncio.run(main())
    assert_nothing_is_left(engine.engine)


def test_threads_that_each_follow_their_own_stream_step_for_each_other(model: Model) -> None:
    """Without asyncio: whoever waits drives."""
    engine = engine_with_pages(model, 20, 6)
    answers: dict[int, list[int]] = {}

    def follow(seed: int) -> None:
        answers[seed] = [token.id for token in engine.stream(asked(seed))]

    threads = [threading.Thread(target=follow, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {seed: alone(model, asked(seed)) for seed in range(12)}
    assert_nothing_is_left(engine)
