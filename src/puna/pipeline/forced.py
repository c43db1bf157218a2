"""What an ask forces its answer to be: a grammar of its own, calls of its tools, or one of the two."""

import json
from collections.abc import Mapping
from typing import Any

from puna.engine import Grammar
from puna.messages import RequestError
from puna.pipeline.ask import Ask, NamedTool
from puna.tokens.call_grammar import call_grammar
from puna.tokens.chat import tool_definition
from puna.tokens.errors import ChatError


class ToolError(RequestError):
    """Tools that cannot be offered, or calls that cannot be forced, as the ask wants it."""


def grammar_of(ask: Ask) -> Grammar | None:
    """The form of the answer, None for any.

    Calls are held to rules where the ask says that one must come, or at most one, where a tool is strict, or where what is no call has a
    form; else the model is free, and may err.
    """
    tools = ask.offered_tools
    if ask.grammar is not None and not tools and not ask.must_call:
        return ask.grammar
    is_strict = any(tool_definition(tool).get("strict") for tool in tools)
    if not (ask.must_call or ask.has_form_or_calls or tools and (is_strict or not ask.parallel_tool_calls)):
        return None
    only = ask.tool_choice.name if isinstance(ask.tool_choice, NamedTool) else None
    parallel = ask.parallel_tool_calls and only is None
    try:
        return Grammar.lark(call_grammar(tools, must_call=ask.must_call, only=only, parallel=parallel, form=_form_beside_calls(ask)))
    except ChatError as error:
        raise ToolError(str(error)) from error


def _form_beside_calls(ask: Ask) -> Mapping[str, Any] | None:
    if not ask.has_form_or_calls or ask.grammar is None:
        return None
    if ask.grammar.kind != "json_schema":  # its texts might begin like calls, and nobody could tell which they are
        raise ToolError(f"{ask.grammar} cannot stand beside tool calls, only a JSON schema can; give that, or let no tool be called")
    return json.loads(ask.grammar.source)


def as_offered(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool as the model is told of it: how strictly its calls are held to its schema is not the model's business."""
    return {key: value for key, value in tool_definition(tool).items() if key != "strict"}
