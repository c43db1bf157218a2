"""Calls that must come, at most one call, and calls held to their schema: a model that knows nothing still obeys."""

import json
from typing import Any

import pytest

from puna.engine import Grammar, Token
from puna.pipeline import Answer, Ask, NamedTool, Pipeline, ToolError
from puna.pipeline.forced import grammar_of
from puna.pipeline.reader import AnswerReader
from puna.stream import Message, Text
from puna.testing.models import tiny_model
from puna.testing.tokenizer import byte_tokenizer

pytestmark = pytest.mark.anyio
HELLO = (Message("user", (Text("Hello"),)),)
PLACE = {"type": "object", "properties": {"place": {"enum": ["Cusco", "Puno"]}}, "required": ["place"]}


def tool(name: str, parameters: Any = PLACE, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


TOOLS = (tool("weather"), tool("hotels"))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline("tiny", tiny_model(), byte_tokenizer())


async def calls(pipeline: Pipeline, **options: Any) -> Answer:
    ask = Ask(messages=HELLO, max_tokens=2000, temperature=1.0, **{"tools": TOOLS, **options})
    return Answer.of([event async for event in pipeline.answer([pipeline.prepare(ask)])], ask.n)


async def test_a_required_call_comes_whatever_the_model_would_say(pipeline: Pipeline) -> None:
    answer = await calls(pipeline, tool_choice="required", n=4, seed=1)
    for choice in answer.choices:
        assert choice.reason == "tool_calls" and choice.text == "" and choice.calls
        for call in choice.calls:
            assert call.name in ("weather", "hotels") and call.call is not None
            assert call.call.arguments["place"] in ("Cusco", "Puno")


async def test_a_named_tool_is_called_once(pipeline: Pipeline) -> None:
    answer = await calls(pipeline, tool_choice=NamedTool("hotels"), n=4, seed=2)
    assert [[call.name for call in choice.calls] for choice in answer.choices] == [["hotels"]] * 4


async def test_without_parallel_calls_there_is_one(pipeline: Pipeline) -> None:
    answer = await calls(pipeline, tool_choice="required", parallel_tool_calls=False, n=6, seed=3)
    assert [len(choice.calls) for choice in answer.choices] == [1] * 6


def test_a_free_choice_is_free_unless_a_tool_is_strict_or_calls_are_counted() -> None:
    assert grammar_of(Ask(tools=TOOLS)) is None and grammar_of(Ask()) is None
    assert grammar_of(Ask(parallel_tool_calls=False)) is None
    assert grammar_of(Ask(tools=TOOLS, parallel_tool_calls=False, tool_choice="none")) is None
    for ask in (Ask(tools=TOOLS, parallel_tool_calls=False), Ask(tools=(tool("weather", strict=True),))):
        grammar = grammar_of(ask)
        assert grammar is not None and grammar.kind == "lark"


FORM = {"type": "object", "properties": {"name": {"const": "weather"}, "parameters": PLACE}, "required": ["name", "parameters"]}
FORM["additionalProperties"] = PLACE["additionalProperties"] = False  # type: ignore[assignment]


async def test_an_answer_is_of_its_form_or_calls_even_where_the_form_looks_like_a_call(pipeline: Pipeline) -> None:
    said = called = 0
    for seed in range(4):
        answer = await calls(pipeline, grammar=Grammar.json_schema(FORM), n=8, seed=10 * seed)
        for choice in answer.choices:
            if choice.calls:
                assert choice.reason == "tool_calls" and choice.text == ""
                assert all(call.call is not None and call.call.arguments["place"] in ("Cusco", "Puno") for call in choice.calls)
                called += 1
            else:
                assert choice.reason == "stop" and json.loads(choice.text)["parameters"]["place"] in ("Cusco", "Puno")
                said += 1
    assert said and called


async def test_where_a_call_must_come_or_none_may_there_is_no_choice(pipeline: Pipeline) -> None:
    form = Grammar.json_schema(FORM)
    for choice in (await calls(pipeline, grammar=form, tool_choice="required", n=4, seed=5)).choices:
        assert choice.calls and choice.text == ""
    for choice in (await calls(pipeline, grammar=form, tool_choice=NamedTool("hotels"), n=4, seed=6)).choices:
        assert [call.name for call in choice.calls] == ["hotels"]
    assert grammar_of(Ask(tools=TOOLS, grammar=form, tool_choice="none")) == form
    for choice in (await calls(pipeline, grammar=form, tool_choice="none", n=4, seed=7)).choices:
        assert not choice.calls and json.loads(choice.text)["name"] == "weather"


def read(text: str, stops: tuple[str, ...] = (), is_cut: bool = False) -> Answer:
    """What a reader of a form or calls tells of a text, a byte a token."""
    reader = AnswerReader(0, byte_tokenizer(), (), stops=stops, tools=["weather", "hotels"], has_form_or_calls=True)
    ending = [] if is_cut else [Token(byte_tokenizer().special.eot, None, (), "stop")]
    tokens = [*(Token(byte, None, (), None) for byte in text.encode()), *ending]
    events = [event for token in tokens if not reader.is_done for event in reader.push(token)]
    return Answer.of([*events, *reader.close()])


@pytest.mark.parametrize(
    "text", ['{"name": "weather", "parameters": {"a": 1}}', '[{"name": "weather", "parameters": {}}]', '"\\n[weather()]"', "[", ""]
)
def test_what_does_not_begin_as_calls_is_text(text: str) -> None:
    assert (read(text).choices[0].text, read(text).choices[0].calls) == (text, [])


def test_what_begins_as_calls_is_calls() -> None:
    (choice,) = read('[hotels(place="Cusco"), weather()]').choices
    assert ([call.name for call in choice.calls], choice.text, choice.reason) == (["hotels", "weather"], "", "tool_calls")


def test_a_beginning_that_is_cut_off_is_text() -> None:
    assert read("[weath", is_cut=True).choices[0].text == "[weath"
    assert read("[weather(a=1)", stops=("er",)).choices[0].text == "[weath"


def test_the_model_is_not_told_how_strict_a_tool_is(pipeline: Pipeline) -> None:
    plain, strict = (pipeline.prepare(Ask(messages=HELLO, tools=(tool("weather", **more),))) for more in ({}, {"strict": True}))
    assert plain.prompt_tokens == strict.prompt_tokens


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(tool_choice="required"), "no tool is on offer"),
        (dict(tools=TOOLS, tool_choice=NamedTool("flights")), "'flights'.*weather, hotels"),
        (dict(tools=TOOLS, grammar=Grammar.regex("a+")), "regular expression a.* beside tool calls"),
        (dict(tools=(tool("weather", {"type": "array"}),), grammar=Grammar.json_schema({})), "'weather'.*object"),
        (dict(tools=(tool("weather", {"type": "array"}),), tool_choice="required"), "'weather'.*object"),
        (dict(tools=(tool("weather", {"not": {}}, strict=True),)), "'not'"),
    ],
)
def test_what_cannot_be_forced_is_refused(pipeline: Pipeline, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolError, match=words):
        pipeline.prepare(Ask(messages=HELLO, **options))
