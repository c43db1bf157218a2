"""Chat completions to an `Ask` and back.

Nothing is dropped on the way in: what this server cannot do is refused by name. Whether an `image_url` shows a picture or, as an animated
GIF or WebP does, a video, its bytes decide; a `video_url` must be a video. Knows no threads and no sockets.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from puna import pipeline
from puna.engine import Grammar
from puna.pipeline import (
    Answer,
    Ask,
    CallBegun,
    CallBroken,
    CallDone,
    CallPiece,
    Event,
    Finished,
    NamedTool,
    PromptScored,
    SaidCall,
    Scored,
    TextDelta,
)
from puna.serve.conversation import Conversation, json_arguments
from puna.serve.core import Core
from puna.serve.errors import ApiError, ErrorResponse
from puna.serve.exchange import PING
from puna.serve.openai.answers import Stamp, finite, shown, usage_of
from puna.serve.openai.options import parsed, refuse_lonely_stream_options, refuse_unsupported, sampling_of
from puna.serve.openai.wire import (
    ONLY,
    AllowedToolChoice,
    AnswerMessage,
    AnyMessage,
    AssistantMessage,
    ChatCompletion,
    ChatCompletionChunk,
    ChatRequest,
    Choice,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    ForcedTool,
    Function,
    FunctionCall,
    FunctionDelta,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    SystemMessage,
    TextPart,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    ToolCallItem,
    ToolMessage,
    TopLogprob,
    UserMessage,
    VideoPart,
)
from puna.serve.schemas import check_schema
from puna.serve.sse import DONE, frame
from puna.stream import Message, Part, Text, ToolCall

# --- In ----------------------------------------------------------------------------------------------------------------


def read_chat(core: Core, body: bytes, model: str | None = None) -> "ChatExchange":
    """Parses and checks a body. `model`: named by the address, where the address names one."""
    request = parsed(ChatRequest, body)
    core.check_model(request.model)
    core.check_model(model)
    refuse_unsupported(request, ONLY)
    refuse_lonely_stream_options(request.stream, request.stream_options)
    return ChatExchange(
        ask_of(request, core),
        core.pipeline.name,
        bool(request.stream),
        bool(request.stream_options and request.stream_options.include_usage),
    )


def ask_of(request: ChatRequest, core: Core) -> Ask:
    """Also for an API that says the same in other words."""
    tools, choice = _tools(request, core)
    return Ask(
        messages=read_messages(request.messages, core),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        max_tokens=_max_tokens(request),
        grammar=_grammar(request, core),
        logprobs=_logprobs(request),
        **sampling_of(request),
    )


def _max_tokens(request: ChatRequest) -> int | None:
    both = {request.max_tokens, request.max_completion_tokens} - {None}
    if len(both) > 1:
        message = f"max_tokens={request.max_tokens} and max_completion_tokens={request.max_completion_tokens} differ; send one of them"
        raise ApiError(400, message, code="invalid_value", param="max_tokens")
    return both.pop() if both else None


def _logprobs(request: ChatRequest) -> int | None:
    if request.top_logprobs and not request.logprobs:
        message = f"top_logprobs={request.top_logprobs} is only for logprobs=true; send it too or leave both out"
        raise ApiError(400, message, code="invalid_value", param="top_logprobs")
    return (request.top_logprobs or 0) if request.logprobs else None


def _grammar(request: ChatRequest, core: Core) -> Grammar | None:
    form = request.response_format
    if not isinstance(form, JsonObjectFormat | JsonSchemaFormat):
        return None
    if isinstance(form, JsonObjectFormat):
        return Grammar.json_schema({"type": "object"})
    schema = form.json_schema.json_schema
    check_schema(schema, core.limits, "response_format.json_schema.schema")
    return Grammar.json_schema({} if schema is None else schema)


def described_tools(tools: Sequence[Tool], core: Core) -> tuple[Mapping[str, Any], ...]:
    """The tools as the client described them."""
    return described_functions([tool.function for tool in tools], [f"tools[{index}].function" for index in range(len(tools))], core)


def described_functions(functions: Sequence[Function], params: Sequence[str], core: Core) -> tuple[Mapping[str, Any], ...]:
    """`params`: where in the client's body each of the functions stands."""
    if len(functions) > core.limits.tools:
        message = f"{len(functions)} tools are more than the {core.limits.tools} that this server offers a model; send fewer"
        raise ApiError(400, message, code="too_many_tools", param="tools")
    for function, param in zip(functions, params, strict=True):
        check_schema(function.parameters, core.limits, f"{param}.parameters")
    return tuple({"type": "function", "function": function.model_dump(exclude={"type"}, exclude_none=True)} for function in functions)


