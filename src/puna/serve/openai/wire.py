"""The types that travel: OpenAI's chat completions, completions and models, as far as this server goes.

Strict: no type is coerced, and a field that is not listed is refused. A string `content` becomes one text part on the way in, so that
the rest of the room knows lists only. Knows nothing of the pipeline.
Source: OpenAI's published API types, as the `openai` client carries them. [stated] They have no video: `video_url` is the part that vLLM,
OpenRouter and others added in the manner of `image_url`. [inferred] What is refused or accepted: [ours]
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag


class Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def _is_none(value: object) -> bool:
    return value is None


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_id(key: Any) -> Any:
    return int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 10 else key


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
AnyPart = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]
TextContent = Annotated[list[TextPart], BeforeValidator(_as_parts, json_schema_input_type=str | list[TextPart])]
MixedContent = Annotated[list[AnyPart], BeforeValidator(_as_parts, json_schema_input_type=str | list[AnyPart])]


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


class ForcedFunction(Wire):
    name: str


class ForcedTool(Wire):
    """The tool that must be called."""

    type: Literal["function"]
    function: ForcedFunction


class AllowedTools(Wire):
    mode: Literal["auto", "required"]
    tools: Annotated[list[ForcedTool], Field(min_length=1)]


class AllowedToolChoice(Wire):
    """Only these of the tools may be called."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


def _tool_choice_tag(value: Any) -> Any:
    return "mode" if isinstance(value, str) else value.get("type") if isinstance(value, dict) else getattr(value, "type", None)


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Tag("mode")]
    | Annotated[ForcedTool, Tag("function")]
    | Annotated[AllowedToolChoice, Tag("allowed_tools")],
    Discriminator(
        _tool_choice_tag,
        custom_error_type="tool_choice",
        custom_error_message='It must be "auto", "none", "required", {"type": "function", ...} or {"type": "allowed_tools", ...}',
    ),
]


class TextFormat(Wire):
    type: Literal["text"]


class JsonObjectFormat(Wire):
    type: Literal["json_object"]


class JsonSchema(Wire):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    # On the wire it is called "schema", a name that pydantic's models have taken.
    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    # The answer follows the schema either way: what is not strict elsewhere is here.
    strict: bool | None = None


class JsonSchemaFormat(Wire):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Wire):
    include_usage: bool | None = None
    # Random padding against traffic analysis: there is none here, and the answer is the same without.
    include_obfuscation: bool | None = None


StopString = Annotated[str, Field(min_length=1)]
_ManyStops = Annotated[list[StopString], Field(max_length=16)]
StopStrings = Annotated[_ManyStops, BeforeValidator(_as_list, json_schema_input_type=StopString | _ManyStops)]
# JSON has no numbers for keys: the ids in `logit_bias` come as text.
TokenId = Annotated[int, BeforeValidator(_as_id)]


class SamplingOptions(Wire):
    """What chat completions and completions share. The last three are not OpenAI's; vLLM and others have them under these names."""

    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2, allow_inf_nan=False)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, allow_inf_nan=False)
    logit_bias: Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: StopStrings | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    top_k: int | None = Field(default=None, ge=-1)  # 0 and -1 keep every token
    min_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10, allow_inf_nan=False)


class ChatRequest(SamplingOptions):
    messages: list[AnyMessage] = Field(min_length=1)
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

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
    function_call: Any = None
    functions: Any = None
    modalities: Any = None
    moderation: Any = None
    reasoning_effort: Any = None
    store: Any = None
    verbosity: Any = None
    web_search_options: Any = None


# Parameters that would change the answer if they worked: the values (besides null) that ask for what this server does anyway.
ONLY: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": ("auto", "none"),
    "functions": ([],),
    "modalities": (["text"],),
    "moderation": (),
    "reasoning_effort": (),
    "store": (False,),
    "verbosity": (),
    "web_search_options": (),
}

