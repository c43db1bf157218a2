"""The types that travel in OpenAI's Responses API, as far as this server goes. The events of a stream are in `events`.

Strict, as in `puna.serve.openai.wire`. A text as `input` becomes one message of the user, a text as `content` one part, an item without a
type is a message.
Source: OpenAI's published API types, as the `openai` client carries them, and the Open Responses schema. [stated] `input_video` is ours, in
the manner of `input_image`; `seed`, `top_k`, `min_p` and `repetition_penalty` are named as in chat completions. [ours]
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from puna.serve.openai import wire as openai
from puna.serve.openai.wire import Function, JsonObjectFormat, TextFormat


class Wire(openai.Wire):
    model_config = ConfigDict(serialize_by_alias=True)


def _as_parts(content: Any) -> Any:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content


def _as_items(given: Any) -> Any:
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list):
        return given
    return [{"type": "message", **item} if isinstance(item, dict) and "role" in item else item for item in given]


def _or_auto(detail: Any) -> Any:
    return "auto" if detail is None else detail


def _is_none(value: object) -> bool:
    return value is None


# --- Items, which travel both ways --------------------------------------------------------------------------------------

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Wire):
    type: Literal["input_text"]
    text: str
    # A hint about caching: it cannot change the answer.
    prompt_cache_breakpoint: Annotated[dict[str, Any] | None, Field(exclude_if=_is_none)] = None


class InputImage(Wire):
    type: Literal["input_image"]
    image_url: str
    # Pictures are always cut at full detail, which is what "high" asks for; "low" would change the answer.
    detail: Annotated[Literal["auto", "high"], BeforeValidator(_or_auto, json_schema_input_type=Literal["auto", "high"] | None)] = "auto"
    file_id: None = None
    prompt_cache_breakpoint: Annotated[dict[str, Any] | None, Field(exclude_if=_is_none)] = None


class InputVideo(Wire):
    type: Literal["input_video"]
    video_url: str


class TopLogprob(Wire):
    token: str
    bytes: list[int]
    logprob: float


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class OutputText(Wire):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = []
    logprobs: list[TokenLogprob] | None = []


class Refusal(Wire):
    """What another model would not say. This one's refusals are text."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[InputText | InputImage | InputVideo | OutputText | Refusal, Field(discriminator="type")]
Content = Annotated[list[Part], BeforeValidator(_as_parts, json_schema_input_type=str | list[Part])]
ResultPart = Annotated[InputText | InputImage | InputVideo, Field(discriminator="type")]
Result = Annotated[list[ResultPart], BeforeValidator(_as_parts, json_schema_input_type=str | list[ResultPart])]


class MessageItem(Wire):
    type: Literal["message"] = "message"
    id: str | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    status: Status | None = None
    # Whether an answer was a comment on the way or the last word: Llama 4's chat format has no place for it.
    phase: Annotated[Literal["commentary", "final_answer"] | None, Field(exclude_if=_is_none)] = None


class FunctionCallItem(Wire):
    type: Literal["function_call"] = "function_call"
    id: str | None = None
    call_id: str
    name: str
    arguments: str
    status: Status | None = None
    namespace: Annotated[str | None, Field(exclude_if=_is_none)] = None
    # Clients send earlier answers back as they got them, with a field of other servers empty.
    caller: Annotated[None, Field(exclude_if=_is_none)] = None


class FunctionCallOutputItem(Wire):
    type: Literal["function_call_output"]
    id: str | None = None
    call_id: str
    output: Result
    # Some clients repeat the function's name, which `call_id` says already.
    name: Annotated[str | None, Field(exclude_if=_is_none)] = None
    status: Status | None = None


class ReasoningItem(Wire):
    """What another model thought. It is kept, but not shown to this one: Llama 4's chat format has no place for it."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: list[dict[str, Any]] = []
    content: Annotated[list[dict[str, Any]] | None, Field(exclude_if=_is_none)] = None
    encrypted_content: Annotated[str | None, Field(exclude_if=_is_none)] = None
    status: Annotated[Status | None, Field(exclude_if=_is_none)] = None


class ItemReference(Wire):
    """An item of an earlier response, by its id."""

    type: Literal["item_reference"]
    id: str


KeptItem = Annotated[MessageItem | FunctionCallItem | FunctionCallOutputItem | ReasoningItem, Field(discriminator="type")]
InputItem = Annotated[MessageItem | FunctionCallItem | FunctionCallOutputItem | ReasoningItem | ItemReference, Field(discriminator="type")]
_Items = Annotated[list[InputItem], Field(min_length=1)]
Input = Annotated[_Items, BeforeValidator(_as_items, json_schema_input_type=str | _Items)]

# --- What clients send --------------------------------------------------------------------------------------------------


class FunctionTool(Function, Wire):
    type: Literal["function"]


class NamespaceTool(Wire):
    """Functions under one name, such as those of one MCP server: the model knows each as "namespace.function"."""

    type: Literal["namespace"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str
    tools: Annotated[list[FunctionTool], Field(min_length=1)]


Tool = Annotated[FunctionTool | NamespaceTool, Field(discriminator="type")]


class ForcedFunction(Wire):
    """The tool that must be called, one of a namespace by its whole name."""

    type: Literal["function"]
    name: str


class AllowedTools(Wire):
    """Only these of the tools may be called."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[ForcedFunction], Field(min_length=1)]


