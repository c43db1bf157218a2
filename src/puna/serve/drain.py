"""The end of a server: it turns new requests away, lets answers end, and cuts what is left at the deadline with an error that says so."""

import asyncio
from types import FrameType

import uvicorn

from puna.serve.core import Core


class DrainingServer(uvicorn.Server):
    """At the first SIGINT or SIGTERM it drains: it goes on listening, so that probes see that it is not ready and clients are told 503. At
    the second it ends at once.
    """

    def __init__(self, config: uvicorn.Config, core: Core) -> None:
        super().__init__(config)
        self._core = core
        self._is_asked = False
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._is_asked:
            super().handle_exit(sig, frame)
        self._is_asked = True

    async def on_tick(self, counter: int) -> bool:
        if self._is_asked and self._draining is None:
            self._draining = asyncio.create_task(self._core.drain(self._core.limits.drain_s))
        if self._draining is not None and self._draining.done():
            self.should_exit = True
        return await super().on_tick(counter)
