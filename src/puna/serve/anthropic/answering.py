"""The events of an answer in the words of the Messages API: a message at once, or its blocks as they come."""

import json
import sys
import uuid
from collections.abc import Iterable, Iterator

from puna import pipeline
from puna.pipeline import Answer, Ask, CallBegun, CallBroken, CallDone, CallPiece, Event, Finished, PromptScored, SaidCall, TextDelta
from puna.serve.anthropic.failures import failure_of
from puna.serve.anthropic.wire import (
    BlockDelta,
    BlockStart,
    BlockStop,
    EndOfMessage,
    InputDelta,
    MessageAnswer,
    MessageDelta,
    MessageStart,
    MessageStop,
    RefusalDetails,
    SaidBlock,
    SaidText,
    SaidTextDelta,
    SaidToolUse,
    StopReason,
    TokenUsage,
)
from puna.serve.errors import ApiError
from puna.serve.sse import frame

PING = frame('{"type":"ping"}', "ping")


class MessageExchange:
    """One message. Streamed: its start, each block from start to stop, the reason of its end with the usage, and its stop.

    How much of the prompt was cached is known at the end alone: what the start tells of usage is told again, and rightly, by the end.
    """

    ping = PING

    def __init__(self, ask: Ask, model: str, stream: bool, request_id: str) -> None:
        self.asks = (ask,)
        self.stream = stream
        self._model, self._request_id = model, request_id
        self._id = f"msg_{uuid.uuid4().hex}"
        self._blocks = 0
        self._is_open = self._is_in_text = False
        self._finished: Finished | None = None
        self._usage: pipeline.Usage | None = None

    def whole(self, answer: Answer) -> MessageAnswer:
        (choice,) = answer.choices
        content: list[SaidBlock] = [SaidText(text=choice.text)] if choice.text else []
        content += [_said(call) for call in choice.calls]
        assert choice.finished is not None
        end = self._end(choice.finished)
        return self._message(content, end, usage_of(answer.usage))

    def opening(self, prompt_tokens: int) -> Iterator[bytes]:
        usage = TokenUsage(input_tokens=prompt_tokens, cache_read_input_tokens=0, output_tokens=0)
        yield _event(MessageStart(message=self._message([], None, usage)))

    def frames(self, event: Event) -> Iterator[bytes]:
        match event:
            case TextDelta(_, text):
                if text:
                    if not self._is_in_text:
                        yield from self._begin(SaidText(text=""))
                    yield self._more(SaidTextDelta(text=text))
            case CallBegun(_, _, id, name):
                yield from self._begin(SaidToolUse(id=tool_use_id(id), name=name, input={}))
            case CallPiece(_, _, json):
                yield self._more(InputDelta(partial_json=json))
            case CallDone() | CallBroken():
                yield from self._stop()  # the pieces of a broken call are JSON that was cut short, which no client takes for whole
            case Finished():
                self._finished = event
            case pipeline.Usage():
                self._usage = event
            case PromptScored():
                pass  # nobody can ask for them here

    def closing(self) -> Iterator[bytes]:
        assert self._finished is not None and self._usage is not None, "an answer ends with a reason and its usage"
        yield from self._stop()
        yield _event(MessageDelta(delta=self._end(self._finished), usage=usage_of(self._usage)))
        yield _event(MessageStop())

    def failing(self, error: ApiError) -> Iterable[bytes]:
        return (frame(failure_of(error, self._request_id), "error"),)

    def _begin(self, block: SaidBlock) -> Iterator[bytes]:
        yield from self._stop()
        self._is_open, self._is_in_text = True, isinstance(block, SaidText)
        yield _event(BlockStart(index=self._blocks, content_block=block))

    def _more(self, delta: SaidTextDelta | InputDelta) -> bytes:
        return _event(BlockDelta(index=self._blocks, delta=delta))

    def _stop(self) -> Iterator[bytes]:
        if self._is_open:
            yield _event(BlockStop(index=self._blocks))
            self._is_open = self._is_in_text = False
            self._blocks += 1

    def _message(self, content: list[SaidBlock], end: EndOfMessage | None, usage: TokenUsage) -> MessageAnswer:
        reason, stop, details = (end.stop_reason, end.stop_sequence, end.stop_details) if end is not None else (None, None, None)
        return MessageAnswer(
            id=self._id,
            model=self._model,
            content=content,
            stop_reason=reason,
            stop_sequence=stop,
            stop_details=details,
            usage=usage,
        )

    def _end(self, finished: Finished) -> EndOfMessage:
        reason = self._reason(finished)
        details = RefusalDetails(explanation="the rest of this answer is withheld by the guard of this server")
        return EndOfMessage(stop_reason=reason, stop_sequence=finished.stop, stop_details=details if reason == "refusal" else None)

    def _reason(self, finished: Finished) -> StopReason:
        match finished.reason:
            case "tool_calls":
                return "tool_use"
            case "content_filter":
                return "refusal"
            case "length":
                wanted = self.asks[0].max_tokens
                assert wanted is not None, "every request of this API names a number"
                return "max_tokens" if finished.completion_tokens >= wanted else "model_context_window_exceeded"
            case "stop":
                return "end_turn" if finished.stop is None else "stop_sequence"


def usage_of(usage: pipeline.Usage) -> TokenUsage:
    computed = usage.prompt_tokens - usage.cached_tokens
    return TokenUsage(input_tokens=computed, cache_read_input_tokens=usage.cached_tokens, output_tokens=usage.completion_tokens)


def tool_use_id(call_id: str) -> str:
    """A call's id as Anthropic's look; any comes back as it went."""
    return f"toolu_{call_id.removeprefix('call_')}"


def _said(call: SaidCall) -> SaidText | SaidToolUse:
    """A call that never ended is told as what the model wrote: an `input` made of half of it could be acted upon."""
    if call.call is None:
        return SaidText(text=call.source)
    return SaidToolUse(id=tool_use_id(call.id), name=call.name, input=json.loads(call.json, parse_float=_finite))


def _finite(number: str) -> float:
    """JSON has no infinity, and a call may: the greatest number there is."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(number)))


def _event(data: MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop) -> bytes:
    return frame(data, data.type)
