"""Whatever the logits say, a reply under a grammar of calls is read as calls whose arguments obey their schemas."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from puna.engine import Constraint, Grammar, GrammarCompiler, GrammarError, Sampler, Sampling
from puna.stream import ToolCall
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.call_grammar import FORMATS, NOT_HELD, call_grammar, check_schema
from puna.tokens.errors import ChatError
from puna.tokens.tool_calls import read_calls, write_calls

BYTES = byte_tokenizer()
EOS = [BYTES.special.eot, BYTES.special.eom]
COMPILER = GrammarCompiler(
    [BYTES.token_bytes(token) for token in range(BYTES.vocab_size)], range(BYTES.special.base, BYTES.vocab_size), EOS, BYTES.encode
)


def tool(name: str, parameters: Any = None, **fields: Any) -> dict[str, Any]:
    definition = {"name": name, **fields} | ({} if parameters is None else {"parameters": parameters})
    return {"type": "function", "function": definition}


def object_of(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


UNIT = {"type": "string", "enum": ["C", "F"], "description": "Celsius or Fahrenheit"}
WEATHER = tool(
    "get_weather", object_of(["city"], city={"type": "string", "maxLength": 6}, days={"type": "integer", "maximum": 9}, unit=UNIT)
)
NODE = object_of(["value"], value={"type": "boolean"}, left={"$ref": "#/$defs/node"})
TREE = tool("tree-2.x", {**object_of(["root"], root={"$ref": "#/$defs/node"}), "$defs": {"node": NODE}}, strict=True)
EITHER = tool("either", {"anyOf": [object_of(["a"], a={"const": 1}), object_of(["b c"], **{"b c": {"const": 'é"\n'}})]}, strict=True)
MAP = tool("map", {"type": "object", "additionalProperties": {"type": ["null", "number"]}})
NOW = tool("now")
TOOLS = [WEATHER, TREE, EITHER, MAP, NOW]


def obeys(call: ToolCall) -> bool:
    given = dict(call.arguments)
    if call.name == "get_weather":
        days, unit = given.get("days", 0), given.get("unit", "C")
        is_known = set(given) <= {"city", "days", "unit"} and isinstance(given["city"], str) and len(given["city"]) <= 6
        return is_known and isinstance(days, int) and days <= 9 and unit in ("C", "F")
    if call.name == "tree-2.x":
        return set(given) == {"root"} and is_node(given["root"])
    if call.name == "either":
        return given in ({"a": 1}, {"b c": 'é"\n'})
    if call.name == "map":
        return all(value is None or isinstance(value, int | float) for value in given.values())
    return call.name == "now" and not given


def is_node(value: Mapping[str, Any]) -> bool:
    return isinstance(value["value"], bool) and (set(value) == {"value"} or (set(value) == {"value", "left"} and is_node(value["left"])))


def random_reply(rules: str, seed: int, most: int = 1500, wants: str = '"]})', start: str = "") -> str:
    """What random logits write under the rules, in bytes; what closes things is likelier, as it is for a model."""
    rng, sampler = (
        np.random.default_rng(seed),
        Sampler(
            Sampling(temperature=1.0, seed=seed), np.zeros(0, np.int64), BYTES.vocab_size, constraint=COMPILER.compile(Grammar.lark(rules))
        ),
    )
    lean = np.array([6.0 * (token in EOS or (token < 128 and chr(token) in wants)) for token in range(BYTES.vocab_size)], dtype=np.float32)
    ids = BYTES.encode(start)
    for token in ids:
        sampler.accept(token)
    while len(ids) < most:
        token = sampler.choose(torch.from_numpy(2 * rng.normal(size=BYTES.vocab_size).astype(np.float32) + lean)).token
        if token in EOS:
            return BYTES.decode(ids)
        sampler.accept(token)
        ids.append(token)
    pytest.fail(f"no end within {most} tokens: {BYTES.decode(ids)!r}")


def allows(rules: str, text: str) -> bool:
    return _allows(Grammar.lark(rules), text)


def allows_form(schema: Mapping[str, Any], text: str) -> bool:
    return _allows(Grammar.json_schema(schema), text)


def _allows(grammar: Grammar, text: str) -> bool:
    constraint: Constraint = COMPILER.compile(grammar)
    try:
        for byte in text.encode():
            constraint.accept(byte)
        constraint.accept(EOS[0])
    except GrammarError:
        return False
    return True


NAMES = [each["function"]["name"] for each in TOOLS]


@pytest.mark.parametrize("parallel", [True, False])
def test_random_logits_write_calls_that_obey_their_schemas(parallel: bool) -> None:
    rules, called = call_grammar(TOOLS, must_call=True, parallel=parallel), set[str]()
    several = 0
    for seed in range(60):
        text = random_reply(rules, seed)
        read = read_calls(text, NAMES)
        assert read.text == "" and read.calls and all(map(obeys, read.calls)), text
        called |= {call.name for call in read.calls}
        several += len(read.calls) > 1
    assert called == set(NAMES)
    assert (several > 0) == parallel


@pytest.mark.parametrize("name", NAMES)
def test_a_named_tool_is_the_only_one_that_can_be_called(name: str) -> None:
    rules = call_grammar(TOOLS, must_call=True, only=name)
    for seed in range(8):
        read = read_calls(random_reply(rules, seed), NAMES)
        assert read.calls and all(call.name == name and obeys(call) for call in read.calls)


def test_text_may_stay_text_and_a_call_in_it_obeys_its_schema() -> None:
    rules = call_grammar([WEATHER, NOW], must_call=False)
    for text in ("", "Hello [1], {2} and <b>.", "- [ ] get_weather (see below)", '{"name": "Ada"}', '[get_weather(city="Oslo")]'):
        assert allows(rules, text), text
    assert allows(rules, 'Let me look.\n[get_weather(city="Oslo", unit="F"), now()]')
    for text in (
        "[get_weather(days=1)]",
        "[ \n get_weather (city=1)]",
        '[get_weather(city="Oslo", days=10)]',
        "[now(x=1)]",
        '[get_weather(city="Oslo")] And then?',
        '{"name": "get_weather", "parameters": {"city": 1}}',
        '{"type": "function", "name":"now", "parameters": {}}',
        "<function=now>{}</function>",
    ):
        assert not allows(rules, text), text


@pytest.mark.parametrize("start", ["[get_weather(", "[now(", "Hm. [ get_weather(", "Well:\n[now()"])
def test_a_call_that_was_begun_in_text_goes_on_under_its_rules(start: str) -> None:
    rules = call_grammar([WEATHER, NOW], must_call=False)
    for seed in range(10):
        text = random_reply(rules, seed, start=start, wants='"])(')
        read = read_calls(text, ["get_weather", "now"])
        assert read.text == start[: start.index("[")] and read.calls and all(map(obeys, read.calls)), text


ANY_ARRAY = {"type": "array", "items": {}}
ODD = [tool("true", object_of([], a={})), tool("1e5"), tool("null.x", object_of(["s"], s={"type": "string", "maxLength": 3})), tool("f")]
FORMS = [
    object_of(["city"], city={"enum": ["Oslo", "Rome"]}, days={"type": "integer"}),
    {"type": "object"},
    ANY_ARRAY,
    {"type": "string", "maxLength": 9},
    {"type": ["number", "boolean", "null"]},
    {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    {},
]


@pytest.mark.parametrize("form", FORMS)
def test_beside_a_form_the_reply_is_that_form_or_calls_and_nothing_between(form: dict[str, Any]) -> None:
    """The two as one are exactly the two: of what either writes, and of that with a byte changed, taken away or put in."""
    calls, either = call_grammar(ODD, must_call=True), call_grammar(ODD, must_call=False, form=form)
    rng = np.random.default_rng(0)
    texts = [*(random_reply(either, seed, most=6000) for seed in range(12)), *(random_reply(calls, seed, most=6000) for seed in range(4))]
    texts += ["", "[", "[]", "[true]", "[true, 1]", "[true,1]", "[1e5]", "[1e5(]", "[1e5()]", "[1e5(), 1]", "[null]", "[null.x(s=1)]"]
    texts += [' {"a":1}', '{"a":1} ', '{"a": 1}', '{"city":"Oslo"}[f()]', '[f()]{"city":"Oslo"}', "[[f()]]", '["f()"]', "f()", '"[f()]"']
    for text in [text for text in texts if len(text) < 400 and text]:
        place = int(rng.integers(len(text)))
        byte = chr(int(rng.choice(list(b'[](){}",:= e1f'))))
        texts += [text[:place] + text[place + 1 :], text[:place] + byte + text[place:], text[:place] + byte + text[place + 1 :]]
    allowed = 0
    for text in texts:
        expected = allows_form(form, text) or allows(calls, text)
        assert allows(either, text) == expected, text
        allowed += expected
    assert 16 < allowed < len(texts)


def test_beside_a_form_both_are_written() -> None:
    form = object_of(["city"], city={"enum": ["Oslo", "Rome"]})
    replies = [random_reply(call_grammar(TOOLS, must_call=False, form=form), seed, most=6000) for seed in range(60)]
    said = [reply for reply in replies if reply.startswith("{")]
    assert 0 < len(said) < len(replies) and all(json.loads(reply)["city"] in ("Oslo", "Rome") for reply in said)
    for reply in set(replies) - set(said):
        read = read_calls(reply, NAMES)
        assert read.text == "" and read.calls and all(map(obeys, read.calls)), reply
    one = call_grammar([WEATHER], must_call=False, form=form, parallel=False)
    assert allows(one, '[get_weather(city="Oslo")]') and not allows(one, '[get_weather(city="Oslo"), get_weather(city="Oslo")]')


def test_calls_are_spaced_as_they_are_written_in_training() -> None:
    anything = tool("f", object_of([], a={}, b={}))
    rules = call_grammar([anything, NOW], must_call=True)
    written = write_calls([ToolCall("f", {"a": [1, {"k": "é"}], "b": -0.5}), ToolCall("now", {}), ToolCall("f", {"b": "x"})])
    assert allows(rules, written)
    for text in (
        written.replace(", ", ","),
        written.replace(", ", ",  "),
        written.replace(": ", ":"),
        written.replace("=", " = "),
        f"{written}\n",
    ):
        assert not allows(rules, text)


def test_optional_arguments_may_be_left_out_and_required_ones_may_not() -> None:
    one = {"const": 1}
    rules = call_grammar([tool("f", object_of(["b"], a=one, b=one, c=one))], must_call=True)
    good = ["b=1", "a=1, b=1", "b=1, c=1", "a=1, b=1, c=1"]
    for inside in [*good, "", "a=1", "c=1", "a=1, c=1", "b=1, a=1", ", b=1", "b=1,", "b=1, b=1"]:
        assert allows(rules, f"[f({inside})]") == (inside in good), inside


@pytest.mark.parametrize(
    "parameters", [None, {}, {"type": "object"}, {"type": "dict"}, {"type": "object", "properties": {}, "required": []}]
)
def test_a_tool_without_parameters_is_called_without_arguments(parameters: Any) -> None:
    rules = call_grammar([tool("f", parameters)], must_call=True)
    assert allows(rules, "[f()]") and not allows(rules, "[f(a=1)]") and not allows(rules, "[f(**{})]")


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": True},
        {"type": "object", "properties": {"a": {"const": 1}}, "patternProperties": {"^x": {}}},
        {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "minProperties": 1},
        {"type": "object", "properties": {"a": {"const": 1}, "a b": {}}},
        {"type": "object", "properties": {"a": {"const": 1}, "b": {"$ref": "#/properties/a"}}},
        {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a", "b"], "additionalProperties": {"type": "string"}},
        {"$ref": "#/$defs/o", "$defs": {"o": {"type": "object", "properties": {"a": {"const": 1}}}}},
        {"type": ["object", "null"], "allOf": [{"properties": {"a": {"const": 1}}}]},
    ],
)
def test_an_object_that_is_more_than_its_properties_is_kept_whole(parameters: Any) -> None:
    rules = call_grammar([tool("f", parameters, strict=True)], must_call=True)
    good = '{"a": 1, "b": "x"}' if "b" in parameters.get("required", ()) else '{"a": 1}'
    assert allows(rules, f"[f(**{good})]") and not allows(rules, '[f(**{"a": 2})]') and not allows(rules, "[f(a=1)]")
    assert read_calls(f"[f(**{good})]", ["f"]).calls == (ToolCall("f", json.loads(good)),)


def test_words_for_readers_cost_nothing_and_properties_may_be_called_like_them() -> None:
    long = "x" * 5000
    parameters = object_of(["title"], title={"type": "string", "description": long, "title": long}, default={"items": {"examples": [long]}})
    rules = call_grammar([tool("f", {**parameters, "description": long, "$schema": "https://example.com/odd"})], must_call=True)
    assert len(rules) < 1000
    assert allows(rules, '[f(title="a", default=[1])]') and not allows(rules, "[f(default=[1])]")


VALUES = {"required": ["a"], "uniqueItems": True, "minContains": 1, "maxContains": 2, "$dynamicRef": "#a", "$dynamicAnchor": "a"}


@pytest.mark.parametrize("word", NOT_HELD)
def test_what_a_strict_answer_cannot_be_held_to_is_refused_by_name(word: str) -> None:
    value = VALUES.get(word, "#" if "Ref" in word else {})
    parameters = object_of([], deep={"type": "array", "items": {"anyOf": [{"type": "null"}, {word: value}]}})
    with pytest.raises(ChatError, match=rf"tool 'f': parameters\.properties\.deep\.items\.anyOf\.1 uses '{word.replace('$', '.')}'"):
        call_grammar([tool("f", parameters, strict=True)], must_call=True)
    with pytest.raises(GrammarError, match="Unimplemented"):  # the list is what the parser says
        COMPILER.compile(Grammar.json_schema({word: value}))
    COMPILER.compile(Grammar.lark(call_grammar([tool("f", parameters)], must_call=True)))


def test_formats_are_those_that_the_parser_holds_to() -> None:
    for name in FORMATS:
        COMPILER.compile(
            Grammar.lark(call_grammar([tool("f", object_of([], a={"type": "string", "format": name}), strict=True)], must_call=True))
        )
    for name in ("idn-email", "uri-template", "regex", "int32"):
        odd = object_of([], a={"type": "string", "format": name})
        with pytest.raises(ChatError, match=f"properties.a uses the format '{name}'"):
            call_grammar([tool("f", odd, strict=True)], must_call=True)
        with pytest.raises(GrammarError, match=name):
            COMPILER.compile(Grammar.json_schema(odd))
    call_grammar(
        [tool("f", object_of([], a={"type": "integer", "format": "int32"}, b={"uniqueItems": False}), strict=True)], must_call=True
    )


@pytest.mark.parametrize(
    ("tools", "options", "words"),
    [
        ([], {}, "no tool is on offer"),
        (TOOLS, {"only": "other"}, "tool 'other' is to be called, but the tools on offer are: get_weather, "),
        ([tool("two words")], {}, "'two words' cannot be written"),
        ([NOW, NOW], {}, "'now' is offered twice"),
        ([tool("f", [1])], {}, "tool 'f': its parameters are list"),
        ([tool("f", {"type": "array"})], {}, "tool 'f': its parameters have type 'array'"),
        ([tool("f", {"const": {1}})], {}, "tool 'f': its parameters cannot be written as JSON"),
    ],
)
def test_tools_that_cannot_be_called_are_refused(tools: list[Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ChatError, match=words):
        call_grammar(tools, must_call=True, **options)


def test_a_schemas_own_options_for_the_parser_have_no_effect() -> None:
    spaced = {"x-guidance": {"whitespace_flexible": True}, "type": "array"}
    rules = call_grammar([tool("f", object_of([], a=spaced) | {"x-guidance": {"lenient": True}})], must_call=True)
    assert allows(rules, "[f(a=[])]") and not allows(rules, "[f(a=[ ])]")


def test_schemas_are_bounded_and_the_error_names_the_place() -> None:
    check_schema({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}, 1000, 5)
    with pytest.raises(ValueError, match=r"the JSON schema: properties.a.items is nested more than 3 levels deep"):
        check_schema({"properties": {"a": {"items": {}}}}, max_depth=3)
    with pytest.raises(ValueError, match=r"has 2\d\d bytes, most of them in 'b'; at most 100 are read"):
        check_schema({"a": "x", "b": ["y" * 200]}, max_bytes=100)
    endless: dict[str, Any] = {}
    endless["items"] = endless
    with pytest.raises(ValueError, match=r"items\.items.* is nested more than 64 levels deep"):
        check_schema(endless)
