"""OpenAI chat completions to `puna.pipeline` and back: a request body becomes a `Prompt`, the chunks of its answer become JSON or SSE.

Nothing is dropped on the way in: what the pipeline cannot do is refused by name. Whether an `image_url` shows a picture or, as an animated
GIF or WebP does, a video, its bytes decide; a `video_url` must be a video. Knows no threads and no sockets.
"""

import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ValidationError

from puna.config import ModelConfig
from puna.media import MediaError, decode_data_url, load_media, load_video, video_tokens
from puna.pipeline import Chunk
from puna.serve.errors import ApiError, ErrorResponse, as_api_error, invalid_request
from puna.serve.limits import Limits
from puna.serve.wire import (
    ONLY,
    AnswerMessage,
    AssistantMessage,
    ChatCompletion,
    ChatCompletionChunk,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    FunctionCall,
    ImagePart,
    SystemMessage,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallItem,
    ToolMessage,
    Usage,
    UserMessage,
    VideoPart,
)
from puna.stream import Image, Message, Part, Stream, Text, ToolCall, Video

_log = logging.getLogger(__name__)


class ChatFormat(Protocol):
    def encode(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> Stream: ...


class ChatPipeline(Protocol):
    """What this server needs of `puna.pipeline.Pipeline`; `puna.testing.scripted` has another one."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def chat_format(self) -> ChatFormat: ...
    def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Chunk]: ...


# --- In ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A request that has passed every check, ready for the pipeline."""

    messages: tuple[Message, ...]
    options: Mapping[str, Any]
    prompt_tokens: int
    stream: bool
    include_usage: bool

    def run(self, pipeline: ChatPipeline) -> Generator[Chunk, None, None]:
        yield from pipeline.stream(self.messages, **self.options)


def read_prompt(body: bytes, pipeline: ChatPipeline, limits: Limits) -> Prompt:
    """Parses and checks everything that can be checked before the model runs: pictures are decoded, tokens counted."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error) from error
    _check_model(request, pipeline)
    _check_unsupported(request)
    messages = _messages(request, pipeline, limits)
    tools = _tools(request)
    prompt_tokens = len(pipeline.chat_format.encode(messages, tools))
    sampling = {key: getattr(request, key) for key in ("temperature", "top_p", "seed") if getattr(request, key) is not None}
    return Prompt(
        messages=messages,
        options={
            "tools": tools,
            "max_tokens": _max_tokens(request, prompt_tokens, pipeline.config.max_positions, limits),
            "stop": tuple(request.stop or ()),
            **sampling,
        },
        prompt_tokens=prompt_tokens,
        stream=bool(request.stream),
        include_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
    )


def _check_model(request: ChatRequest, pipeline: ChatPipeline) -> None:
    if request.model is not None and request.model != pipeline.name:
        message = f"model={request.model!r} is not served here; this server has {pipeline.name!r}"
        raise ApiError(404, message, code="model_not_found", param="model")


def _check_unsupported(request: ChatRequest) -> None:
    for name, accepted in ONLY.items():
        value = getattr(request, name)
        if value is not None and not any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in accepted):
            raise _unsupported(name, value, *(json.dumps(other) for other in accepted))
    for index, tool in enumerate(request.tools or ()):
        if tool.function.strict:
            raise _unsupported(f"tools[{index}].function.strict", True, "false")
    if request.stream_options is not None and not request.stream:
        raise ApiError(400, "stream_options is only for stream=true; leave it out or stream", code="invalid_value", param="stream_options")


def _unsupported(param: str, value: object, *accepted: str) -> ApiError:
    shown = json.dumps(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    way_out = f"leave it out or send {' or '.join(accepted)}" if accepted else "leave it out"
    return ApiError(400, f"{param}={shown} is not supported by this server; {way_out}", code="unsupported_parameter", param=param)


def _max_tokens(request: ChatRequest, prompt_tokens: int, context: int, limits: Limits) -> int:
    both = {request.max_tokens, request.max_completion_tokens} - {None}
    if len(both) > 1:
        message = f"max_tokens={request.max_tokens} and max_completion_tokens={request.max_completion_tokens} differ; send one of them"
        raise ApiError(400, message, code="invalid_value", param="max_tokens")
    room = context - prompt_tokens
    if room < 1:
        way_out = "send fewer or shorter messages, or fewer pictures and videos"
        message = f"the messages have {prompt_tokens:,} tokens, but the context ends at {context:,}; {way_out}"
        raise ApiError(400, message, code="context_length_exceeded", param="messages")
    asked = both.pop() if both else None
    if asked is not None and asked > room:
        message = f"max_tokens={asked} after {prompt_tokens:,} prompt tokens exceeds the context of {context:,}; at most {room:,} are left"
        raise ApiError(400, message, code="context_length_exceeded", param="messages")
    return asked or min(limits.default_max_tokens, room)


def _messages(request: ChatRequest, pipeline: ChatPipeline, limits: Limits) -> tuple[Message, ...]:
    if len(request.messages) > limits.messages:
        message = f"{len(request.messages):,} messages are more than the {limits.messages:,} that this server takes; drop the oldest"
        raise ApiError(400, message, code="too_many_messages", param="messages")
    parts = [part for message in request.messages if isinstance(message, UserMessage) for part in message.content]
    pictures, videos = (sum(isinstance(part, kind) for part in parts) for kind in (ImagePart, VideoPart))
    if pictures > limits.pictures:
        message = f"{pictures} pictures are more than the {limits.pictures} that this server takes in one request; send fewer"
        raise ApiError(400, message, code="too_many_images", param="messages")
    _check_videos(videos, limits)
    calls: dict[str, str] = {}
    read: list[Message] = []
    moving = 0
    for index, message in enumerate(request.messages):
        read.append(_message(message, f"messages[{index}]", calls, pipeline))
        moving += sum(isinstance(part, Video) for part in read[-1].content)
        _check_videos(moving, limits)  # again, since an `image_url` may hold one
    return tuple(read)


def _check_videos(count: int, limits: Limits) -> None:
    if count > limits.videos:
        message = (
            f"{count} videos (animated pictures are videos too) are more than the {limits.videos} that this server takes in one request"
        )
        raise ApiError(400, f"{message}; send fewer", code="too_many_videos", param="messages")


def _message(
    message: SystemMessage | UserMessage | AssistantMessage | ToolMessage, param: str, calls: dict[str, str], pipeline: ChatPipeline
) -> Message:
    """`calls` gathers the function behind each tool call id so far: a tool's result names the id only."""
    match message:
        case SystemMessage():
            return Message("system", _texts(message.content))
        case UserMessage():
            parts = (_part(part, f"{param}.content[{index}]", pipeline) for index, part in enumerate(message.content))
            return Message("user", tuple(parts))
        case AssistantMessage():
            if message.content is None and not message.tool_calls:
                raise ApiError(400, f"{param} has neither content nor tool_calls", code="invalid_value", param=f"{param}.content")
            made = tuple(_tool_call(call, f"{param}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls or ()))
            calls.update((call.id, call.name) for call in made)
            return Message("assistant", _texts(message.content or ()), made)
        case ToolMessage():
            if message.tool_call_id not in calls:
                text = f"{param}.tool_call_id={message.tool_call_id!r} answers no tool call of an earlier assistant message"
                raise ApiError(400, text, code="invalid_value", param=f"{param}.tool_call_id")
            if message.name not in (None, calls[message.tool_call_id]):
                text = f"{param}.name={message.name!r} is not the called function, {calls[message.tool_call_id]!r}; leave it out"
                raise ApiError(400, text, code="invalid_value", param=f"{param}.name")
            return Message("tool", _texts(message.content), name=calls[message.tool_call_id])


def _texts(content: Sequence[TextPart]) -> tuple[Part, ...]:
    return tuple(Text(part.text) for part in content)


def _part(part: TextPart | ImagePart | VideoPart, param: str, pipeline: ChatPipeline) -> Part:
    match part:
        case TextPart():
            return Text(part.text)
        case ImagePart():
            return _seen(part.image_url.url, "image", f"{param}.image_url", pipeline)
        case VideoPart():
            return _seen(part.video_url.url, "video", f"{param}.video_url", pipeline)


def _seen(url: str, kind: Literal["image", "video"], param: str, pipeline: ChatPipeline) -> Image | Video:
    what, example = ("picture", "data:image/png;base64,...") if kind == "image" else ("video", "data:video/mp4;base64,...")
    config = pipeline.config
    if config.vision is None:
        raise ApiError(400, f"{pipeline.name} reads no {what}s; send text only", code="unsupported_content", param=param)
    if url[:8].lower().startswith(("http://", "https://")):
        message = f"{param}: {url[:60]!r} is a web address, and this server fetches none; send the {what} as {example}"
        raise ApiError(400, message, code=f"{kind}_url_not_supported", param=param)
    load = load_media if kind == "image" else load_video
    try:
        # Never load(url): a string from outside could name a file of this machine.
        return load(decode_data_url(url), config.vision, max_tokens=video_tokens(config.max_positions))
    except MediaError as error:
        raise ApiError(400, f"{param}: {error}", code=f"invalid_{kind}", param=param) from error


def _tool_call(call: ToolCallItem, param: str) -> ToolCall:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError) as error:
        message = f"{param}.function.arguments is not valid JSON: {error}"
        raise ApiError(400, message, code="invalid_value", param=f"{param}.function.arguments") from error
    if not isinstance(arguments, dict):
        message = f"{param}.function.arguments is a JSON {type(arguments).__name__}; it must be an object"
        raise ApiError(400, message, code="invalid_value", param=f"{param}.function.arguments")
    return ToolCall(call.function.name, arguments, call.id)


def _tools(request: ChatRequest) -> list[Mapping[str, Any]] | None:
    """The tools as the client described them. With tool_choice "none" the model never hears of them, so it cannot call any."""
    if not request.tools or request.tool_choice == "none":
        return None
    return [_described(tool) for tool in request.tools]


def _described(tool: Tool) -> Mapping[str, Any]:
    return {"type": "function", "function": tool.function.model_dump(exclude={"strict"}, exclude_none=True)}


# --- Out ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all chunks of one answer share."""

    id: str
    created: int
    model: str

    @classmethod
    def new(cls, model: str) -> "Stamp":
        return cls(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), model)


class Silence(Enum):
    """Nothing has come for a while, and the answer has not ended."""

    SILENCE = "silence"


class Chunks(Protocol):
    async def next(self, patience_s: float) -> Chunk | Silence | None:
        """The next chunk, `SILENCE` after `patience_s` without one, None after the last. Raises what the pipeline raised."""
        ...


def completion(stamp: Stamp, chunks: Sequence[Chunk]) -> ChatCompletion:
    """One answer at once, out of all its chunks."""
    text = "".join(chunk.text for chunk in chunks)
    calls = [_call_item(call) for chunk in chunks for call in chunk.tool_calls]
    last = _last(chunks)
    message = AnswerMessage(content=text if text or not calls else None, tool_calls=calls or None)
    return ChatCompletion(
        id=stamp.id,
        created=stamp.created,
        model=stamp.model,
        choices=[Choice(message=message, finish_reason=last.finish_reason)],  # pyright: ignore[reportArgumentType]  # _last has checked
        usage=_usage(last),
    )


async def events(stamp: Stamp, prompt: Prompt, first: Chunk | Silence | None, answer: Chunks, ping_s: float) -> AsyncIterator[bytes]:
    """The answer as server-sent events: the role, the text as it comes, the finish reason, perhaps the usage, and [DONE].

    `first` is what has come of the answer before the headers went out. An error after them cannot be a status code any more: it is sent as
    an event with an error object.
    """

    def event(*choices: ChunkChoice, usage: Usage | None = None) -> bytes:
        chunk = ChatCompletionChunk(id=stamp.id, created=stamp.created, model=stamp.model, choices=list(choices), usage=usage)
        return _event(chunk, exclude=None if prompt.include_usage else {"usage"})

    yield event(ChunkChoice(delta=Delta(role="assistant", content="")))
    chunks, calls, chunk = [], 0, first
    try:
        while chunk is not None:
            if isinstance(chunk, Silence):
                yield b": still here\n\n"
            else:
                chunks = [chunk]
                if chunk.text:
                    yield event(ChunkChoice(delta=Delta(content=chunk.text)))
                if chunk.tool_calls:
                    deltas = [_call_delta(calls + index, call) for index, call in enumerate(chunk.tool_calls)]
                    calls += len(deltas)
                    yield event(ChunkChoice(delta=Delta(tool_calls=deltas)))
            chunk = await answer.next(ping_s)
        last = _last(chunks)
    except Exception as error:
        told = as_api_error(error)
        if told.status >= 500:
            _log.exception("answer %s failed after its stream had begun", stamp.id)
        yield _event(ErrorResponse(error=told.body))
    else:
        yield event(ChunkChoice(delta=Delta(), finish_reason=last.finish_reason))
        if prompt.include_usage:
            yield event(usage=_usage(last))
    yield b"data: [DONE]\n\n"


def _event(data: BaseModel, exclude: set[str] | None = None) -> bytes:
    return f"data: {data.model_dump_json(exclude=exclude)}\n\n".encode()


def _last(chunks: Sequence[Chunk]) -> Chunk:
    assert chunks and chunks[-1].finish_reason is not None, "the pipeline's last chunk carries the finish reason"
    return chunks[-1]


def _usage(last: Chunk) -> Usage:
    return Usage(
        prompt_tokens=last.prompt_tokens, completion_tokens=last.completion_tokens, total_tokens=last.prompt_tokens + last.completion_tokens
    )


def _call_item(call: ToolCall) -> ToolCallItem:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    # An id of our own: the pipeline counts its calls from 0 in every answer, and a client may keep results by id.
    function = FunctionCall(name=call.name, arguments=arguments)
    return ToolCallItem(id=f"call_{uuid.uuid4().hex[:24]}", type="function", function=function)


def _call_delta(index: int, call: ToolCall) -> ToolCallDelta:
    item = _call_item(call)
    return ToolCallDelta(index=index, id=item.id, function=item.function)
