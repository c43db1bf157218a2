"""The types that travel in Meta's Llama API.

What it has in common with OpenAI's is OpenAI's: all messages but the answers, tools, and the forms that an answer may have. Strict, too.
Source: the types of `llama-api-client` 0.6.0, and its examples for what they leave open. [stated] The metrics' names: [inferred].
`video_url`, and content_filter as a reason to stop: [ours]
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from puna.serve.openai import wire as openai
from puna.serve.openai.wire import TextPart, Wire


def _is_none(value: object) -> bool:
    return value is None


def _as_parts(content: Any) -> Any:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [content] if isinstance(content, dict) else content


# "content_filter" is what a guard makes of an answer; the rest are Meta's own.
StopReason = Literal["stop", "tool_calls", "length", "content_filter"]

# --- What clients send -------------------------------------------------------------------------------------------------


class ToolCall(Wire):
    id: str
    function: openai.FunctionCall
    # OpenAI's clients send it, and it says nothing.
    type: Literal["function"] | None = Field(default=None, exclude_if=_is_none)


# A text or one item, where OpenAI has a list of them.
CompletionContent = Annotated[list[TextPart], BeforeValidator(_as_parts, json_schema_input_type=str | TextPart | list[TextPart])]


class CompletionMessage(Wire):
    """An earlier answer, as it came. Why it stopped is no matter now."""

    role: Literal["assistant"]
    content: CompletionContent | None = None
    tool_calls: list[ToolCall] | None = None
    stop_reason: StopReason | None = None


AnyMessage = Annotated[
    openai.SystemMessage | openai.UserMessage | CompletionMessage | openai.ToolMessage,
    Field(discriminator="role"),
]


class LlamaChatRequest(Wire):
    messages: list[AnyMessage] = Field(min_length=1)
    model: str | None = None
    stream: bool | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=-1)  # 0 and -1 keep every token
    repetition_penalty: float | None = Field(default=None, gt=0, le=10, allow_inf_nan=False)
    tools: list[openai.Tool] | None = None
    tool_choice: openai.ToolChoice | None = None
    response_format: openai.ResponseFormat | None = None
    # Accepted and without effect: it cannot change the answer.
    user: str | None = None


class LlamaModerationRequest(Wire):
    """A conversation to be judged. There is one guard, whatever its name."""

    messages: list[AnyMessage] = Field(min_length=1)
    model: str | None = None


# --- What clients get --------------------------------------------------------------------------------------------------


class SaidText(Wire):
    type: Literal["text"] = "text"
    text: str


class AnswerMessage(Wire):
    """Meta's examples read `content.text` of any answer, so that it is there even beside tool calls."""

    role: Literal["assistant"] = "assistant"
    content: SaidText
    tool_calls: list[ToolCall] | None = Field(default=None, exclude_if=_is_none)
    stop_reason: StopReason


class Metric(Wire):
    metric: str
    value: float
    unit: str | None = None


class LlamaChatCompletion(Wire):
    id: str
    completion_message: AnswerMessage
    metrics: list[Metric]


class TextDelta(Wire):
    type: Literal["text"] = "text"
    text: str = ""


class FunctionDelta(Wire):
    name: str | None = Field(default=None, exclude_if=_is_none)
    arguments: str | None = Field(default=None, exclude_if=_is_none)


class ToolCallDelta(Wire):
    """A call begins with its id and name; its arguments follow, until the next one begins."""

    type: Literal["tool_call"] = "tool_call"
    id: str | None = Field(default=None, exclude_if=_is_none)
    function: FunctionDelta


class StreamEvent(Wire):
    event_type: Literal["start", "progress", "complete", "metrics"]
    delta: TextDelta | ToolCallDelta = TextDelta()
    stop_reason: StopReason | None = Field(default=None, exclude_if=_is_none)
    metrics: list[Metric] | None = Field(default=None, exclude_if=_is_none)


class LlamaChatChunk(Wire):
    id: str
    event: StreamEvent


class LlamaModerationResult(Wire):
    flagged: bool
    flagged_categories: list[str]


class LlamaModeration(Wire):
    model: str
    results: list[LlamaModerationResult]
