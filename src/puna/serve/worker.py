"""Threads that generate, as many as the engine has streams, with a short line in front of them.

Each answer has a thread that asks the pipeline for its tokens; the engine takes all of them in one batch. A ticket is a place in the
line. It is taken before a request's body is read, so that the line also bounds memory, and given back when the thread is done with the
answer, not when the client has read it. Knows nothing of HTTP but the 429.
"""

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from puna.pipeline import Chunk
from puna.serve.chat_completions import Silence
from puna.serve.errors import ApiError

T = TypeVar("T")


class Ticket:
    """A place in the line. Giving it back twice is harmless."""

    def __init__(self, worker: "Worker") -> None:
        self._worker: Worker | None = worker

    def give_back(self) -> None:
        if self._worker is not None:
            self._worker.in_flight -= 1
            self._worker = None


class Answer:
    """The chunks of one answer, made in the worker thread and read in the event loop. Whoever holds it must call `stop` in the end."""

    def __init__(self, ticket: Ticket, start: Callable[[], Generator[Chunk, None, None]], executor: ThreadPoolExecutor) -> None:
        self._loop = asyncio.get_running_loop()
        self._ticket = ticket
        self._start = start
        self._stopped = threading.Event()
        self._events: asyncio.Queue[Chunk | BaseException | None] = asyncio.Queue()
        self._future: Future[None] = executor.submit(self._generate)

    def stop(self) -> None:
        """Ends the generation before its next token. An answer whose turn has not come leaves the line at once."""
        self._stopped.set()
        if self._future.cancel():
            self._ticket.give_back()

    async def next(self, patience_s: float | None = None) -> Chunk | Silence | None:
        """The next chunk, `SILENCE` after `patience_s` without one, None after the last. Raises what the pipeline raised."""
        try:
            async with asyncio.timeout(patience_s):
                event = await self._events.get()
        except TimeoutError:
            return Silence.SILENCE
        if isinstance(event, BaseException):
            raise event
        return event

    def _generate(self) -> None:
        outcome: BaseException | None = None
        try:
            self._pump()
        except BaseException as error:  # raised again by `next`, in the event loop
            outcome = error
        self._tell(self._events.put_nowait, outcome)
        self._tell(self._ticket.give_back)

    def _pump(self) -> None:
        with closing(self._start()) as chunks:
            for chunk in chunks:
                self._tell(self._events.put_nowait, chunk)
                if self._stopped.is_set():
                    return

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


class Worker:
    """Owns the generating threads, and one more in which requests are read and pictures decoded before their turn comes."""

    def __init__(self, waiting: int, answering: int = 1) -> None:
        self.waiting, self.answering = waiting, answering
        self.in_flight = 0
        self._generating = ThreadPoolExecutor(answering, thread_name_prefix="puna-generate")
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="puna-prepare")

    def ticket(self) -> Ticket:
        if self.in_flight >= self.answering + self.waiting:
            message = f"{self.answering} answers are being written and {self.waiting} requests wait, as many as may; try again in a moment"
            raise ApiError(429, message, type="rate_limit_error", code="rate_limit_exceeded", headers={"Retry-After": "2"})
        self.in_flight += 1
        return Ticket(self)

    async def prepare(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._preparing, function)

    def answer(self, ticket: Ticket, start: Callable[[], Generator[Chunk, None, None]]) -> Answer:
        """Puts an answer in the line. From here on it owns the ticket."""
        return Answer(ticket, start, self._generating)

    def close(self) -> None:
        """Lets nobody in any more. Threads end after the token they are at."""
        self._generating.shutdown(wait=False, cancel_futures=True)
        self._preparing.shutdown(wait=False, cancel_futures=True)
