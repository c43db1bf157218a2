"""An answer under way: its events go from the pipeline into a queue, from which a response takes them at its own pace.

However it ends, the pages behind it are given back: by its end, by a client that leaves, by a guard, or by a server that goes down.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from enum import Enum

from puna.pipeline import Answer, Event
from puna.serve.errors import ApiError


class Silence(Enum):
    """Nothing has come for a while, and the answer has not ended."""

    SILENCE = "silence"


class Running:
    """Takes events from `events` at once. Whoever holds it must call `stop` in the end; `done` is called once, when all is given back."""

    def __init__(self, events: AsyncGenerator[Event, None], done: Callable[["Running"], None]) -> None:
        self._queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self._events = events
        self._failure: ApiError | None = None
        self._task = asyncio.create_task(self._pump())
        self._done = done
        # Not in `_pump`: a task that is cancelled before it has begun runs nothing of it.
        self._task.add_done_callback(self._ended)

    async def next(self, patience_s: float | None = None) -> Event | Silence | None:
        """The next event, `SILENCE` after `patience_s` without one, None after the last. Raises what went wrong."""
        try:
            async with asyncio.timeout(patience_s):
                event = await self._queue.get()
        except TimeoutError:
            return Silence.SILENCE
        if isinstance(event, Exception):
            raise event
        return event

    async def whole(self, count: int) -> Answer:
        """All that is left, as the answer of `count` choices."""
        answer = Answer.of((), count)
        while (event := await self.next()) is not None:
            assert not isinstance(event, Silence)  # only patience brings silence
            answer.add(event)
        return answer

    def stop(self) -> None:
        """Nobody wants the rest. Harmless when it is over."""
        self._task.cancel()

    def fail(self, error: ApiError) -> None:
        """Whoever waits is told `error` in place of the rest."""
        self._failure = error
        self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and self._failure is not None:
            self._queue.put_nowait(self._failure)
        self._done(self)

    async def _pump(self) -> None:
        outcome: Exception | None = None
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    self._queue.put_nowait(event)
        except asyncio.CancelledError:
            if self._failure is None:
                raise
            outcome = self._failure
        except Exception as error:  # raised again by `next`, where somebody answers for it
            outcome = error
        self._queue.put_nowait(outcome)
