"""A body of the Messages API to an `Ask`.

Nothing is dropped on the way in but what is meant for others than the model: thoughts that another model sealed, and a line for
Anthropic's billing. What this server cannot do is refused by name. Texts of neighbouring blocks are one text, as they stand. Knows no
threads and no sockets.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from puna import pipeline
from puna.engine import Grammar
from puna.pipeline import Ask, NamedTool
from puna.serve.anthropic.answering import MessageExchange
from puna.serve.anthropic.wire import (
    BRANCHES,
    ONLY,
    AnyChoice,
    AssistantTurn,
    CountRequest,
    ImageBlock,
    MediaAddress,
    MessagesRequest,
    NoChoice,
    PromptFields,
    RedactedThinkingBlock,
    SystemTurn,
    TextBlock,
    ThinkingBlock,
    TokenCount,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
    UserTurn,
    VideoBlock,
)
from puna.serve.conversation import Conversation
from puna.serve.core import Core
from puna.serve.errors import ApiError, invalid_request
from puna.serve.openai.options import refuse_unsupported
from puna.serve.schemas import check_schema
from puna.stream import Message, Part, Text, ToolCall

# Claude Code begins its system prompt with a line for Anthropic's billing that changes with every request. Read by the model, it would
# keep the whole prompt behind it from ever being found in the cache.
BILLING = "x-anthropic-billing-header:"

R = TypeVar("R", bound=PromptFields)


def read_messages(core: Core, body: bytes, request_id: str) -> MessageExchange:
    request = _parsed(MessagesRequest, body, core)
    if isinstance(request.messages[-1], AssistantTurn):
        message = (
            "messages must not end with role=assistant: this server begins an answer and goes on with none; "
            "end with a user message, or ask for a form with output_config.format"
        )
        raise ApiError(400, message, code="unsupported_parameter", param="messages")
    tools, choice = _tools(request, core)
    ask = Ask(
        messages=_conversation(request, core),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=request.tool_choice is None or not request.tool_choice.disable_parallel_tool_use,
        max_tokens=request.max_tokens,
        shortens_to_fit=True,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k or None,
        stop=tuple(request.stop_sequences or ()),
        grammar=_grammar(request, core),
    )
    return MessageExchange(ask, core.pipeline.name, bool(request.stream), request_id)


def count_tokens(core: Core, body: bytes) -> TokenCount:
    """The tokens of the prompt that the same body would make. Also of one that is too long to be answered."""
    request = _parsed(CountRequest, body, core)
    tools, choice = _tools(request, core)
    stream = core.pipeline.chat_format.encode(_conversation(request, core), () if choice == "none" else tools)
    return TokenCount(input_tokens=len(stream))


def _parsed(kind: type[R], body: bytes, core: Core) -> R:
    try:
        request = kind.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error, kind.model_fields, BRANCHES) from error
    core.check_model(request.model)
    refuse_unsupported(request, {name: values for name, values in ONLY.items() if name in kind.model_fields})
    return request


def _grammar(request: PromptFields, core: Core) -> Grammar | None:
    param = "output_format" if request.output_format is not None else "output_config.format"
    form = request.output_format or (request.output_config.format if request.output_config is not None else None)
    if form is None:
        return None
    if request.output_format is not None and request.output_config is not None and request.output_config.format is not None:
        raise ApiError(400, "output_format and output_config.format are both given; send one", code="invalid_value", param=param)
    check_schema(form.json_schema, core.limits, f"{param}.schema")
    return Grammar.json_schema(form.json_schema)


def _tools(request: PromptFields, core: Core) -> tuple[tuple[Mapping[str, Any], ...], pipeline.ToolChoice]:
    """The tools, and which of them may or must be called."""
    offers = request.tools or []
    if len(offers) > core.limits.tools:
        message = f"{len(offers)} tools are more than the {core.limits.tools} that this server offers a model; send fewer"
        raise ApiError(400, message, code="too_many_tools", param="tools")
    for index, offer in enumerate(offers):
        check_schema(offer.input_schema, core.limits, f"tools[{index}].input_schema")
    tools = tuple(
        {
            "name": offer.name,
            **({} if offer.description is None else {"description": offer.description}),
            "parameters": offer.input_schema,
            **({"input_examples": offer.input_examples} if offer.input_examples else {}),
            **({} if offer.strict is None else {"strict": offer.strict}),
        }
        for offer in offers
    )
    choice = request.tool_choice
    if isinstance(choice, ToolChoice):
        if choice.name not in {offer.name for offer in offers}:
            message = f"tool_choice.name={choice.name!r} is not among the tools; offer it or name another"
            raise ApiError(400, message, code="invalid_value", param="tool_choice.name")
        return tools, NamedTool(choice.name)
    if isinstance(choice, AnyChoice):
        if not offers:
            raise ApiError(400, "tool_choice.type=any, but there are no tools; send some", code="invalid_value", param="tool_choice")
        return tools, "required"
    return tools, "none" if isinstance(choice, NoChoice) else "auto"


# --- The conversation --------------------------------------------------------------------------------------------------


def _conversation(request: PromptFields, core: Core) -> tuple[Message, ...]:
    conversation = core.conversation()
    seen = list(_all_seen(request.messages))
    pictures, videos = (sum(isinstance(block, kind) for block in seen) for kind in (ImageBlock, VideoBlock))
    conversation.expect(messages=len(request.messages), pictures=pictures, videos=videos)
    system = _without_billing([block.text for block in request.system or ()])
    if system:
        conversation.say("system", [Text(text) for text in system])
    for index, turn in enumerate(request.messages):
        match turn:
            case SystemTurn():
                conversation.say("system", [Text(block.text) for block in turn.content])
            case UserTurn():
                _hear(conversation, turn, f"messages[{index}].content")
            case AssistantTurn():
                _repeat(conversation, turn)
    return conversation.messages


def _all_seen(turns: Sequence[UserTurn | AssistantTurn | SystemTurn]) -> Iterator[object]:
    """All blocks that users sent, those inside of tools' results too."""
    for turn in turns:
        for block in turn.content if isinstance(turn, UserTurn) else ():
            if isinstance(block, ToolResultBlock):
                yield from block.content or ()
            else:
                yield block


