"""Meta's moderations: what the guard in front of the model says of a conversation, without an answer to it."""

from collections.abc import Awaitable

from puna.pipeline import Ask
from puna.serve.core import Core
from puna.serve.errors import ApiError
from puna.serve.guard import Guard, verdict
from puna.serve.meta.chat import openai_messages
from puna.serve.meta.wire import LlamaModeration, LlamaModerationRequest, LlamaModerationResult
from puna.serve.openai.chat import read_messages
from puna.serve.openai.options import parsed
from puna.stream import Message


def read_moderation(core: Core, body: bytes) -> Awaitable[LlamaModeration]:
    request = parsed(LlamaModerationRequest, body)
    if core.guard is None:
        raise ApiError(404, "this server has no guard in front of its model, so that nothing is judged", code="no_guard")
    messages = read_messages(openai_messages(request.messages), core)
    return _judged(core.guard, messages, request.model or core.pipeline.name)


async def _judged(guard: Guard, messages: tuple[Message, ...], model: str) -> LlamaModeration:
    """One result for the conversation as a whole. A guard's reason stands where Meta's has its categories."""
    reason = await verdict(guard.asked(Ask(messages=messages)))
    result = LlamaModerationResult(flagged=reason is not None, flagged_categories=[] if reason is None else [reason])
    return LlamaModeration(model=model, results=[result])
