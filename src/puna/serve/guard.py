"""The seam for a firewall: what is asked, what is said and what is called can be looked at before it goes on.

A guard says None, or why not. A refused request is a 400 with the code "content_filter"; a refused answer ends, without what was
refused, with the finish reason "content_filter". A guard that fails lets nothing through: the request is answered with an error, since a
failure is no verdict. Without a guard nothing here runs.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from puna.pipeline import Ask, CallDone, Event, Finished, PromptScored, TextDelta, Usage
from puna.pipeline.ask import ChoiceEvent
from puna.serve.errors import ApiError
from puna.stream import ToolCall

_log = logging.getLogger(__name__)


class Guard(Protocol):
    """Each method gives None to let pass, or the reason for a refusal. `window`: how many characters of an answer are looked at once."""

    window: int

    async def asked(self, ask: Ask) -> str | None:
        """Before anything is generated."""
        ...

    async def said(self, ask: Ask, text: str, start: int) -> str | None:
        """`text` is all that a choice has said; what begins at `start` has not gone out yet."""
        ...

    async def called(self, ask: Ask, call: ToolCall) -> str | None:
        """A whole tool call, before anything of it goes out."""
        ...


async def check_asks(guard: Guard, asks: Sequence[Ask]) -> None:
    """Raises the 400 of a refusal."""
    for ask in asks:
        reason = await verdict(guard.asked(ask))
        if reason is not None:
            raise ApiError(400, f"this request is refused: {reason}", code="content_filter")


async def verdict(judging: Awaitable[str | None]) -> str | None:
    """What the guard says; its failure is an error of this request, and never a verdict."""
    try:
        return await judging
    except Exception as error:
        _log.exception("the guard failed; nothing is let through")
        message = "the guard before the model failed, so that nothing was let through; the server's log says why"
        raise ApiError(500, message, type="server_error", code="guard_error") from error


@dataclass(slots=True)
class _Choice:
    """What a choice has said, how much of it is judged, and its events that have not gone out."""

    ask: Ask
    said: str = ""
    judged: int = 0
    tokens: int = 0
    held: list[Event] = field(default_factory=list)
    is_over: bool = False


async def guarded(
    guard: Guard, asks: Sequence[Ask], prompt_tokens: int, events: AsyncGenerator[Event, None]
) -> AsyncGenerator[Event, None]:
    """The same events, held back until they are judged, window by window and call by call; a refused choice ends there."""
    choices = [_Choice(ask) for ask in asks for _ in range(ask.n)]
    async with aclosing(events):
        async for event in events:
            if isinstance(event, PromptScored | Usage):
                yield event
                continue
            choice = choices[event.choice]
            if choice.is_over:
                continue
            choice.held.append(event)
            if not _is_due(guard, choice, event):
                continue
            if await _judge(guard, choice, event) is None:
                choice.is_over = isinstance(event, Finished)
                for each in choice.held:
                    yield each
                choice.held.clear()
            else:
                choice.is_over = True
                yield Finished(event.choice, "content_filter", choice.tokens)
                if all(each.is_over for each in choices):
                    yield Usage(prompt_tokens, sum(each.tokens for each in choices))
                    return


def _is_due(guard: Guard, choice: _Choice, event: ChoiceEvent) -> bool:
    """Takes the event into account; whether what is held is to be judged now."""
    if isinstance(event, TextDelta):
        choice.said += event.text
        choice.tokens = event.tokens
        return len(choice.said) - choice.judged >= guard.window
    if isinstance(event, Finished):
        choice.tokens = event.completion_tokens
    return isinstance(event, CallDone | Finished)


async def _judge(guard: Guard, choice: _Choice, event: ChoiceEvent) -> str | None:
    start, choice.judged = choice.judged, len(choice.said)
    reason = await verdict(guard.said(choice.ask, choice.said, start)) if start < choice.judged else None
    if reason is None and isinstance(event, CallDone):
        reason = await verdict(guard.called(choice.ask, event.call))
    return reason
