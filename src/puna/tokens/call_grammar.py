"""Grammars that hold a reply to tool calls, to calls or JSON, or the calls in it to their tools' schemas: rules in llguidance's Lark, for
`Grammar.lark`.

What they let a model write is Meta's pythonic list, in exactly the spacing that it is trained on, with values in JSON:
`[get_weather(city="Paris", days=3), now()]`. `ReplyReader` reads all of it. No space may be repeated, so that a model that has lost its way
cannot write spaces for ever.

A tool's parameters become arguments in the order of its schema. A schema that says more about the object than its properties, such as
`anyOf` or `additionalProperties`, is kept whole: `f(**{...})`. Tools with "strict": true are held to every word of their schema, and
refused if it uses what cannot be held to; for other tools such words are left out.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from puna.tokens.chat import tool_definition
from puna.tokens.errors import ChatError

_MOST_CALLS = 32  # in one reply: a model that has lost its way would call for ever
_MOST_REPEATED = 1 << 13  # bytes of definitions, which are written once for every argument
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]*")
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_SPACE = r"[\s\x1c-\x1f]*"  # what the reader of calls skips

# Words of JSON Schema that hold schemas, by how they hold them.
_ONE = ("items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains", "propertyNames", "contentSchema")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
# Words for readers, and one that says nothing when it is false.
_FOR_READERS = (
    "$schema", "$comment", "title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly",
)  # fmt: skip
# Words that llguidance cannot hold an answer to.
NOT_HELD = (
    "not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties",
    "dependentSchemas", "dependentRequired", "dependencies", "propertyNames", "$dynamicRef", "$dynamicAnchor", "$recursiveRef",
)  # fmt: skip
FORMATS = ("date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "unknown")
# An object schema with no other words than these is a list of arguments.
_OF_ARGUMENTS = {"type", "properties", "required", "additionalProperties", "$defs", "definitions", "$id"}


def call_grammar(
    tools: Sequence[Mapping[str, Any]],
    *,
    must_call: bool,
    only: str | None = None,
    parallel: bool = True,
    form: Mapping[str, Any] | None = None,
) -> str:
    """The rules, as Lark.

    must_call: nothing but calls (tool_choice "required"); otherwise the reply may be text, and end in calls. only: the one tool that may be
    called (a named tool_choice, which goes with `must_call`). parallel: whether several calls may stand in one reply.
    form: a JSON schema; the reply is then compact JSON that follows it, or nothing but calls. Its beginning tells which: behind the bracket
    of a list of calls stands a name and its bracket, `[f(`, and no JSON begins so.
    Raises `ChatError` for a tool that is not on offer, or a schema that cannot be held to: it names the tool, the place and the word.
    """
    definitions = [tool_definition(tool) for tool in tools]
    if only is not None:
        definitions = [definition for definition in definitions if definition["name"] == only]
        if not definitions:
            known = ", ".join(tool_definition(tool)["name"] for tool in tools) or "none"
            raise ChatError(f"tool {only!r} is to be called, but the tools on offer are: {known}")
    if not definitions:
        raise ChatError("a call is to be made, but no tool is on offer; give at least one")
    names = [definition["name"] for definition in definitions]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ChatError(f"tool name {name!r} cannot be written as a call; use letters, digits and _ . : / - only")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ChatError(f"tool {twice!r} is offered twice; names of tools must differ")
    calls = " | ".join(f'"{name}(" tool_{place} ")"' for place, name in enumerate(names))
    more = f'(", " call){{0,{_MOST_CALLS - 1}}}' if parallel else ""
    is_list = must_call or form is not None
    rules = [f"call: {calls}"] if is_list or parallel else []
    rules += [f'start: {"form | " if form is not None else ""}"[" call {more} "]"'] if is_list else _after_text(names, more)
    rules += [] if form is None else [f"form: {_value(form, {}, {'whitespace_flexible': False})}"]
    for place, definition in enumerate(definitions):
        rules += _arguments(f"tool_{place}", definition)
    return "\n".join(rules) + "\n"


def _after_text(names: Sequence[str], more: str) -> list[str]:
    """Any text in which no call of these tools begins; where a pythonic one begins, its rules take over."""
    any_name = "|".join(map(_escaped, names))
    begins = [rf"\[{_SPACE}({any_name}){_SPACE}\(", rf'"name"{_SPACE}:{_SPACE}"({any_name})"', rf"<function=({any_name})>"]
    rules = ["start: " + " | ".join([*(f'until_{place} tool_{place} ")" {more} "]"' for place in range(len(names))), "TEXT"])]
    rules += [f"until_{place}[lazy]: UNTIL_{place}" for place in range(len(names))]
    rules += [rf"UNTIL_{place}: TEXT /\[{_SPACE}{_escaped(name)}{_SPACE}\(/" for place, name in enumerate(names)]
    return [*rules, f"TEXT: /(?s:.*)/ & ~/(?s:.*)({'|'.join(begins)})(?s:.*)/"]


def _escaped(name: str) -> str:
    return re.sub(r"[.:/-]", r"\\\g<0>", name)


def _arguments(rule: str, definition: Mapping[str, Any]) -> list[str]:
    """The rules of what stands between a call's brackets."""
    tool, is_strict = f"tool {definition['name']!r}", definition.get("strict") is True
    given = definition.get("parameters")
    if given is None:
        return [f'{rule}: ""']
    if not isinstance(given, Mapping):
        raise ChatError(f"{tool}: its parameters are {type(given).__name__}; give a JSON schema")
    check_schema(given, what=f"{tool}: its parameters")
    if is_strict:
        _check_held(given, tool)
    schema = _bare(given)
    kinds = schema.get("type", "object")
    if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        raise ChatError(f"{tool}: its parameters have type {kinds!r}; a call's arguments are an object")
    schema["type"] = "object"
    options = _SPACING if is_strict else _SPACING | {"lenient": True}
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    if not _is_of_arguments(schema, shared):
        return [f'{rule}: "**" {_value(schema, {}, options)}']
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if not properties:
        return [f'{rule}: ""']
    return list(_argument_rules(rule, {name: _value(value, shared, options) for name, value in properties.items()}, required))


