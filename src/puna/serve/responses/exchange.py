"""One request for a response: its answer is written down, where it is to be kept, before its end is told."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from puna.pipeline import Answer, Ask, Event, Usage
from puna.serve.errors import ApiError
from puna.serve.exchange import PING
from puna.serve.responses.draft import Draft
from puna.serve.sse import DONE
from puna.serve.store import Kept

if TYPE_CHECKING:
    from puna.serve.responses.keeper import Keeper


class ResponseExchange:
    """`keeper` None keeps nothing. `input`: the JSON of the items to keep.

    In the background nobody need listen: the frames of a stream are all kept, and `follow` tells them to whoever asks.
    """

    ping = PING

    def __init__(
        self, ask: Ask, draft: Draft, keeper: "Keeper | None", owner: str | None, input: str, *, stream: bool, is_background: bool
    ) -> None:
        self.asks: Sequence[Ask] = (ask,)
        self.stream, self.is_background = stream, is_background
        self.draft, self.owner = draft, owner
        self.failure: ApiError | None = None
        self._keeper, self._input = keeper, input
        self.is_kept = False  # from the moment at which it can be asked for
        self._told: deque[list[bytes]] = deque()  # by `watched`, for `frames`
        self._opening = draft.opening() if stream else []
        self._log = list(self._opening) if is_background else []
        self._moved = asyncio.Event()
        self.added = asyncio.Event()  # or it never will be
        self.is_over = False

    @property
    def id(self) -> str:
        return self.draft.response.id

    # What the core asks

    async def watched(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """The same events. Whoever knows the response's id can ask for it, and its end is on the disk before anybody hears of it."""
        keeper = self._keeper
        try:
            if keeper is not None:
                keeper.live[self.id] = self
                if self.stream or self.is_background:
                    await self._add(keeper)
            async with aclosing(events):
                async for event in events:
                    frames = self.draft.take(event)
                    if isinstance(event, Usage):
                        frames += self.draft.closing()
                        if keeper is not None:
                            await self._settle(keeper, frames)
                    self._tell(frames)
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            if not self.draft.is_over and not self.is_background:  # a background's end is told to `failing`
                self.draft.cancel()
                self._settle_later()
            raise
        finally:
            if keeper is not None and not self.is_background:
                keeper.live.pop(self.id, None)

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        return self.draft.response.model_dump(mode="json")

    def opening(self, prompt_tokens: int) -> Iterable[bytes]:
        return self._opening

    def frames(self, event: Event) -> Iterable[bytes]:
        return self._told.popleft()

    def closing(self) -> Iterable[bytes]:
        return (DONE,)

    def failing(self, error: ApiError) -> Iterable[bytes]:
        self.failure = error
        frames = self.draft.failing(error)
        self._tell(frames)
        self._settle_later()
        return (*frames, DONE)

    # In the background

    def end(self) -> None:
        """Nothing more comes."""
        self.is_over = True
        self._move()
        self.added.set()

    async def follow(self, after: int, ping_s: float) -> AsyncIterator[bytes]:
        """The stream from the frame behind number `after`, to its end."""
        place = after + 1
        while True:
            if place < len(self._log):
                frames = self._log[place:]
                place += len(frames)
                yield b"".join(frames)
            elif self.is_over:
                yield DONE
                return
            else:
                try:
                    async with asyncio.timeout(ping_s):
                        await self._moved.wait()
                except TimeoutError:
                    yield self.ping

    def _tell(self, frames: list[bytes]) -> None:
        if self.is_background:
            if self.stream:
                self._log += frames
            self._move()
        elif self.stream:
            self._told.append(frames)

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    # In the store

    def kept(self) -> Kept:
        response = self.draft.response
        return Kept(
            self.id,
            self.owner,
            response.previous_response_id,
            response.created_at,
            response.status,
            self._input,
            response.model_dump_json(),
        )

    async def _add(self, keeper: "Keeper") -> None:
        await keeper.add(self.kept())
        self.is_kept = True
        self.added.set()

    async def _settle(self, keeper: "Keeper", last: list[bytes]) -> None:
        if self.is_kept:
            await keeper.update(self.kept(), self._events(last))
        else:
            await keeper.add(self.kept())

    def _settle_later(self) -> None:
        if self._keeper is not None and self.is_kept:
            self._keeper.update_later(self.kept(), self._events([]))

    def _events(self, last: list[bytes]) -> bytes | None:
        """The stream so far, for `frames_after`."""
        return json.dumps([each.decode() for each in [*self._log, *last]]).encode() if self.is_background and self.stream else None


def frames_after(events: bytes, after: int) -> bytes:
    """A kept stream from the frame behind number `after`, to its end."""
    return b"".join(each.encode() for each in json.loads(events)[after + 1 :]) + DONE
