"""What happens to responses besides being answered: they are kept, looked up, followed, cancelled and deleted.

Writes are made one after the other in a thread of their own, and reads that must see them wait in the same line.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from puna.serve.errors import ApiError, as_api_error
from puna.serve.record import Record
from puna.serve.responses.draft import CANCELLED
from puna.serve.responses.exchange import ResponseExchange
from puna.serve.running import Running
from puna.serve.store import Kept, Store, StoreError, TooLongError

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Keeper:
    """`live` are the responses under way that are or will be kept."""

    def __init__(self, store: Store) -> None:
        self.live: dict[str, ResponseExchange] = {}
        self._store = store
        self._line = ThreadPoolExecutor(1, thread_name_prefix="puna-store")
        self._runs: dict[str, tuple[Running, asyncio.Task[None]]] = {}

    async def aclose(self) -> None:
        """Everything that was to be written is written."""
        for running, _ in self._runs.values():
            running.stop()
        for _, task in list(self._runs.values()):
            task.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._line.shutdown)
        self._store.close()

    # In any thread

    def chain(self, id: str, owner: str | None, max_bytes: int) -> list[Kept]:
        """The stored responses of a conversation, oldest first. Raises the 400 of a `previous_response_id` that cannot be continued."""
        param = "previous_response_id"
        try:
            found = _translated(lambda: self._store.chain(id, owner, max_bytes))
        except TooLongError as error:
            message = f"{param}={id!r}: {error}; begin a new conversation"
            raise ApiError(400, message, code="conversation_too_long", param=param) from error
        if not found:
            message = f"{param}={id!r} is not stored here; it may have been deleted, or made with store=false: send the whole conversation"
            raise ApiError(400, message, code="previous_response_not_found", param=param)
        if found[0].previous is not None:
            message = f"{param}={id!r}: its conversation's beginning, {found[0].previous!r}, has been deleted; send the whole conversation"
            raise ApiError(400, message, code="previous_response_not_found", param=param)
        for kept in found:
            if kept.status not in ("completed", "incomplete"):
                why = "has not ended yet; wait for it" if kept.status in ("queued", "in_progress") else f"has {_ENDS[kept.status]}"
                message = f"{param}: {kept.id!r} {why}, or continue from the one before it"
                raise ApiError(400, message, code="previous_response_not_usable", param=param)
        return found

    def find(self, id: str, owner: str | None) -> Kept | None:
        return _translated(lambda: self._store.get(id, owner))

    # In the loop

    async def add(self, kept: Kept) -> None:
        await self._in_line(lambda: self._store.add(kept))

    async def update(self, kept: Kept, events: bytes | None) -> None:
        await self._in_line(lambda: self._store.update(kept.id, kept.status, kept.response, events))

    def update_later(self, kept: Kept, events: bytes | None) -> None:
        def done(future: Future[None]) -> None:
            if (error := future.exception()) is not None:
                _log.error("the end of %s could not be stored: %s", kept.id, error)

        self._line.submit(self._store.update, kept.id, kept.status, kept.response, events).add_done_callback(done)

    async def get(self, id: str, owner: str | None) -> Kept:
        """The response as it stands. Raises 404."""
        live = self._live(id, owner)
        if live is not None and not live.draft.is_over:
            return live.kept()
        found = await self._in_line(lambda: self._store.get(id, owner))
        if found is None:
            raise _not_found(id)
        return found

    async def delete(self, id: str, owner: str | None) -> None:
        """Raises 404. A response in the background is cancelled first."""
        await self._stop(id, owner)
        if not await self._in_line(lambda: self._store.delete(id, owner)):
            raise _not_found(id)

    async def cancel(self, id: str, owner: str | None) -> Kept:
        """The response, at its end. Raises 404, or 400 for one that does not run in the background."""
        kept = await self.get(id, owner)
        if '"background":true' not in kept.response:
            message = f"{id!r} was not made with background=true; close its connection to stop it"
            raise ApiError(400, message, code="not_in_background", param="response_id")
        await self._stop(id, owner)
        return await self.get(id, owner)

    def following(self, id: str, owner: str | None) -> ResponseExchange | None:
        """The response while it runs in the background."""
        live = self._live(id, owner)
        return live if live is not None and live.is_background else None

    async def go_on(self, exchange: ResponseExchange, running: Running, record: Record) -> None:
        """Lets a response run by itself. Returns when it can be asked for; raises what kept it from being stored."""
        record.goes_on = True
        task = asyncio.create_task(self._see_through(exchange, running, record))
        self._runs[exchange.id] = running, task
        await exchange.added.wait()
        if exchange.is_over and exchange.failure is not None and not exchange.is_kept:
            raise exchange.failure

    async def _see_through(self, exchange: ResponseExchange, running: Running, record: Record) -> None:
        try:
            while await running.next() is not None:
                pass
        except Exception as error:
            told = as_api_error(error)
            if told.status >= 500:
                _log.exception("a response in the background failed")
            exchange.failing(told)
        finally:
            self.live.pop(exchange.id, None)
            self._runs.pop(exchange.id, None)
            exchange.end()
            record.end()

    async def _stop(self, id: str, owner: str | None) -> None:
        if self._live(id, owner) is None or id not in self._runs:
            return
        running, task = self._runs[id]
        running.fail(ApiError(409, "this response has been cancelled", code=CANCELLED))
        await asyncio.wait((task,))

    def _live(self, id: str, owner: str | None) -> ResponseExchange | None:
        live = self.live.get(id)
        return live if live is not None and live.owner == owner else None

    async def _in_line(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._line, lambda: _translated(function))


_ENDS = {"failed": "failed", "cancelled": "been cancelled"}


def _translated(function: Callable[[], T]) -> T:
    try:
        return function()
    except StoreError as error:
        _log.error("%s", error)
        message = "the server cannot reach what it keeps of responses; its log says why. With store=false it answers without"
        raise ApiError(500, message, type="server_error", code="store_error") from error


def _not_found(id: str) -> ApiError:
    message = f"response {id!r} is not stored here; it may have been deleted, or made with store=false or with another key"
    return ApiError(404, message, code="response_not_found", param="response_id")