def _argument_rules(rule: str, values: Mapping[str, str], required: Sequence[str]) -> Iterator[str]:
    """Optional arguments may be left out, so that what follows one depends on whether it is the first: two rules for each place."""
    yield f"{rule}: {rule}_first_0"
    last = len(values)
    for place, (name, value) in enumerate(values.items()):
        left_out = [] if name in required else [""]
        yield f"{rule}_value_{place}: {value}"
        for comma, now in (("", "first"), (", ", "then")):
            written = f'"{comma}{name}=" {rule}_value_{place} {rule}_then_{place + 1}'
            yield f"{rule}_{now}_{place}: " + " | ".join([written, *(f"{rule}_{now}_{place + 1}" for _ in left_out)])
    yield f'{rule}_first_{last}: ""'
    yield f'{rule}_then_{last}: ""'


def _is_of_arguments(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> bool:
    """Whether the object can be written as arguments, each of which knows its own schema."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.keys() - _OF_ARGUMENTS or schema.get("additionalProperties", False) is not False or not isinstance(properties, Mapping):
        return False
    if len(json.dumps(shared)) * len(properties) > _MOST_REPEATED and shared:
        return False
    if not isinstance(required, list) or any(name not in properties for name in required):
        return False
    for name, value in properties.items():
        if (
            not _ARGUMENT.fullmatch(name)
            or value is False
            or (isinstance(value, Mapping) and value.keys() & {"$defs", "definitions", "$id"})
        ):
            return False
    return all(reference.startswith(("#/$defs/", "#/definitions/")) for reference in _references(schema))


def _value(schema: Any, shared: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    whole = {**(schema if isinstance(schema, Mapping) else {}), **shared, "x-guidance": options}
    return "%json " + json.dumps(whole, ensure_ascii=False)


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The schemas directly inside this one, with the keys that lead to them."""
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, Mapping):
            yield from (((key, name), inner) for name, inner in value.items())
        elif key in _MANY and isinstance(value, list):
            yield from (((key, str(place)), inner) for place, inner in enumerate(value))
        elif key in _ONE:
            yield (key,), value


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield str(schema["$ref"])
        for _, inner in _inner(schema):
            yield from _references(inner)


def _bare(schema: Any) -> Any:
    """The schema without the words that are only for readers: a grammar's size is bounded."""
    if not isinstance(schema, Mapping):
        return schema
    bare: dict[Any, Any] = {}
    for key, value in schema.items():
        if key in _FOR_READERS or key == "x-guidance" or (key, value) == ("uniqueItems", False):
            continue
        if key in _NAMED and isinstance(value, Mapping):
            bare[key] = {name: _bare(inner) for name, inner in value.items()}
        elif key in _MANY and isinstance(value, list):
            bare[key] = [_bare(inner) for inner in value]
        else:
            bare[key] = _bare(value) if key in _ONE else value
    if bare.get("type") == "dict":
        bare["type"] = "object"  # so Meta's prompts write it
    return bare


def _check_held(schema: Any, tool: str, place: str = "parameters") -> None:
    if not isinstance(schema, Mapping):
        return
    way_out = 'leave it out, or offer the tool without "strict"'
    for word in NOT_HELD:
        if word in schema and (word, schema[word]) != ("uniqueItems", False):
            raise ChatError(f"{tool}: {place} uses {word!r}, to which an answer cannot be held; {way_out}")
    if "format" in schema and schema["format"] not in FORMATS and schema.get("type", "string") == "string":
        raise ChatError(f"{tool}: {place} uses the format {schema['format']!r}, to which an answer cannot be held; {way_out}")
    for keys, inner in _inner(schema):
        _check_held(inner, tool, ".".join((place, *keys)))


def check_schema(schema: Any, max_bytes: int = 1 << 16, max_depth: int = 64, what: str = "the JSON schema") -> None:
    """Raise `ChatError`, a ValueError, if a schema is no JSON, has more bytes or is nested deeper than that. It names the place.

    Without recursion, so that neither depth nor a schema that holds itself can do harm.
    """
    level: list[tuple[str, Any]] = [("", schema)]
    for _ in range(max_depth):
        level = [(f"{place}.{key}" if place else str(key), inner) for place, node in level for key, inner in _members(node)]
        if not level:
            break
    nested = next((place for place, node in level if isinstance(node, Mapping | list | tuple)), None)
    if nested is not None:
        raise ChatError(
            f"{what}: {_clipped(nested)} is nested more than {max_depth} levels deep; put its parts under $defs and refer to them"
        )
    try:
        size = len(json.dumps(schema, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise ChatError(f"{what} cannot be written as JSON: {error}") from error
    if size > max_bytes:
        biggest = max(_members(schema), key=lambda member: len(json.dumps(member[1])), default=("", None))[0]
        raise ChatError(
            f"{what} has {size} bytes, most of them in {_clipped(str(biggest))!r}; at most {max_bytes} are read; make it smaller"
        )


def _members(node: Any) -> Sequence[tuple[Any, Any]]:
    if isinstance(node, Mapping):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list | tuple) else []


def _clipped(place: str, most: int = 100) -> str:
    return place if len(place) <= most else f"{place[:most]}..."
