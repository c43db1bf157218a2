"""What an answer leaves in the request's record and in the metrics, whole or not."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from puna.pipeline import Ask, Event, Finished, TextDelta, Usage
from puna.pipeline.ask import CallBegun, CallDone
from puna.serve.metrics import Metrics
from puna.serve.noted import NotedGuard, noted
from puna.serve.record import Record
from puna.stream import ToolCall

pytestmark = pytest.mark.anyio

WHOLE: Sequence[Event] = (
    TextDelta(0, "a", 1),
    CallBegun(1, 0, "call_1", "look"),
    TextDelta(0, "b", 3),
    CallDone(1, 0, ToolCall("look", {})),
    Finished(0, "length", 4),
    Finished(1, "tool_calls", 6, failures=2),
    Usage(20, 10, 16),
)


async def coming(events: Sequence[Event | Exception]) -> AsyncGenerator[Event, None]:
    for event in events:
        if isinstance(event, Exception):
            raise event
        yield event


def value(metrics: Metrics, name: str, **labels: str) -> float:
    samples = [each for family in text_string_to_metric_families(metrics.render().decode()) for each in family.samples]
    found = [each.value for each in samples if each.name == f"puna:{name}" and labels.items() <= each.labels.items()]
    return sum(found)


async def test_a_whole_answer_is_noted_and_nothing_of_it_is_changed() -> None:
    record, metrics = Record("req", prompt_tokens=20), Metrics("tiny")
    assert [event async for event in noted(coming(WHOLE), [Ask(n=2)], record, metrics)] == list(WHOLE)
    assert (record.completion_tokens, record.cached_tokens, record.finish_reasons) == (10, 16, ["length", "tool_calls"])
    assert value(metrics, "generation_tokens_total") == 10
    assert value(metrics, "prompt_tokens_total") == 20 and value(metrics, "prefix_cache_hits_total") == 16
    assert value(metrics, "request_success_total", finished_reason="length") == 1
    assert value(metrics, "request_success_total", finished_reason="tool_calls") == 1
    assert value(metrics, "request_success_total") == 2
    assert value(metrics, "tool_parse_failures_total") == 2
    assert value(metrics, "time_to_first_token_seconds_count") == 2


async def test_an_answer_that_breaks_is_counted_as_far_as_it_came() -> None:
    record, metrics = Record("req", prompt_tokens=20), Metrics("tiny")
    with pytest.raises(RuntimeError):
        async for _ in noted(coming([*WHOLE[:3], RuntimeError("fell over")]), [Ask(n=2)], record, metrics):
            pass
    assert (record.completion_tokens, record.finish_reasons) == (4, ["error"])
    assert value(metrics, "request_success_total", finished_reason="error") == 2
    assert value(metrics, "prompt_tokens_total") == 20


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_an_answer_that_nobody_waits_for_is_counted_as_far_as_it_came(how: str) -> None:
    record, metrics = Record("req", prompt_tokens=20), Metrics("tiny")
    closed: list[bool] = []

    async def endless() -> AsyncGenerator[Event, None]:
        try:
            yield TextDelta(0, "a", 5)
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    events = noted(endless(), [Ask()], record, metrics)
    await anext(events)
    if how == "closed":
        await events.aclose()
    else:
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert closed == [True], "the answer behind it is given back"
    assert (record.completion_tokens, record.finish_reasons) == (5, ["cancelled"])
    assert value(metrics, "request_success_total", finished_reason="abort") == 1


async def test_without_metrics_the_record_is_kept_all_the_same() -> None:
    record = Record("req", prompt_tokens=20)
    assert len([event async for event in noted(coming(WHOLE), [Ask(n=2)], record)]) == len(WHOLE)
    assert record.completion_tokens == 10


class ToyGuard:
    window = 7

    async def asked(self, ask: Ask) -> str | None:
        return None

    async def said(self, ask: Ask, text: str, start: int) -> str | None:
        return "rude" if "rude" in text else None

    async def called(self, ask: Ask, call: ToolCall) -> str | None:
        raise ValueError("no verdict")


async def test_verdicts_of_a_guard_are_counted_and_kept() -> None:
    metrics = Metrics("tiny")
    guard = NotedGuard(ToyGuard(), metrics)
    assert guard.window == 7
    assert await guard.asked(Ask()) is None
    assert await guard.said(Ask(), "a rude word", 0) == "rude"
    with pytest.raises(ValueError, match="no verdict"):
        await guard.called(Ask(), ToolCall("look", {}))
    for stage, verdict in (("input", "allow"), ("output", "refuse"), ("tool", "error")):
        assert value(metrics, "guard_verdicts_total", stage=stage, verdict=verdict) == 1
    assert value(metrics, "guard_verdicts_total") == 3
