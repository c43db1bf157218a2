"""Tool calls as text: one form written, every known form read, everything else left alone."""

import json
import math
import random
import time

import pytest

from puna.stream import ToolCall
from puna.tokens.errors import ChatError
from puna.tokens.tool_calls import arguments_of, read_calls, write_calls

PARIS = ToolCall("get_weather", {"city": "Paris", "days": 3})
NOW = ToolCall("now", {})


def test_calls_are_written_as_a_python_list():
    assert write_calls([PARIS, NOW]) == '[get_weather(city="Paris", days=3), now()]'


def test_values_are_python_literals_with_strings_quoted_as_in_json():
    values = {"a": 'say "hi"\n', "b": [True, False, None, -1.5, 10**20], "c": {"d e": {"é": []}}}
    written = r'[f(a="say \"hi\"\n", b=[True, False, None, -1.5, 100000000000000000000], c={"d e": {"é": []}})]'
    assert write_calls([ToolCall("f", values)]) == written


def test_names_that_are_no_keywords_are_written_together_at_the_end():
    assert write_calls([ToolCall("f", {"x y": 1, "class": 2, "": 3})]) == '[f(class=2, **{"x y": 1, "": 3})]'


@pytest.mark.parametrize("name", ["", "two words", "f(", "f\n", "<|eot|>", "naïve", None])
def test_a_tool_name_that_cannot_be_read_back_is_refused(name):
    with pytest.raises(ChatError, match="cannot be written as a call"):
        write_calls([ToolCall(name, {})])


@pytest.mark.parametrize("arguments", [{"a": {1, 2}}, {"a": {1: 2}}, {"a": object()}, {"a": b"bytes"}, {1: 2}, '{"a": 1}'])
def test_arguments_that_json_does_not_have_are_refused(arguments):
    with pytest.raises(ChatError):
        write_calls([ToolCall("f", arguments)])


