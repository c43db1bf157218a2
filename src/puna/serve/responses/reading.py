"""A request for a response to an `Ask`.

A conversation goes on from `previous_response_id`: the items of the responses before it are read again, in order. Their instructions are
not: those of a request are for its own answer. Nothing is dropped: what this server cannot do is refused by name.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from puna import pipeline
from puna.engine import Grammar, Sampling
from puna.pipeline import Ask, NamedTool
from puna.serve.core import Core
from puna.serve.errors import ApiError, invalid_request
from puna.serve.openai.chat import described_functions
from puna.serve.openai.options import refuse_lonely_stream_options, refuse_unsupported
from puna.serve.openai.wire import JsonObjectFormat
from puna.serve.responses.draft import Draft
from puna.serve.responses.exchange import ResponseExchange
from puna.serve.responses.items import ITEMS, Turns, expect, kept_items, response_of_item, with_ids
from puna.serve.responses.keeper import Keeper
from puna.serve.responses.namespaces import flat
from puna.serve.responses.wire import (
    BRANCHES,
    ONLY,
    AllowedTools,
    ForcedFunction,
    JsonSchemaFormat,
    KeptItem,
    Reasoning,
    ResponseObject,
    ResponseRequest,
    TextConfig,
)
from puna.serve.schemas import check_schema
from puna.stream import Message, Text

_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "min_p", "repetition_penalty")


def read_response(core: Core, keeper: Keeper | None, owner: str | None, body: bytes) -> ResponseExchange:
    """Parses and checks a body, and reads what it continues from the store. `owner`: the name of the key that asks."""
    request = _parsed(body)
    core.check_model(request.model)
    refuse_unsupported(request, ONLY)
    refuse_lonely_stream_options(request.stream, request.stream_options)
    is_kept = _is_kept(request, keeper)
    tools, choice = _tools(request, core)
    response_id = f"resp_{uuid.uuid4().hex}"
    items = with_ids(request.input, response_id, lambda id, param: _look_up(keeper, owner, id, param))
    has_logprobs = request.top_logprobs is not None or "message.output_text.logprobs" in (request.include or ())
    ask = Ask(
        messages=_messages(request, items, core, keeper, owner),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        max_tokens=request.max_output_tokens,
        grammar=_grammar(request, core),
        logprobs=(request.top_logprobs or 0) if has_logprobs else None,
        top_k=request.top_k if request.top_k and request.top_k > 0 else None,
        **{name: getattr(request, name) for name in _SAMPLING},
    )
    return ResponseExchange(
        ask,
        Draft(_begun(request, response_id, core.pipeline.name, is_kept), has_logprobs=has_logprobs, is_streamed=bool(request.stream)),
        keeper if is_kept else None,
        owner,
        ITEMS.dump_json(items, by_alias=True).decode(),
        stream=bool(request.stream),
        is_background=bool(request.background),
    )


def _parsed(body: bytes) -> ResponseRequest:
    try:
        return ResponseRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error, ResponseRequest.model_fields, BRANCHES) from error


def _is_kept(request: ResponseRequest, keeper: Keeper | None) -> bool:
    """Responses are kept unless the client, or whoever runs the server, does not want it."""
    if keeper is None:
        for name, is_wanted in (
            ("store", request.store),
            ("background", request.background),
            ("previous_response_id", request.previous_response_id is not None),
        ):
            if is_wanted:
                message = f"this server keeps no responses, so that {name} has nothing to work with; leave it out"
                raise ApiError(400, message, code="no_store", param=name)
        return False
    if request.background and request.store is False:
        message = "background=true needs store=true: the response has to be kept until it is asked for"
        raise ApiError(400, message, code="invalid_value", param="background")
    return request.store is not False


def _look_up(keeper: Keeper | None, owner: str | None, id: str, param: str) -> KeptItem:
    response_id = response_of_item(id)
    kept = keeper.find(response_id, owner) if keeper is not None and response_id is not None else None
    for item in () if kept is None else kept_items(kept):
        if item.id == id:
            return item
    raise ApiError(
        404, f"{param}={id!r} is no item of a response that is stored here; send the item itself", code="item_not_found", param=param
    )


def _messages(
    request: ResponseRequest, items: Sequence[KeptItem], core: Core, keeper: Keeper | None, owner: str | None
) -> tuple[Message, ...]:
    earlier: list[tuple[str, KeptItem]] = []
    if request.previous_response_id is not None and keeper is not None:
        # A stored conversation may be as large as one that is sent whole.
        for kept in keeper.chain(request.previous_response_id, owner, core.limits.body_bytes):
            earlier += [(f"previous_response_id ({kept.id}).{place}", item) for place, item in enumerate(kept_items(kept))]
    conversation = core.conversation("input")
    expect(conversation, [*(item for _, item in earlier), *items])
    if request.instructions is not None:
        conversation.say("system", [Text(request.instructions)])
    turns = Turns(conversation)
    for param, item in earlier:
        turns.add(item, param)
    for place, item in enumerate(items):
        turns.add(item, f"input[{place}]")
    turns.close()
    return conversation.messages


def _tools(request: ResponseRequest, core: Core) -> tuple[tuple[Mapping[str, Any], ...], pipeline.ToolChoice]:
    """The tools, and which of them may or must be called."""
    offered = list(flat(request.tools or ()))
    tools, given = described_functions([each.tool for each in offered], [each.param for each in offered], core), request.tool_choice
    if isinstance(given, str | None):
        if given == "required" and not tools:
            message = "tool_choice=required, but there are no tools to call; send some"
            raise ApiError(400, message, code="invalid_value", param="tool_choice")
        return tools, given or "auto"
    forced = [given] if isinstance(given, ForcedFunction) else given.tools
    for each in forced:
        if each.name not in {tool["function"]["name"] for tool in tools}:
            message = f"tool_choice names {each.name!r}, which is not among the tools; offer it or name another"
            raise ApiError(400, message, code="invalid_value", param="tool_choice")
    if isinstance(given, AllowedTools):
        allowed = {each.name for each in forced}
        return tuple(tool for tool in tools if tool["function"]["name"] in allowed), given.mode
    return tools, NamedTool(given.name)


def _grammar(request: ResponseRequest, core: Core) -> Grammar | None:
    form = request.text.format if request.text is not None else None
    if not isinstance(form, JsonObjectFormat | JsonSchemaFormat):
        return None
    if isinstance(form, JsonObjectFormat):
        return Grammar.json_schema({"type": "object"})
    check_schema(form.json_schema, core.limits, "text.format.schema")
    return Grammar.json_schema(form.json_schema)


_DEFAULTS = Sampling()


def _begun(request: ResponseRequest, id: str, model: str, is_kept: bool) -> ResponseObject:
    """The response before anything is said. Sampling options that were left out are told as what the engine takes instead."""
    return ResponseObject(
        id=id,
        created_at=int(time.time()),
        status="queued" if request.background and not request.stream else "in_progress",
        background=bool(request.background),
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        model=model,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id,
        prompt_cache_key=request.prompt_cache_key,
        reasoning=request.reasoning or Reasoning(),
        safety_identifier=request.safety_identifier,
        store=is_kept,
        text=request.text or TextConfig(),
        tool_choice=request.tool_choice or "auto",
        tools=request.tools or [],
        top_logprobs=request.top_logprobs or 0,
        user=request.user,
        metadata=request.metadata or {},
        temperature=_or(request.temperature, _DEFAULTS.temperature),
        top_p=_or(request.top_p, _DEFAULTS.top_p),
        presence_penalty=_or(request.presence_penalty, _DEFAULTS.presence_penalty),
        frequency_penalty=_or(request.frequency_penalty, _DEFAULTS.frequency_penalty),
    )


def _or(given: float | None, default: float) -> float:
    return default if given is None else given
