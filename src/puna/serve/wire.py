"""The types that travel: OpenAI's chat completions, as far as this server goes.

Strict: no type is coerced, and a field that is not listed is refused. A string `content` becomes one text part on the way in, so that
the rest of the room knows lists only. Knows nothing of the pipeline.
Source: OpenAI's published API types, as the `openai` client carries them. [stated] They have no video: `video_url` is the part that vLLM,
OpenRouter and others added in the manner of `image_url`. [inferred] What is refused or accepted: [ours]
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def _is_none(value: object) -> bool:
    return value is None


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


# --- What clients send -------------------------------------------------------------------------------------------------


class TextPart(Wire):
    type: Literal["text"]
    text: str
    # A hint about caching: it cannot change the answer.
    prompt_cache_breakpoint: dict[str, Any] | None = None


class ImageUrl(Wire):
    url: str
    # Pictures are always cut at full detail, which is what "high" asks for; "low" would change the answer.
    detail: Literal["auto", "high"] | None = None


class ImagePart(Wire):
    type: Literal["image_url"]
    image_url: ImageUrl
    prompt_cache_breakpoint: dict[str, Any] | None = None


class VideoUrl(Wire):
    url: str


class VideoPart(Wire):
    type: Literal["video_url"]
    video_url: VideoUrl
    prompt_cache_breakpoint: dict[str, Any] | None = None


# Llama 4's chat format has no place for a participant's name: it would be lost.
NoName = Annotated[str, Field(max_length=0)] | None
TextContent = Annotated[list[TextPart], BeforeValidator(_as_parts)]
MixedContent = Annotated[list[Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]], BeforeValidator(_as_parts)]


class SystemMessage(Wire):
    role: Literal["system", "developer"]
    content: TextContent
    name: NoName = None


class UserMessage(Wire):
    role: Literal["user"]
    content: MixedContent
    name: NoName = None


class FunctionCall(Wire):
    name: str
    arguments: str


class ToolCallItem(Wire):
    id: str
    type: Literal["function"]
    function: FunctionCall


class AssistantMessage(Wire):
    role: Literal["assistant"]
    content: TextContent | None = None
    tool_calls: list[ToolCallItem] | None = None
    name: NoName = None
    # Clients send earlier answers back as they got them, with these fields empty.
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None


class ToolMessage(Wire):
    role: Literal["tool"]
    content: TextContent
    tool_call_id: str
    # Older clients repeat the function's name, which `tool_call_id` says already.
    name: str | None = None


AnyMessage = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class Function(Wire):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Wire):
    type: Literal["function"]
    function: Function


class StreamOptions(Wire):
    include_usage: bool | None = None
    # Random padding against traffic analysis: there is none here, and the answer is the same without.
    include_obfuscation: bool | None = None


StopString = Annotated[str, Field(min_length=1)]


class ChatRequest(Wire):
    messages: list[AnyMessage] = Field(min_length=1)
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: Annotated[list[StopString], BeforeValidator(_as_list), Field(max_length=16)] | None = None
    tools: list[Tool] | None = None

    # Accepted and without effect: none of them can change the answer.
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    prediction: Any = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None

    # Known, but only with the values of `ONLY`.
    audio: Any = None
    frequency_penalty: Any = None
    function_call: Any = None
    functions: Any = None
    logit_bias: Any = None
    logprobs: Any = None
    modalities: Any = None
    moderation: Any = None
    n: Any = None
    parallel_tool_calls: Any = None
    presence_penalty: Any = None
    reasoning_effort: Any = None
    response_format: Any = None
    store: Any = None
    tool_choice: Any = None
    top_logprobs: Any = None
    verbosity: Any = None
    web_search_options: Any = None


# Parameters that would change the answer if they worked: the values (besides null) that ask for what this server does anyway.
ONLY: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("auto", "none"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "tool_choice": ("auto", "none"),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}


# --- What clients get --------------------------------------------------------------------------------------------------

FinishReason = Literal["stop", "length", "tool_calls"]


class Usage(Wire):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(Wire):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[ToolCallItem] | None = Field(default=None, exclude_if=_is_none)


class Choice(Wire):
    index: Literal[0] = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: FinishReason


class ChatCompletion(Wire):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class ToolCallDelta(Wire):
    index: int
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Delta(Wire):
    role: Literal["assistant"] | None = Field(default=None, exclude_if=_is_none)
    content: str | None = Field(default=None, exclude_if=_is_none)
    tool_calls: list[ToolCallDelta] | None = Field(default=None, exclude_if=_is_none)


class ChunkChoice(Wire):
    index: Literal[0] = 0
    delta: Delta
    logprobs: None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(Wire):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    # Left out altogether unless the client asked for usage; then null in all chunks but the last.
    usage: Usage | None = None


class ModelCard(Wire):
    """One line of `GET /v1/models`. The last three fields are our own additions."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "puna"
    context_length: int
    input_modalities: list[Literal["text", "image", "video"]]
    output_modalities: list[Literal["text"]] = ["text"]


class ModelList(Wire):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(Wire):
    status: Literal["ok"] = "ok"
    model: str
    requests_in_flight: int
