"""How long an answer may get: what the client asked for, within the context."""

from puna.engine import ContextError
from puna.messages import RequestError
from puna.pipeline.ask import Ask


def answer_length(ask: Ask, prompt_tokens: int, context: int, default: int | None = None) -> int:
    """The most tokens of an answer: `ask.max_tokens`, or else `default` as far as the context of `context` tokens has room.

    Raises `ContextError` if there is no room at all, or less than was asked for, unless `ask.shortens_to_fit`: an answer is never cut
    shorter than its client knows. Coding agents shorten a conversation and ask again where an error says "maximum context length is N
    tokens", the number in plain digits: other servers say so.
    """
    room = context - prompt_tokens
    what = "messages have" if ask.prompt_ids is None else "prompt has"
    if room < 1:
        way_out = "send fewer or shorter messages, or fewer pictures and videos" if ask.prompt_ids is None else "send a shorter one"
        raise ContextError(f"the {what} {prompt_tokens} tokens, but this model's maximum context length is {context} tokens; {way_out}")
    if ask.max_tokens is None:
        return room if default is None else min(default, room)
    if ask.max_tokens < 1:
        raise RequestError(f"max_tokens={ask.max_tokens} must be at least 1")
    if ask.max_tokens > room and ask.shortens_to_fit:
        return room
    if ask.max_tokens > room:
        raise ContextError(
            f"max_tokens={ask.max_tokens} after {prompt_tokens} prompt tokens is too much: this model's maximum context length is "
            f"{context} tokens; at most {room} are left"
        )
    return ask.max_tokens