# The branches of the unions in a request, which must not show in an error's path: after an index, or after a parameter's name.
BRANCHES = frozenset(
    {"system", "developer", "user", "assistant", "tool", "text", "image_url", "video_url"}
    | {"tool_choice:mode", "tool_choice:function", "tool_choice:allowed_tools"}
    | {"prompt:text", "prompt:texts", "prompt:ids", "prompt:prompts"}
    | {"response_format:text", "response_format:json_object", "response_format:json_schema"}
)


TokenIds = Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(min_length=1)]


def _prompt_tag(value: Any) -> str | None:
    if not isinstance(value, list):
        return "text" if isinstance(value, str) else None
    kinds: dict[type, str] = {str: "texts", int: "ids", list: "prompts"}
    return kinds.get(type(value[0])) if value else "texts"


# One prompt or several, each as text or as token ids.
Prompt = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[str], Field(min_length=1), Tag("texts")]
    | Annotated[TokenIds, Tag("ids")]
    | Annotated[list[TokenIds], Field(min_length=1), Tag("prompts")],
    Discriminator(
        _prompt_tag,
        custom_error_type="prompt",
        custom_error_message="It must be a text, a list of texts, a list of token ids, or a list of such lists",
    ),
]


class CompletionRequest(SamplingOptions):
    prompt: Prompt
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    # The likeliest tokens at each place; with `echo` at those of the prompt, too.
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool | None = None

    # Accepted and without effect: it cannot change the answer.
    user: str | None = None

    # Known, but only with the values of `COMPLETION_ONLY`.
    best_of: Any = None
    suffix: Any = None


COMPLETION_ONLY: dict[str, tuple[Any, ...]] = {"best_of": (1,), "suffix": ("",)}


class TokenizeRequest(Wire):
    """A prompt, or messages with their tools. As in vLLM."""

    model: str | None = None
    prompt: str | None = None
    add_special_tokens: bool | None = None
    messages: Annotated[list[AnyMessage], Field(min_length=1)] | None = None
    tools: list[Tool] | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None


class DetokenizeRequest(Wire):
    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, le=2**31 - 1)]]


# --- What clients get --------------------------------------------------------------------------------------------------

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class PromptTokensDetails(Wire):
    cached_tokens: int


class Usage(Wire):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class TopLogprob(Wire):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(Wire):
    content: list[TokenLogprob]
    refusal: None = None


class AnswerMessage(Wire):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[ToolCallItem] | None = Field(default=None, exclude_if=_is_none)


class Choice(Wire):
    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason


class ChatCompletion(Wire):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class FunctionDelta(Wire):
    name: str | None = Field(default=None, exclude_if=_is_none)
    arguments: str


class ToolCallDelta(Wire):
    """The first of a call has its id and name; the others more of its arguments."""

    index: int
    id: str | None = Field(default=None, exclude_if=_is_none)
    type: Literal["function"] | None = Field(default=None, exclude_if=_is_none)
    function: FunctionDelta


class Delta(Wire):
    role: Literal["assistant"] | None = Field(default=None, exclude_if=_is_none)
    content: str | None = Field(default=None, exclude_if=_is_none)
    tool_calls: list[ToolCallDelta] | None = Field(default=None, exclude_if=_is_none)


class ChunkChoice(Wire):
    index: int
    delta: Delta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(Wire):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    # Left out altogether unless the client asked for usage; then null in all chunks but the last.
    usage: Usage | None = None


class CompletionLogprobs(Wire):
    """One entry a token. The first token of an echoed prompt has no score. A token that is no whole text is written as its bytes."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(Wire):
    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason


class Completion(Wire):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class CompletionChunkChoice(Wire):
    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None


class CompletionChunk(Wire):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChunkChoice]
    usage: Usage | None = None


class Tokenized(Wire):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Detokenized(Wire):
    prompt: str


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


class ModelInfo(Wire):
    """What Azure's inference client asks of the model behind an address."""

    model_name: str
    model_type: Literal["chat-completion"] = "chat-completion"
    model_provider_name: str = "puna"