def _tools(request: ChatRequest, core: Core) -> tuple[tuple[Mapping[str, Any], ...], pipeline.ToolChoice]:
    """The tools, and which of them may or must be called."""
    tools = described_tools(request.tools or [], core)
    given = request.tool_choice
    if isinstance(given, str | None):
        if given == "required" and not tools:
            message = "tool_choice=required, but there are no tools to call; send some"
            raise ApiError(400, message, code="invalid_value", param="tool_choice")
        return tools, given or "auto"
    forced = [given] if isinstance(given, ForcedTool) else given.allowed_tools.tools
    for each in forced:
        if each.function.name not in {tool["function"]["name"] for tool in tools}:
            message = f"tool_choice names {each.function.name!r}, which is not among the tools; offer it or name another"
            raise ApiError(400, message, code="invalid_value", param="tool_choice")
    if isinstance(given, AllowedToolChoice):
        allowed = {each.function.name for each in forced}
        return tuple(tool for tool in tools if tool["function"]["name"] in allowed), given.allowed_tools.mode
    return tools, NamedTool(given.function.name)


def read_messages(messages: Sequence[AnyMessage], core: Core) -> tuple[Message, ...]:
    conversation = core.conversation()
    parts = [part for message in messages if isinstance(message, UserMessage) for part in message.content]
    pictures, videos = (sum(isinstance(part, kind) for part in parts) for kind in (ImagePart, VideoPart))
    conversation.expect(messages=len(messages), pictures=pictures, videos=videos)
    for index, message in enumerate(messages):
        _add(conversation, message, f"messages[{index}]")
    return conversation.messages