def _without_billing(texts: Sequence[str]) -> list[str]:
    if texts and texts[0].startswith(BILLING):
        rest = texts[0].partition("\n")[2]
        return [*([rest] if rest else []), *texts[1:]]
    return list(texts)


def _hear(conversation: Conversation, turn: UserTurn, param: str) -> None:
    """A user's turn: tools' results are messages of their own, in their place among what the user says."""
    said: list[Part] = []
    for index, block in enumerate(turn.content):
        here = f"{param}[{index}]"
        if not isinstance(block, ToolResultBlock):
            said.append(_part(conversation, block, here))
            continue
        if said:
            conversation.say("user", said)
            said = []
        result: list[Part] = [Text("Error: ")] if block.is_error else []
        result += [_part(conversation, part, f"{here}.content[{place}]") for place, part in enumerate(block.content or ())]
        conversation.give_result(block.tool_use_id, result, param=f"{here}.tool_use_id")
    if said or not turn.content:
        conversation.say("user", said)


def _repeat(conversation: Conversation, turn: AssistantTurn) -> None:
    """An earlier answer: what it said, then what it called."""
    texts: list[Part] = []
    calls: list[ToolCall] = []
    for block in turn.content:
        match block:
            case TextBlock():
                texts.append(Text(block.text))
            case ToolUseBlock():
                calls.append(ToolCall(block.name, block.input, block.id))
            case ThinkingBlock() | RedactedThinkingBlock():
                pass  # sealed for the model that thought it
    conversation.say("assistant", texts, calls)


def _part(conversation: Conversation, block: TextBlock | ImageBlock | VideoBlock, param: str) -> Part:
    if isinstance(block, TextBlock):
        return Text(block.text)
    source = block.source
    if isinstance(source, MediaAddress):
        return conversation.url(source.url, block.type, f"{param}.source.url")
    return conversation.url(f"data:{source.media_type};base64,{source.data}", block.type, f"{param}.source.data")
