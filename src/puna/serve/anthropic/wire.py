"""The types that travel: Anthropic's Messages, token counts and models, as far as this server goes.

Strict: no type is coerced, and a field that is not listed is refused. A string `content` becomes one text block on the way in. Knows
nothing of the pipeline. Class names differ from those of `puna.serve.openai.wire`, so that the description of all APIs can use them.
Source: Anthropic's published API types, as the `anthropic` client carries them. [stated] They have no video: the block "video" is made
in the manner of "image". What is refused or accepted: [ours]
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from puna.serve.openai.wire import StopString, Wire


def _is_none(value: object) -> bool:
    return value is None


def _as_blocks(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


# --- What clients send -------------------------------------------------------------------------------------------------


class CacheControl(Wire):
    """A hint about caching. Every prefix is cached here anyway, and the answer is the same."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None
    scope: str | None = None


class _Block(Wire):
    cache_control: CacheControl | None = None


class TextBlock(_Block):
    type: Literal["text"]
    text: str
    # Clients send earlier answers back as they got them, with this field empty.
    citations: Annotated[list[Any], Field(max_length=0)] | None = None


class ImageBytes(Wire):
    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class VideoBytes(Wire):
    type: Literal["base64"]
    media_type: Annotated[str, Field(pattern=r"^video/[a-z0-9.+-]{1,40}$")]
    data: str


class MediaAddress(Wire):
    type: Literal["url"]
    url: str


class Transformations(Wire):
    # Large pictures are always made smaller; an error in its place would change the answer.
    oversized_image: Literal["downsize"] | None = None


class ImageBlock(_Block):
    """A picture. An animated GIF or WebP is a video: its bytes decide."""

    type: Literal["image"]
    source: Annotated[ImageBytes | MediaAddress, Field(discriminator="type")]
    transformations: Transformations | None = None


class VideoBlock(_Block):
    """Not Anthropic's: a video, said as a picture is, with a `media_type` such as video/mp4."""

    type: Literal["video"]
    source: Annotated[VideoBytes | MediaAddress, Field(discriminator="type")]


class DirectCaller(Wire):
    type: Literal["direct"]


class ToolUseBlock(_Block):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    caller: DirectCaller | None = None
    toolset_name: None = None


Seen = Annotated[TextBlock | ImageBlock | VideoBlock, Field(discriminator="type")]


class ToolResultBlock(_Block):
    """`is_error`: the model reads "Error: " before the content."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: Annotated[list[Seen], BeforeValidator(_as_blocks, json_schema_input_type=str | list[Seen])] | None = None
    is_error: bool | None = None
    toolset_name: None = None


class ThinkingBlock(_Block):
    """What another model thought before an earlier answer. Taken and left out: it is sealed for the model that thought it."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(_Block):
    type: Literal["redacted_thinking"]
    data: str


SystemContent = Annotated[list[TextBlock], BeforeValidator(_as_blocks, json_schema_input_type=str | list[TextBlock])]
UserBlock = Annotated[TextBlock | ImageBlock | VideoBlock | ToolResultBlock, Field(discriminator="type")]
AssistantBlock = Annotated[TextBlock | ToolUseBlock | ThinkingBlock | RedactedThinkingBlock, Field(discriminator="type")]


class UserTurn(Wire):
    role: Literal["user"]
    content: Annotated[list[UserBlock], BeforeValidator(_as_blocks, json_schema_input_type=str | list[UserBlock])]


class AssistantTurn(Wire):
    role: Literal["assistant"]
    content: Annotated[list[AssistantBlock], BeforeValidator(_as_blocks, json_schema_input_type=str | list[AssistantBlock])]


class SystemTurn(Wire):
    role: Literal["system"]
    content: SystemContent


Turn = Annotated[UserTurn | AssistantTurn | SystemTurn, Field(discriminator="role")]


class ToolOffer(_Block):
    # First, so that a tool which Anthropic runs itself is refused by its type.
    type: Literal["custom"] | None = None
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    description: str | None = None
    input_schema: dict[str, Any]
    # The model is told of them with the tool.
    input_examples: list[dict[str, Any]] | None = None
    strict: bool | None = None
    # True would keep the tool from the model until it is searched for, and there is no search here.
    defer_loading: Literal[False] | None = None
    allowed_callers: list[Literal["direct"]] | None = None
    # About when pieces of a call are sent: here always at once.
    eager_input_streaming: bool | None = None


class AutoChoice(Wire):
    type: Literal["auto"]
    disable_parallel_tool_use: bool | None = None


class AnyChoice(Wire):
    """Some tool must be called."""

    type: Literal["any"]
    disable_parallel_tool_use: bool | None = None


class ToolChoice(Wire):
    """This tool must be called."""

    type: Literal["tool"]
    name: str
    disable_parallel_tool_use: bool | None = None


class NoChoice(Wire):
    type: Literal["none"]
    disable_parallel_tool_use: bool | None = None


class NoThinking(Wire):
    type: Literal["disabled"]


class AdaptiveThinking(Wire):
    """The model thinks when it wants to. This one never does."""

    type: Literal["adaptive"]
    display: Literal["summarized", "omitted"] | None = None


