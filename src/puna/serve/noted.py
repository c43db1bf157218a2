"""What passes by on its way out is noted: tokens and ends in the request's record and the metrics, verdicts of the guard."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing

from puna.pipeline import Ask, Event, Finished, TextDelta, Usage
from puna.pipeline.ask import CallBegun
from puna.serve.guard import Guard
from puna.serve.metrics import AnswerMeter, Metrics
from puna.serve.record import Record
from puna.stream import ToolCall


async def noted(
    events: AsyncGenerator[Event, None], asks: Sequence[Ask], record: Record, metrics: Metrics | None = None
) -> AsyncGenerator[Event, None]:
    """The same events. What an answer has cost is noted as it comes, so that one that is cut off is paid for, too.

    `record.prompt_tokens` must be known.
    """
    reached = [0] * sum(ask.n for ask in asks)
    meter = metrics.answer(record.began_s, len(reached)) if metrics is not None else None
    is_whole, outcome = False, "abort"
    try:
        async with aclosing(events):
            async for event in events:
                _note(event, reached, record)
                if metrics is not None and meter is not None:
                    _measure(event, reached, metrics, meter)
                is_whole |= isinstance(event, Usage)
                yield event
    except (GeneratorExit, asyncio.CancelledError):
        if not is_whole:
            record.finish_reasons.append("cancelled")
        raise
    except Exception:
        outcome = "error"
        record.finish_reasons.append("error")
        raise
    finally:
        if meter is not None and not is_whole:
            meter.broken(outcome)
            meter.prompted(record.prompt_tokens)


def _note(event: Event, reached: list[int], record: Record) -> None:
    if isinstance(event, TextDelta):
        reached[event.choice] = event.tokens
    elif isinstance(event, CallBegun):
        reached[event.choice] = max(1, reached[event.choice])  # how many it took is known at the end
    elif isinstance(event, Finished):
        reached[event.choice] = event.completion_tokens
        record.finish_reasons.append(event.reason)
    elif isinstance(event, Usage):
        record.cached_tokens = event.cached_tokens
    record.completion_tokens = event.completion_tokens if isinstance(event, Usage) else sum(reached)


def _measure(event: Event, reached: list[int], metrics: Metrics, meter: AnswerMeter) -> None:
    if isinstance(event, TextDelta | CallBegun | Finished):
        meter.reached(event.choice, reached[event.choice])
    if isinstance(event, Finished):
        meter.ended(event.choice, event.reason)
        if event.failures:
            metrics.tool_parse_failure(event.failures)
    elif isinstance(event, Usage):
        meter.prompted(event.prompt_tokens, event.cached_tokens, event.started_s)


class NotedGuard:
    """A guard whose verdicts are counted: allow, refuse, or the error that is neither."""

    def __init__(self, guard: Guard, metrics: Metrics) -> None:
        self.window = guard.window
        self._guard, self._metrics = guard, metrics

    async def asked(self, ask: Ask) -> str | None:
        return await self._counted("input", self._guard.asked(ask))

    async def said(self, ask: Ask, text: str, start: int) -> str | None:
        return await self._counted("output", self._guard.said(ask, text, start))

    async def called(self, ask: Ask, call: ToolCall) -> str | None:
        return await self._counted("tool", self._guard.called(ask, call))

    async def _counted(self, stage: str, judging: Awaitable[str | None]) -> str | None:
        try:
            reason = await judging
        except Exception:
            self._metrics.guard_verdict(stage, "error")
            raise
        self._metrics.guard_verdict(stage, "allow" if reason is None else "refuse")
        return reason
