"""Meta's chat completions to an `Ask` and back.

The way in goes through OpenAI's request, which says all that Meta's says: what is refused there is refused here, in the same words.
"""

from collections.abc import Iterable, Iterator, Sequence

from puna import pipeline
from puna.pipeline import Answer, Ask, CallBegun, CallBroken, CallDone, CallPiece, Event, Finished, PromptScored
from puna.serve.core import Core
from puna.serve.errors import ApiError, ErrorResponse
from puna.serve.exchange import PING
from puna.serve.meta.wire import (
    AnswerMessage,
    AnyMessage,
    CompletionMessage,
    FunctionDelta,
    LlamaChatChunk,
    LlamaChatCompletion,
    LlamaChatRequest,
    Metric,
    SaidText,
    StopReason,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from puna.serve.openai import wire as openai
from puna.serve.openai.answers import Stamp
from puna.serve.openai.chat import ask_of
from puna.serve.openai.options import parsed
from puna.serve.sse import frame


def read_llama_chat(core: Core, body: bytes) -> "LlamaExchange":
    request = parsed(LlamaChatRequest, body)
    core.check_model(request.model)
    return LlamaExchange(ask_of(in_openais_words(request), core), core.pipeline.name, bool(request.stream))


def in_openais_words(request: LlamaChatRequest) -> openai.ChatRequest:
    alike = {name: getattr(request, name) for name in request.model_fields_set - {"messages"}}
    return openai.ChatRequest(messages=openai_messages(request.messages), **alike)


def openai_messages(messages: Iterable[AnyMessage]) -> list[openai.AnyMessage]:
    return [_assistant(message) if isinstance(message, CompletionMessage) else message for message in messages]


def _assistant(message: CompletionMessage) -> openai.AssistantMessage:
    calls = [openai.ToolCallItem(id=call.id, type="function", function=call.function) for call in message.tool_calls or ()]
    # Beside calls an empty text says nothing, and the model has not written any.
    content = message.content if not calls or any(part.text for part in message.content or ()) else None
    return openai.AssistantMessage(role="assistant", content=content, tool_calls=calls or None)


class LlamaExchange:
    """One answer. Its stream starts, goes on, is complete, tells its metrics, and is closed: Meta's client takes no [DONE]."""

    ping = PING

    def __init__(self, ask: Ask, model: str, stream: bool) -> None:
        self.asks: Sequence[Ask] = (ask,)
        self.stream = stream
        self._id = Stamp.new("llama", model).id
        self._usage: pipeline.Usage | None = None

    def whole(self, answer: Answer) -> LlamaChatCompletion:
        (choice,) = answer.choices
        calls = [ToolCall(id=call.id, function=openai.FunctionCall(name=call.name, arguments=call.json)) for call in choice.calls]
        content = SaidText(text=choice.text)
        message = AnswerMessage(content=content, tool_calls=calls or None, stop_reason=choice.reason)
        return LlamaChatCompletion(id=self._id, completion_message=message, metrics=_metrics(answer.usage))

    def opening(self, prompt_tokens: int) -> Iterator[bytes]:
        yield self._chunk(StreamEvent(event_type="start"))

    def frames(self, event: Event) -> Iterator[bytes]:
        match event:
            case pipeline.TextDelta(_, text):
                yield self._progress(TextDelta(text=text))
            case CallBegun(_, _, id, name):
                yield self._progress(ToolCallDelta(id=id, function=FunctionDelta(name=name)))
            case CallPiece(_, _, json):
                yield self._progress(ToolCallDelta(function=FunctionDelta(arguments=json)))
            case Finished(_, reason):
                yield self._complete(reason)
            case pipeline.Usage():
                self._usage = event
            case CallDone() | CallBroken() | PromptScored():
                pass  # a call has been told piece by piece, and nobody can ask for scores here

    def closing(self) -> Iterator[bytes]:
        assert self._usage is not None, "an answer ends with its usage"
        yield self._chunk(StreamEvent(event_type="metrics", metrics=_metrics(self._usage)))

    def failing(self, error: ApiError) -> Iterator[bytes]:
        yield frame(ErrorResponse(error=error.body), "error")

    def _progress(self, delta: TextDelta | ToolCallDelta) -> bytes:
        return self._chunk(StreamEvent(event_type="progress", delta=delta))

    def _complete(self, reason: StopReason) -> bytes:
        return self._chunk(StreamEvent(event_type="complete", stop_reason=reason))

    def _chunk(self, event: StreamEvent) -> bytes:
        return frame(LlamaChatChunk(id=self._id, event=event))


def _metrics(usage: pipeline.Usage) -> list[Metric]:
    counts = {
        "num_prompt_tokens": usage.prompt_tokens,
        "num_completion_tokens": usage.completion_tokens,
        "num_total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    return [Metric(metric=name, value=count, unit="tokens") for name, count in counts.items()]