def _tool_choice_tag(value: Any) -> Any:
    return "mode" if isinstance(value, str) else value.get("type") if isinstance(value, dict) else getattr(value, "type", None)


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Tag("mode")]
    | Annotated[ForcedFunction, Tag("function")]
    | Annotated[AllowedTools, Tag("allowed_tools")],
    Discriminator(
        _tool_choice_tag,
        custom_error_type="tool_choice",
        custom_error_message='It must be "auto", "none", "required", {"type": "function", ...} or {"type": "allowed_tools", ...}',
    ),
]


class JsonSchemaFormat(Wire):
    type: Literal["json_schema"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    # On the wire it is called "schema", a name that pydantic's models have taken.
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]
    description: str | None = None
    # The answer follows the schema either way: what is not strict elsewhere is here.
    strict: bool | None = None


class TextConfig(Wire):
    format: Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")] = TextFormat(type="text")
    # No model here has a measure for it; "medium" is what other models do unasked.
    verbosity: Literal["medium"] | None = None


class Reasoning(Wire):
    """Llama 4 answers without thinking first: only that can be asked for."""

    effort: Literal["none"] | None = None
    summary: str | None = None
    generate_summary: Annotated[str | None, Field(exclude_if=_is_none)] = None


class StreamOptions(Wire):
    # Random padding against traffic analysis: there is none here, and the answer is the same without.
    include_obfuscation: bool | None = None


# What may be shown beside the answer. Only the first is something that this server has; inputs show their pictures anyway, and the others
# belong to tools that it refuses.
Includable = Literal[
    "message.output_text.logprobs",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]
Metadata = Annotated[dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)]


class ResponseRequest(Wire):
    input: Input
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2, allow_inf_nan=False)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    top_k: int | None = Field(default=None, ge=-1)  # 0 and -1 keep every token
    min_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10, allow_inf_nan=False)
    text: TextConfig | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[Includable] | None = None
    reasoning: Reasoning | None = None
    metadata: Metadata | None = None

    # Accepted and without effect: none of them can change the answer. `max_tool_calls` counts calls of a server's own tools.
    max_tool_calls: int | None = Field(default=None, ge=1)
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    client_metadata: dict[str, Any] | None = None  # what Codex tells of itself

    # Known, but only with the values of `ONLY`.
    access_programs: Any = None
    background_options: Any = None
    context_management: Any = None
    conversation: Any = None
    image: Any = None
    moderation: Any = None
    prompt: Any = None
    truncation: Any = None


# As in `puna.serve.openai.wire`: the values, besides null, that ask for what this server does anyway.
ONLY: dict[str, tuple[Any, ...]] = {
    "access_programs": (),
    "background_options": (),
    "context_management": ([],),
    "conversation": (),
    "image": (),
    "moderation": (),
    "prompt": (),
    "truncation": ("disabled",),
}

# The branches of the unions in a request, which must not show in an error's path.
BRANCHES = frozenset(
    {"message", "function_call", "function_call_output", "reasoning", "item_reference", "function", "namespace"}
    | {"input_text", "input_image", "input_video", "output_text", "refusal"}
    | {"tool_choice:mode", "tool_choice:function", "tool_choice:allowed_tools"}
    | {"format:text", "format:json_object", "format:json_schema"}
)

# --- What clients get ---------------------------------------------------------------------------------------------------


class AnswerItem(Wire):
    """A message of the assistant, in an answer."""

    type: Literal["message"] = "message"
    id: str
    role: Literal["assistant"] = "assistant"
    status: Status
    content: list[OutputText]


class CallItem(Wire):
    """A function call, in an answer. Its arguments are cut if it is incomplete."""

    type: Literal["function_call"] = "function_call"
    id: str
    call_id: str
    name: str
    namespace: Annotated[str | None, Field(exclude_if=_is_none)] = None
    arguments: str
    status: Status


OutputItem = Annotated[AnswerItem | CallItem, Field(discriminator="type")]


class ResponseError(Wire):
    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(Wire):
    reason: Literal["max_output_tokens", "content_filter"]


class InputTokensDetails(Wire):
    cached_tokens: int
    # Other servers charge for this. Here every prompt is kept for the next one, free of charge.
    cache_write_tokens: int = 0


class OutputTokensDetails(Wire):
    reasoning_tokens: int = 0


class Usage(Wire):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int


ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class ResponseObject(Wire):
    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus
    background: bool
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[OutputItem] = []
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: Reasoning
    safety_identifier: str | None
    service_tier: Literal["default"] = "default"
    store: bool
    temperature: float
    text: TextConfig
    tool_choice: ToolChoice
    tools: list[Tool]
    top_logprobs: int
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    truncation: Literal["disabled"] = "disabled"
    usage: Usage | None = None
    user: str | None
    metadata: Metadata


class DeletedResponse(Wire):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class ItemList(Wire):
    object: Literal["list"] = "list"
    data: list[KeptItem]
    first_id: str
    last_id: str
    has_more: bool