def _add(conversation: Conversation, message: AnyMessage, param: str) -> None:
    match message:
        case SystemMessage():
            conversation.say("system", _texts(message.content))
        case UserMessage():
            conversation.say("user", [_part(conversation, part, f"{param}.content[{i}]") for i, part in enumerate(message.content)])
        case AssistantMessage():
            if message.content is None and not message.tool_calls:
                raise ApiError(400, f"{param} has neither content nor tool_calls", code="invalid_value", param=f"{param}.content")
            calls = [_tool_call(call, f"{param}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls or ())]
            conversation.say("assistant", _texts(message.content or ()), calls)
        case ToolMessage():
            content = _texts(message.content)
            conversation.give_result(message.tool_call_id, content, param=f"{param}.tool_call_id", name=message.name)


def _texts(content: Sequence[TextPart]) -> tuple[Part, ...]:
    return tuple(Text(part.text) for part in content)


def _part(conversation: Conversation, part: TextPart | ImagePart | VideoPart, param: str) -> Part:
    match part:
        case TextPart():
            return Text(part.text)
        case ImagePart():
            return conversation.url(part.image_url.url, "image", f"{param}.image_url")
        case VideoPart():
            return conversation.url(part.video_url.url, "video", f"{param}.video_url")


def _tool_call(call: ToolCallItem, param: str) -> ToolCall:
    return ToolCall(call.function.name, json_arguments(call.function.arguments, f"{param}.function.arguments"), call.id)


# --- Out ---------------------------------------------------------------------------------------------------------------


class ChatExchange:
    """One chat completion: JSON at once, or the role, text and calls as they come, the finish reason, perhaps the usage, and [DONE]."""

    ping = PING

    def __init__(self, ask: Ask, model: str, stream: bool, include_usage: bool) -> None:
        self.asks = (ask,)
        self.stream = stream
        self._include_usage = include_usage
        self._stamp = Stamp.new("chatcmpl", model)
        self._unfinished = set(range(ask.n))
        self._usage: pipeline.Usage | None = None

    def whole(self, answer: Answer) -> ChatCompletion:
        choices = []
        for index, choice in enumerate(answer.choices):
            reason = choice.reason
            calls = [_call_item(call) for call in choice.calls]
            message = AnswerMessage(content=choice.text if choice.text or not calls else None, tool_calls=calls or None)
            choices.append(Choice(index=index, message=message, logprobs=self._logprobs(choice.scores), finish_reason=reason))
        return ChatCompletion(
            id=self._stamp.id, created=self._stamp.created, model=self._stamp.model, choices=choices, usage=usage_of(answer.usage)
        )

    def opening(self, prompt_tokens: int) -> Iterator[bytes]:
        for index in sorted(self._unfinished):
            yield self._chunk(ChunkChoice(index=index, delta=Delta(role="assistant", content="")))

    def frames(self, event: Event) -> Iterator[bytes]:
        match event:
            case TextDelta(choice, text, _, scores):
                delta = Delta(content=text)
                yield self._chunk(ChunkChoice(index=choice, delta=delta, logprobs=self._logprobs(scores)))
            case CallBegun(choice, index, id, name):
                function = FunctionDelta(name=name, arguments="")
                yield self._call_chunk(choice, ToolCallDelta(index=index, id=id, type="function", function=function))
            case CallPiece(choice, index, json):
                yield self._call_chunk(choice, ToolCallDelta(index=index, function=FunctionDelta(arguments=json)))
            case Finished(choice, reason):
                self._unfinished.discard(choice)
                yield self._chunk(ChunkChoice(index=choice, delta=Delta(), finish_reason=reason))
            case pipeline.Usage():
                self._usage = event
            case CallDone() | CallBroken() | PromptScored():
                pass  # a call has been told piece by piece, and nobody can ask for the prompt's scores here

    def closing(self) -> Iterator[bytes]:
        assert not self._unfinished and self._usage is not None, "an answer ends with a reason for each choice, and its usage"
        if self._include_usage:
            yield self._chunk(usage=self._usage)
        yield DONE

    def failing(self, error: ApiError) -> Iterable[bytes]:
        return frame(ErrorResponse(error=error.body)), DONE

    def _call_chunk(self, choice: int, call: ToolCallDelta) -> bytes:
        return self._chunk(ChunkChoice(index=choice, delta=Delta(tool_calls=[call])))

    def _chunk(self, *choices: ChunkChoice, usage: pipeline.Usage | None = None) -> bytes:
        stamp, told = self._stamp, None if usage is None else usage_of(usage)
        chunk = ChatCompletionChunk(id=stamp.id, created=stamp.created, model=stamp.model, choices=list(choices), usage=told)
        return frame(chunk.model_dump_json(exclude=None if self._include_usage else {"usage"}))

    def _logprobs(self, scores: Sequence[Scored]) -> ChoiceLogprobs | None:
        if self.asks[0].logprobs is None:
            return None
        return ChoiceLogprobs(content=[_token_logprob(score) for score in scores])


def _token_logprob(score: Scored) -> TokenLogprob:
    assert score.logprob is not None, "every token of an answer has a score"
    best = [TopLogprob(token=shown(data), logprob=finite(logprob), bytes=list(data)) for _, data, logprob in score.top]
    return TokenLogprob(token=shown(score.data), logprob=finite(score.logprob), bytes=list(score.data), top_logprobs=best)


def _call_item(call: SaidCall) -> ToolCallItem:
    return ToolCallItem(id=call.id, type="function", function=FunctionCall(name=call.name, arguments=call.json))