class OutputSchema(Wire):
    type: Literal["json_schema"]
    # On the wire it is called "schema", a name that pydantic's models have taken.
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Wire):
    format: OutputSchema | None = None
    # A hint about how long to think. These models do not think before they answer: every effort gives the same.
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class ClearThinking(Wire):
    """About thoughts of earlier turns, of which the model sees none."""

    type: Literal["clear_thinking_20251015"]
    keep: Any = None


class ContextManagement(Wire):
    edits: list[ClearThinking] | None = None


class PromptFields(Wire):
    """What makes the prompt, or says nothing about the answer: shared by messages and the counting of their tokens."""

    messages: list[Turn] = Field(min_length=1)
    model: str | None = None
    system: SystemContent | None = None
    tools: list[ToolOffer] | None = None
    tool_choice: Annotated[AutoChoice | AnyChoice | ToolChoice | NoChoice, Field(discriminator="type")] | None = None
    thinking: Annotated[NoThinking | AdaptiveThinking, Field(discriminator="type")] | None = None
    output_config: OutputConfig | None = None
    # Its older place, in beta.
    output_format: OutputSchema | None = None
    context_management: ContextManagement | None = None
    cache_control: CacheControl | None = None

    # Accepted and without effect: neither can change the answer.
    user_profile_id: str | None = None
    workspace_id: str | None = None

    # Known, but only with the values of `ONLY`.
    mcp_servers: Any = None
    speed: Any = None


class MessagesRequest(PromptFields):
    max_tokens: int = Field(ge=1)
    stream: bool | None = None
    stop_sequences: Annotated[list[StopString], Field(max_length=16)] | None = None
    temperature: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=0)  # 0 keeps every token

    # Accepted and without effect: none of them can change the answer.
    metadata: dict[str, Any] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    diagnostics: dict[str, Any] | None = None

    # Known, but only with the values of `ONLY`.
    container: Any = None
    fallback_credit_token: Any = None
    fallbacks: Any = None
    inference_geo: Any = None
    thread: Any = None


class CountRequest(PromptFields):
    """The same body without what only an answer needs."""


# Parameters that would change the answer, or what is promised of it: the values (besides null) that ask for what this server does anyway.
ONLY: dict[str, tuple[Any, ...]] = {
    "mcp_servers": ([],),
    "speed": ("standard",),
    "container": (),
    "fallback_credit_token": (),
    "fallbacks": ([],),
    "inference_geo": (),
    "thread": (),
}

# The branches of the unions in a request, which must not show in an error's path: after an index, or after a parameter's name.
BRANCHES = frozenset(
    {"user", "assistant", "system", "text", "image", "video", "tool_use", "tool_result", "thinking", "redacted_thinking"}
    | {"source:base64", "source:url", "tool_choice:auto", "tool_choice:any", "tool_choice:tool", "tool_choice:none"}
    | {"thinking:disabled", "thinking:adaptive"}
)


# --- What clients get --------------------------------------------------------------------------------------------------

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "model_context_window_exceeded"]


class TokenUsage(Wire):
    """`input_tokens` are those that had to be computed; with those read from the cache they are the whole prompt."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int
    output_tokens: int


class SaidText(Wire):
    type: Literal["text"] = "text"
    text: str
    citations: None = None


class SaidToolUse(Wire):
    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: dict[str, Any]


SaidBlock = Annotated[SaidText | SaidToolUse, Field(discriminator="type")]


class RefusalDetails(Wire):
    type: Literal["refusal"] = "refusal"
    category: None = None
    explanation: str | None = None


class MessageAnswer(Wire):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[SaidBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None = None
    stop_details: RefusalDetails | None = Field(default=None, exclude_if=_is_none)
    usage: TokenUsage


class MessageStart(Wire):
    type: Literal["message_start"] = "message_start"
    message: MessageAnswer


class BlockStart(Wire):
    type: Literal["content_block_start"] = "content_block_start"
    index: int
    content_block: SaidBlock


class SaidTextDelta(Wire):
    type: Literal["text_delta"] = "text_delta"
    text: str


class InputDelta(Wire):
    type: Literal["input_json_delta"] = "input_json_delta"
    partial_json: str


class BlockDelta(Wire):
    type: Literal["content_block_delta"] = "content_block_delta"
    index: int
    delta: SaidTextDelta | InputDelta


class BlockStop(Wire):
    type: Literal["content_block_stop"] = "content_block_stop"
    index: int


class EndOfMessage(Wire):
    stop_reason: StopReason
    stop_sequence: str | None = None
    stop_details: RefusalDetails | None = Field(default=None, exclude_if=_is_none)


class MessageDelta(Wire):
    type: Literal["message_delta"] = "message_delta"
    delta: EndOfMessage
    usage: TokenUsage


class MessageStop(Wire):
    type: Literal["message_stop"] = "message_stop"


class TokenCount(Wire):
    input_tokens: int


class ModelEntry(Wire):
    type: Literal["model"] = "model"
    id: str
    display_name: str
    created_at: str
    lifecycle: Literal["active"] = "active"
    max_input_tokens: int
    max_tokens: int


class ModelPage(Wire):
    data: list[ModelEntry]
    has_more: bool = False
    first_id: str | None
    last_id: str | None


ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
]


class Failure(Wire):
    type: ErrorType
    message: str


class FailureAnswer(Wire):
    type: Literal["error"] = "error"
    error: Failure
    request_id: str | None