CALL = {"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}
OPENAI = {"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}
SAME = {
    "pythonic": '[get_weather(city="Paris", days=3)]',
    "pythonic with single quotes and spaces": "[ get_weather( city = 'Paris' , days = 3 , ) ]",
    "pythonic over several lines": '[\n  get_weather(\n    city="Paris",\n    days=3,\n  ),\n]\n',
    "pythonic without the closing bracket": '[get_weather(city="Paris", days=3)',
    "pythonic in a nested list": '[[get_weather(city="Paris", days=3)]]',
    "pythonic with a mapping": '[get_weather(**{"city": "Paris", "days": 3})]',
    "json with parameters": json.dumps(CALL),
    "json with arguments": json.dumps(OPENAI),
    "json with type": json.dumps({"type": "function", **CALL}),
    "json wrapped in function": json.dumps({"type": "function", "function": OPENAI}),
    "json with arguments as text": json.dumps({**OPENAI, "arguments": json.dumps(OPENAI["arguments"])}),
    "json with the name last": json.dumps(dict(reversed(CALL.items()))),
    "json over several lines": json.dumps(CALL, indent=2) + "\n",
    "json list": json.dumps([CALL]),
    "json list without the closing bracket": json.dumps([CALL])[:-1],
    "json with arguments before the name": json.dumps({"arguments": json.dumps(OPENAI["arguments"]), "id": 7, "name": "get_weather"}),
    "tagged": '<function=get_weather>{"city": "Paris", "days": 3}</function>',
    "tagged without the closing tag": '<function=get_weather>{"city": "Paris", "days": 3}',
}


@pytest.mark.parametrize("form", SAME)
def test_every_known_form_is_read(form):
    assert read_calls(SAME[form]) == ("", (PARIS,))


@pytest.mark.parametrize("form", SAME)
def test_text_before_a_call_is_kept_as_it_is(form):
    assert read_calls("Let me [1] look.\n\n" + SAME[form]) == ("Let me [1] look.\n\n", (PARIS,))


SEVERAL = {
    "pythonic": '[get_weather(city="Paris", days=3), now()]',
    "pythonic in two lists": '[get_weather(city="Paris", days=3)][now()]',
    "pythonic on two lines": '[get_weather(city="Paris", days=3)]\n[now()]',
    "json list": json.dumps([CALL, {"name": "now", "parameters": {}}]),
    "json on two lines": json.dumps(CALL) + "\n" + '{"type": "function", "name": "now"}',
    "json with a semicolon": json.dumps(CALL) + "; " + '{"name": "now", "arguments": ""}'.replace('""', "{}"),
    "tagged": '<function=get_weather>{"city": "Paris", "days": 3}</function>\n<function=now>{}</function>',
}


@pytest.mark.parametrize("form", SEVERAL)
def test_several_calls_are_read_in_order(form):
    read = read_calls(SEVERAL[form])
    assert read.calls == (PARIS, NOW)
    assert not read.text.strip()


VALUES = {
    "[f(a=[1, [2, [3, {'b': (4, 5)}]]])]": [1, [2, [3, {"b": [4, 5]}]]],
    "[f(a=true)]": True,
    "[f(a=null)]": None,
    "[f(a=-1.5e3)]": -1500.0,
    "[f(a=+7)]": 7,
    '[f(a="], x=1), g(")]': "], x=1), g(",
    "[f(a='it''s')]": "its",
    '[f(a="line\nline")]': "line\nline",
    '[f(a="""a "quoted" word""")]': 'a "quoted" word',
    r'[f(a="C:\dir \/ \u00e9\t")]': "C:\\dir / é\t",
    '[f(a="日本 🙂")]': "日本 🙂",
    "[f(a={})]": {},
    "[f(a=())]": [],
    "[f(a=(1))]": 1,
    "[f(a=('b'\n'c'))]": "bc",
    "[f(a=1e400)]": math.inf,
    "[f(a=-Infinity)]": -math.inf,
    "[f(a=nan)]": None,
    "[f(a=0x1F)]": 31,
    "[f(a=1_000)]": 1000,
    r"[f(a=r'\d')]": r"\d",
    r'[f(a="\ud83d\ude00 \ud800 C:\users\x")]': "😀 \ufffd C:\\users\\x",
    "[f(a=1, a=2)]": 2,
    '{"name": "f", "parameters": {"a": 1, "a": 2}}': 2,
    '{"name": "f", "parameters": {"a": 1e400}}': math.inf,
    '{"name": "f", "parameters": {"a": True,}}': True,
}


@pytest.mark.parametrize("text", VALUES)
def test_values_are_read_with_their_types(text):
    assert read_calls(text) == ("", (ToolCall("f", {"a": VALUES[text]}),))


def test_names_may_have_hyphens_dots_slashes_and_digits_and_arguments_may_be_keywords():
    assert read_calls("[get-w.v2/x(class=1, max-n=2)]").calls == (ToolCall("get-w.v2/x", {"class": 1, "max-n": 2}),)


PLAIN = [
    "",
    "Hello!",
    "A list: [1, 2, 3]",
    "[]",
    "[f(1)]",
    "[f(a)]",
    "[f(a=b)]",
    "[f(a=g(1))]",
    "[f(a=1+1)]",
    "[f(a=[1,2)]",
    "[f(a=1]",
    '[f(a="never ends)]',
    "[f(a==1)]",
    "[f(a={1, 2})]",
    "[f(a={1: 2})]",
    "[f(**[1])]",
    "[f(*[1])]",
    "[f(a=b'bytes')]",
    "[f(a=-'x')]",
    "[f(a=1j)]",
    "[f(a=...)]",
    "[f(a=__import__('os').getcwd())]",
    "[lambda: f(a=1)]",
    "[f(a=x for x in y)]",
    "See [f(a=1)] for how to call it.",
    '{"name": "Ada", "age": 36}',
    '{"name": 1, "parameters": {}}',
    '{"name": "f", "parameters": [1]}',
    '{"name": "f", "arguments": "{"}',
    '{"name": "f", "arguments": "{} x"}',
    'Say {"name": "f", "parameters": {}} and more',
    '{"name": "f", "parameters": {"a": ',
    '{"name": "f", "size": 3, "parameters": {}}',
    '{"name": "f", "parameters": {"a": 1 2}}',
    '{"na\\u006de": "f", "parameters": {}}',
    "```python\n[f(a=1)]\n```",
    "`[f(a=1)]`",
    "[f(a=007)]",
    "[f(a=f'x')]",
    "[f(a=1, b=g(2))]",
    "<function=f>not json</function>",
    "<function=>{}</function>",
    "<function=f>[1]</function>",
]


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_call_stays_text(text):
    assert read_calls(text) == (text, ())


def test_only_offered_tools_can_be_called():
    for text in [*SAME.values()]:
        assert read_calls(text, {"get_weather"}).calls == (PARIS,)
        assert read_calls(text, {"other"}) == (text, ())
        assert read_calls(text, ()) == (text, ())
    assert read_calls(SEVERAL["pythonic"], {"get_weather"}) == (", now()]", (PARIS,))


AFTER = {
    "[f(a=1)] and more": " and more",
    '{"name": "f", "parameters": {"a": 1}} and more': " and more",
    '[{"name": "f", "parameters": {"a": 1}}, 3]': ", 3]",
    '{"name": "f", "parameters": {"a": 1}': "",
    "<function=f>{'a': 1}</function>\nand [1]": "\nand [1]",
    "[f(a=1)]\n[1] and ]": "\n[1] and ]",
    "[f(a=1), f(2)]": ", f(2)]",
    "[f(a=1)]" + "]" * 10: "",
}


@pytest.mark.parametrize("text", AFTER)
def test_a_call_that_begins_a_line_stays_one_whatever_follows(text):
    assert read_calls(text) == (AFTER[text], (ToolCall("f", {"a": 1}),))


def test_a_call_inside_a_line_or_a_fence_is_one_if_nothing_follows():
    for text in ("So: ", "See [f(a=2)] or "):
        assert read_calls(f"{text}[f(a=1)]\n") == (text, (ToolCall("f", {"a": 1}),))
    assert read_calls("```\n[f(a=1)]") == ("```\n", (ToolCall("f", {"a": 1}),))
    assert read_calls("```\nx\n```\n[f(a=1)]\n.").calls == (ToolCall("f", {"a": 1}),)


def random_value(chance, depth=0):
    kind = chance.randrange(8 if depth < 3 else 6)
    if kind == 0:
        return chance.choice([True, False, None])
    if kind == 1:
        return chance.choice([0, -1, 10**25, chance.randrange(10**6)])
    if kind == 2:
        return chance.choice([0.5, -2.5e-10, 1e300, float("inf"), -float("inf"), chance.random()])
    if kind < 6:
        return "".join(chance.choice("ab \"'\\\n\r\t,()[]{}=<|>é漢🙂\x00\x7f\u2028") for _ in range(chance.randrange(12)))
    if kind == 6:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {random_name(chance): random_value(chance, depth + 1) for _ in range(chance.randrange(4))}


def random_name(chance):
    return "".join(chance.choice("ab_1-.$ é\"'") for _ in range(chance.randrange(6)))


def test_random_calls_are_read_back_as_they_were_written():
    chance = random.Random(11)
    for _ in range(1000):
        calls = tuple(
            ToolCall(chance.choice(["f", "get_weather", "a-b", "a.b", "2x"]), {random_name(chance): random_value(chance) for _ in range(3)})
            for _ in range(chance.randint(1, 3))
        )
        assert read_calls(write_calls(calls)) == ("", calls)


def test_reading_broken_calls_never_raises_and_loses_no_text():
    chance = random.Random(12)
    sources = [*SAME.values(), *SEVERAL.values(), *VALUES, *PLAIN]
    noise = ["", "[", "]", "(", ")", '"', "'", "\\", ",", "{", "}", "\x00", "\ud800", "=", "**"]
    for _ in range(5000):
        text = list(chance.choice(sources))
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(text) + 1)
            text[place : place + chance.randrange(3)] = chance.choice(noise)
        read = read_calls("".join(text))
        assert read.calls or read.text == "".join(text)


HOSTILE = [
    "[",
    "[ ",
    "[a(",
    "[f(a=1,",
    '{"name',
    '[{"name": ',
    '{"name":"f","parameters":',
    "<function=",
    "<function=a>",
    "[f(a='''",
    '[f(a="',
    "[f(a=-",
    "[f(a=(",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_is_refused_in_linear_time(unit):
    text = unit * 20_000
    start = time.process_time()
    assert read_calls(text) == (text, ())
    assert time.process_time() - start < 10  # at most about 1 s; a quadratic reader takes minutes


@pytest.mark.parametrize("value", ["-" * 20_000 + "1", "[" * 5_000 + "]" * 5_000, "9" * 20_000], ids=["signs", "lists", "digits"])
def test_values_too_deep_or_too_long_for_python_stay_text(value):
    text = f"[f(a={value})]"
    assert read_calls(text) == (text, ())


def test_reading_warns_of_nothing(recwarn):
    read_calls(r'[f(a="\d\w \.", b=1)]')
    assert not recwarn.list


def test_arguments_come_as_a_mapping_as_json_text_or_not_at_all():
    assert arguments_of({"a": 1}) == {"a": 1}
    assert arguments_of('{"a": "\\u00e9"}') == {"a": "é"}
    assert arguments_of("") == arguments_of(" ") == arguments_of(None) == {}


@pytest.mark.parametrize("given", ["{", "[1]", "3", '"a"', [1], 3])
def test_arguments_that_are_no_json_object_are_refused(given):
    with pytest.raises(ChatError, match="give a JSON object"):
        arguments_of(given)
