"""A response as it is written: the events of an answer change it, and become the events of its stream.

Text that is interrupted by calls is several messages, in the order in which they came.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

from puna import pipeline
from puna.pipeline import CallBegun, CallBroken, CallDone, CallPiece, Event, Finished, PromptScored, Scored, TextDelta
from puna.serve.errors import ApiError
from puna.serve.openai.answers import finite, shown
from puna.serve.responses.events import (
    ArgumentsDelta,
    ArgumentsDone,
    ContentPart,
    ErrorEvent,
    EventLogprob,
    Lifecycle,
    OutputItemEvent,
    OutputTextDelta,
    OutputTextDone,
    ShownLogprob,
    StreamEvent,
)
from puna.serve.responses.namespaces import Named, names_of
from puna.serve.responses.wire import (
    AnswerItem,
    CallItem,
    IncompleteDetails,
    InputTokensDetails,
    OutputItem,
    OutputText,
    ResponseError,
    ResponseObject,
    Status,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from puna.serve.sse import frame

Item = TypeVar("Item", AnswerItem, CallItem)

# The code of the error that ends a run which somebody has cancelled.
CANCELLED = "response_cancelled"


class Draft:
    """`response` is true at any time. Frames are numbered in the order in which they are made: each must be told once, in that order.

    Without a stream all frames are empty.
    """

    def __init__(self, response: ResponseObject, *, has_logprobs: bool, is_streamed: bool) -> None:
        self._response, self._has_logprobs, self._is_streamed = response, has_logprobs, is_streamed
        self._names = names_of(response.tools)
        self._sequence = 0
        self._pieces: list[str] = []  # of the open message's text
        self._logprobs: list[TokenLogprob] = []
        self._message: tuple[int, AnswerItem] | None = None
        self._calls: dict[int, tuple[int, CallItem]] = {}  # those that have not ended, by the answer's own number
        self._reason = ""

    @property
    def response(self) -> ResponseObject:
        if self._message is not None:
            self._message[1].content[0] = self._part()
        return self._response

    @property
    def is_over(self) -> bool:
        return self._response.status not in ("queued", "in_progress")

    def opening(self) -> list[bytes]:
        return [self._lifecycle("response.created"), self._lifecycle("response.in_progress")]

    def take(self, event: Event) -> list[bytes]:
        """The frames of one event. After the last, the usage, the response is over: `closing` says so."""
        if self._response.status == "queued":
            self._response.status = "in_progress"
        return list(self._taken(event))

    def closing(self) -> list[bytes]:
        return [self._lifecycle("response.completed" if self._response.status == "completed" else "response.incomplete")]

    def failing(self, error: ApiError) -> list[bytes]:
        """What is there stays, incomplete. Somebody's wish to cancel is no failure, and has no event of its own but the error."""
        frames = [*self._interrupted()]
        frames.append(
            self._frame(ErrorEvent(sequence_number=self._count(), code=error.body.code, message=error.body.message, param=error.body.param))
        )
        if error.body.code == CANCELLED:
            self._response.status = "cancelled"
            return frames
        self._response.status = "failed"
        self._response.error = ResponseError(code=_code(error), message=error.body.message)
        return [*frames, self._lifecycle("response.failed")]

    def cancel(self) -> None:
        """Nobody listens any more."""
        list(self._interrupted())
        self._response.status = "cancelled"

    def _taken(self, event: Event) -> Iterator[bytes]:
        match event:
            case TextDelta(_, text, _, scores):
                yield from self._said(text, scores)
            case CallBegun(_, index, id, name):
                yield from self._end_message("completed")
                # A model may call what it was not offered: that has no namespace.
                namespace, name = self._names.get(name, Named(None, name))
                item = CallItem(id=self._item_id("fc"), call_id=id, name=name, namespace=namespace, arguments="", status="in_progress")
                self._calls[index] = self._added(item)
                yield self._item_event("response.output_item.added", *self._calls[index])
            case CallPiece(_, index, json):
                place, item = self._calls[index]
                item.arguments += json
                yield self._frame(ArgumentsDelta(sequence_number=self._count(), item_id=item.id, output_index=place, delta=json))
            case CallDone(_, index, _):
                place, item = self._calls.pop(index)
                item.status = "completed"
                yield self._frame(
                    ArgumentsDone(sequence_number=self._count(), item_id=item.id, output_index=place, arguments=item.arguments)
                )
                yield self._item_event("response.output_item.done", place, item)
            case CallBroken(_, index, _):
                yield from self._end_call(index)
            case Finished(_, reason):
                self._reason = reason
                if reason == "stop" and not self._response.output:
                    yield from self._begin_message()  # an empty answer is an answer
                yield from self._interrupted("completed" if reason in ("stop", "tool_calls") else "incomplete")
            case pipeline.Usage():
                self._finish(event)
            case PromptScored():
                pass  # nobody can ask for it here

    def _said(self, text: str, scores: Sequence[Scored]) -> Iterator[bytes]:
        if self._message is None:
            if not text:
                return  # tokens that show as nothing begin no message
            yield from self._begin_message()
        assert self._message is not None
        place, item = self._message
        self._pieces.append(text)
        logprobs = [_logprob(score) for score in scores] if self._has_logprobs else []
        self._logprobs += logprobs
        if text or logprobs:
            told = [_shown(logprob) for logprob in logprobs]
            yield self._frame(
                OutputTextDelta(sequence_number=self._count(), item_id=item.id, output_index=place, delta=text, logprobs=told)
            )

    def _begin_message(self) -> Iterator[bytes]:
        place, item = self._message = self._added(AnswerItem(id=self._item_id("msg"), status="in_progress", content=[]))
        yield self._item_event("response.output_item.added", place, item)
        item.content.append(self._part())
        yield self._frame(
            ContentPart(
                sequence_number=self._count(), type="response.content_part.added", item_id=item.id, output_index=place, part=item.content[0]
            )
        )

    def _end_message(self, status: Status) -> Iterator[bytes]:
        if self._message is None:
            return
        place, item = self._message
        part = self._part()
        item.content, item.status, self._message, self._pieces, self._logprobs = [part], status, None, [], []
        told = [_shown(logprob) for logprob in part.logprobs or []]
        yield self._frame(OutputTextDone(sequence_number=self._count(), item_id=item.id, output_index=place, text=part.text, logprobs=told))
        yield self._frame(
            ContentPart(sequence_number=self._count(), item_id=item.id, output_index=place, type="response.content_part.done", part=part)
        )
        yield self._item_event("response.output_item.done", place, item)

    def _end_call(self, index: int) -> Iterator[bytes]:
        """Of a call that is not whole; its arguments are never called done."""
        place, item = self._calls.pop(index)
        item.status = "incomplete"
        yield self._item_event("response.output_item.done", place, item)

    def _interrupted(self, status: Status = "incomplete") -> Iterator[bytes]:
        yield from self._end_message(status)
        for index in list(self._calls):
            yield from self._end_call(index)

    def _finish(self, usage: pipeline.Usage) -> None:
        response = self._response
        response.usage = Usage(
            input_tokens=usage.prompt_tokens,
            input_tokens_details=InputTokensDetails(cached_tokens=usage.cached_tokens),
            output_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
        )
        if self._reason in ("length", "content_filter"):
            response.status = "incomplete"
            response.incomplete_details = IncompleteDetails(reason="max_output_tokens" if self._reason == "length" else "content_filter")
        else:
            response.status = "completed"
            response.completed_at = int(time.time())

    def _part(self) -> OutputText:
        return OutputText(text="".join(self._pieces), logprobs=list(self._logprobs))

    def _added(self, item: Item) -> tuple[int, Item]:
        self._response.output.append(item)
        return len(self._response.output) - 1, item

    def _item_id(self, kind: str) -> str:
        return item_id(kind, self._response.id, "o", len(self._response.output))

    # Frames

    def _count(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _frame(self, event: StreamEvent) -> bytes:
        return frame(event, event=event.type) if self._is_streamed else b""

    def _lifecycle(self, type: str) -> bytes:
        return self._frame(Lifecycle.model_validate({"sequence_number": self._count(), "type": type, "response": self.response}))

    def _item_event(self, type: str, place: int, item: OutputItem) -> bytes:
        return self._frame(
            OutputItemEvent.model_validate({"sequence_number": self._count(), "type": type, "output_index": place, "item": item})
        )


def item_id(kind: str, response_id: str, side: str, place: int) -> str:
    """An item's id has its response's in it, so that it can be found. `side`: "i" for an input, "o" for an output."""
    return f"{kind}_{response_id.removeprefix('resp_')}{side}{place}"


def _code(error: ApiError) -> Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]:
    return "server_error" if error.status >= 500 else "rate_limit_exceeded" if error.status == 429 else "invalid_prompt"


def _logprob(score: Scored) -> TokenLogprob:
    assert score.logprob is not None, "every token of an answer has a score"
    best = [TopLogprob(token=shown(data), logprob=finite(logprob), bytes=list(data)) for _, data, logprob in score.top]
    return TokenLogprob(token=shown(score.data), logprob=finite(score.logprob), bytes=list(score.data), top_logprobs=best)


def _shown(logprob: TokenLogprob) -> EventLogprob:
    best = [ShownLogprob(token=each.token, logprob=each.logprob) for each in logprob.top_logprobs]
    return EventLogprob(token=logprob.token, logprob=logprob.logprob, top_logprobs=best)
