"""The events of a streamed response. Each has its place in `sequence_number`, from 0 without gaps."""

from typing import Literal

from puna.serve.responses.wire import OutputItem, OutputText, ResponseObject, Wire


class StreamEvent(Wire):
    type: str
    sequence_number: int


class Lifecycle(StreamEvent):
    """The whole response as it stands."""

    type: Literal["response.created", "response.in_progress", "response.completed", "response.incomplete", "response.failed"]
    response: ResponseObject


class OutputItemEvent(StreamEvent):
    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputItem


class PartPlace(StreamEvent):
    item_id: str
    output_index: int
    content_index: int = 0


class ContentPart(PartPlace):
    type: Literal["response.content_part.added", "response.content_part.done"]
    part: OutputText


class ShownLogprob(Wire):
    token: str
    logprob: float


class EventLogprob(ShownLogprob):
    top_logprobs: list[ShownLogprob]


class OutputTextDelta(PartPlace):
    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    delta: str
    logprobs: list[EventLogprob]


class OutputTextDone(PartPlace):
    type: Literal["response.output_text.done"] = "response.output_text.done"
    text: str
    logprobs: list[EventLogprob]


class ArgumentsDelta(StreamEvent):
    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"
    item_id: str
    output_index: int
    delta: str


class ArgumentsDone(StreamEvent):
    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    item_id: str
    output_index: int
    arguments: str


class ErrorEvent(StreamEvent):
    type: Literal["error"] = "error"
    code: str | None
    message: str
    param: str | None
