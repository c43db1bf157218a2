"""What an ask forces its answer to be: a grammar of its own, or calls of its tools."""

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

    Calls are held to rules where the ask says that one must come, or at most one, or where a tool is strict; else the model is free, and
    may err.
    """
    tools = ask.offered_tools
    must_call = ask.tool_choice == "required" or isinstance(ask.tool_choice, NamedTool)
    if ask.grammar is not None:
        if must_call:
            raise ToolError("the answer cannot be a tool call and have a form of its own; ask for one of them")
        return ask.grammar
    is_held = must_call or tools and (not ask.parallel_tool_calls or any(tool_definition(tool).get("strict") for tool in tools))
    if not is_held:
        return None
    only = ask.tool_choice.name if isinstance(ask.tool_choice, NamedTool) else None
    try:
        return Grammar.lark(call_grammar(tools, must_call=must_call, only=only, parallel=ask.parallel_tool_calls and only is None))
    except ChatError as error:
        raise ToolError(str(error)) from error


def as_offered(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool as the model is told of it: how strictly its calls are held to its schema is not the model's business."""
    return {key: value for key, value in tool_definition(tool).items() if key != "strict"}
