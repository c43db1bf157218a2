"""The engine for asyncio: a thread steps it while there is work, and tokens arrive in the event loop.

engine = AsyncEngine(Engine(model))
async for token in engine.stream(request): ...   # leaving the loop, or being cancelled, cancels the request
await engine.close()

What is prepared elsewhere (`Engine.prepare`, in a thread: it may read a grammar) goes in line by `enter`, which never waits for a step.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from puna.engine.engine import Engine
from puna.engine.request import Generation, Request, Token


@dataclass(eq=False, slots=True)
class _Listener:
    """Where a generation's tokens go; None ends them."""

    generation: Generation
    loop: asyncio.AbstractEventLoop
    tokens: "asyncio.Queue[tuple[Generation, Token | None]]"


class AsyncEngine:
    """Owns the stepping of `engine`: nobody else should step it meanwhile. For event loops of any thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._listeners: set[_Listener] = set()
        self._arrivals: list[tuple[Generation, Generation | None]] = []
        self._unwanted: list[Generation] = []
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._work, name="puna-engine", daemon=True)
        self._thread.start()

    async def stream(self, request: Request) -> AsyncGenerator[Token, None]:
        """Tokens as they come.

        Raises `PromptError` before the first for a request that can never be answered, and whatever goes wrong later.
        """
        generation = await self.submit(request)
        async with aclosing(self.follow(generation)) as tokens:
            async for token in tokens:
                yield token

    async def submit(self, request: Request) -> Generation:
        """Put a request in line (in a thread: reading a grammar takes a while). Follow it, or it goes on unseen.

        Whoever is cancelled while waiting here leaves no request behind.
        """
        self._refuse_closed()
        entered: list[Generation] = []
        is_wanted = True

        def enter() -> None:
            generation = self.engine.submit(request)
            with self._changed:
                entered.append(generation)
                too_late = self._closed or not is_wanted
                self._changed.notify()
            if too_late:
                self.engine.cancel(generation)

        try:
            await asyncio.to_thread(enter)
        except asyncio.CancelledError:
            with self._changed:  # the thread goes on: what it has put in line, or will, is taken out again
                is_wanted = False
                self._unwanted += entered
                self._changed.notify()
            raise
        if entered[0].finish_reason == "cancelled":
            self._refuse_closed()
        return entered[0]

    def _refuse_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this engine is closed")

    def enter(self, generations: Sequence[Generation]) -> None:
        """Put prepared generations in line before the next step; those after the first as soon as the first one's prompt is computed, whose
        pages they share. From any thread, without waiting. Follow them, or they go on unseen.
        """
        self._refuse_closed()
        with self._changed:
            self._arrivals += [(each, generations[0] if place else None) for place, each in enumerate(generations)]
            self._changed.notify()

    def drop(self, generation: Generation) -> None:
        """Nobody wants it any more: its pages are free after the step under way. From any thread, without waiting."""
        with self._changed:
            self._unwanted.append(generation)
            self._changed.notify()

    async def follow(self, generation: Generation) -> AsyncGenerator[Token, None]:
        """The tokens of a submitted generation, once. Leaving early cancels it."""
        async with aclosing(self.follow_all([generation])) as tokens:
            async for _, token in tokens:
                if token is not None:
                    yield token
        if generation.error is not None:
            raise generation.error

    async def follow_all(self, generations: Sequence[Generation]) -> AsyncGenerator[tuple[Generation, Token | None], None]:
        """The tokens of several, as they come, and None when one has ended, for whatever reason. Leaving early cancels all of them."""
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[tuple[Generation, Token | None]] = asyncio.Queue()
        listeners = [_Listener(generation, loop, tokens) for generation in generations]
        with self._changed:
            self._listeners.update(listeners)
            if self._ended:
                self._tell()
            self._changed.notify()
        try:
            left = len(listeners)
            while left:
                generation, token = await tokens.get()
                left -= token is None
                yield generation, token
        finally:
            with self._changed:
                self._listeners.difference_update(listeners)
                self._unwanted += [generation for generation in generations if not generation.is_done]
                self._changed.notify()

    async def close(self) -> None:
        """Stop stepping after the step under way; what is unfinished is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._closed or self._arrivals or self._unwanted or self.engine.has_work or self._anything_to_tell()):
                    self._changed.wait()
                arrivals, self._arrivals = self._arrivals, []
                unwanted, self._unwanted = self._unwanted, []
                closed = self._closed
            for generation, after in arrivals:
                self.engine.enter(generation, after)
            for generation in unwanted:
                self.engine.cancel(generation)
            if closed:
                self.engine.cancel_all()
            else:
                try:
                    self.engine.step()
                except Exception as error:  # what no single request can be blamed for: each is told, and the engine lives on
                    self.engine.fail_all(error)
            with self._changed:
                self._tell()
                self._ended = closed
            if closed:
                return

    def _anything_to_tell(self) -> bool:
        return any(listener.generation.pending or listener.generation.is_done for listener in self._listeners)

    def _tell(self) -> None:
        """Hand out what there is. Under the lock, which no event loop holds for long."""
        for listener in list(self._listeners):
            generation = listener.generation
            is_done = generation.is_done  # before the tokens are taken: none comes after it
            events: list[tuple[Generation, Token | None]] = []
            while generation.pending:
                events.append((generation, generation.pending.popleft()))
            if is_done:
                events.append((generation, None))
                self._listeners.discard(listener)
            if events:
                try:
                    listener.loop.call_soon_threadsafe(_put_all, listener.tokens, events)
                except RuntimeError:  # its loop was closed, with the request under way
                    self._listeners.discard(listener)
                    self._unwanted.append(generation)


def _put_all(queue: "asyncio.Queue[tuple[Generation, Token | None]]", events: list[tuple[Generation, Token | None]]) -> None:
    for event in events:
        queue.put_nowait(event)
