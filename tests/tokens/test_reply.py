"""A reply read in pieces: the same events however it is cut, each as early as it is sure, and nothing lost."""

import json
import random
import time
from collections.abc import Collection, Iterator, Sequence

import pytest

from puna.stream import ToolCall
from puna.tokens.reply import CallArguments, CallEnd, CallStart, ReplyEvent, ReplyReader, ReplyText, WholeReply
from puna.tokens.tool_calls import read_calls

TOOLS = ("f", "now", "get_weather")


def ids() -> Iterator[str]:
    yield from (f"id{count}" for count in range(10**6))


def reader_of(names: Collection[str] | None = TOOLS) -> ReplyReader:
    made = ids()
    return ReplyReader(names, new_id=lambda: next(made))


def told(pieces: Sequence[str], names: Collection[str] | None = TOOLS, cut: bool = False) -> tuple[list[list[ReplyEvent]], WholeReply]:
    """The events after each piece, those of the end last."""
    reader = reader_of(names)
    events = [reader.push(piece) for piece in pieces]
    whole = reader.close(cut)
    return [*events, whole.events], whole


def joined(events: Sequence[Sequence[ReplyEvent]]) -> list[ReplyEvent]:
    """All events, neighbours that go on with the same as one."""
    out: list[ReplyEvent] = []
    for event in (event for group in events for event in group):
        match out[-1] if out else None, event:
            case ReplyText(before), ReplyText(text):
                out[-1] = ReplyText(before + text)
            case CallArguments(index, before), CallArguments(again, fragment) if index == again:
                out[-1] = CallArguments(index, before + fragment)
            case _:
                out.append(event)
    return out


def check(text: str, names: Collection[str] | None, events: Sequence[ReplyEvent], whole: WholeReply) -> None:
    """What holds of every reply."""
    fragments: dict[int, str] = {}
    started: list[CallStart] = []
    ended: list[int] = []
    for event in events:
        match event:
            case CallStart(index):
                assert index == len(started)
                started.append(event)
                fragments[index] = ""
            case CallArguments(index, fragment):
                assert fragment and index == len(started) - 1 and index not in ended
                fragments[index] += fragment
            case CallEnd(index):
                assert index == len(started) - 1 and index not in ended
                ended.append(index)
    assert "".join(event.text for event in events if isinstance(event, ReplyText)) == whole.text
    assert whole.calls == tuple(ToolCall(started[i].name, json.loads(fragments[i]), started[i].id) for i in ended)
    assert whole.arguments == tuple(fragments[i] for i in ended)
    assert [call.index for call in whole.broken] == [call.index for call in started if call.index not in ended]
    for call in whole.broken:
        assert call.arguments == fragments[call.index] and call.source in text
        with pytest.raises(ValueError):
            json.loads(call.arguments)
    assert whole.calls or whole.full_text == text
    assert whole.broken or whole.text == whole.full_text
    assert names is None or all(call.name in names for call in started)


PIECES = [
    "[", "]", "(", ")", '"', "'", "\\", ",", "{", "}", "=", "**", "\n", "```", " ", "\x00", "\ud800", ";", "`", "//", "text. ", "\n\n",
    "f", "now", "f(", "[f(", "now()", "[now()]", "a=1", "b='x'", "1", "-", "e5", "None", "true", "nan", "inf", "r'", '"""', "\\u00",
    "\\ud83d",
    "\\ude00", "<function=f>", "<function=", "</function>", '{"name":"f",', '{"name": "now"', '"parameters":{', '"arguments":', "[1, 2]",
    '"type":"function"', '{"type":"function","function":{', "[f(a='x', b=[1, {'k': (2,)}])]", '{"name": "f", "parameters": {"a": [1]}}',
    '<function=f>{"a": 1}</function>', 'f(**{"x y": 1}, c="é\U0001f642")', "[get_weather(city=",
]  # fmt: skip


def random_reply(chance: random.Random) -> str:
    return "".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 14)))


def cuts(chance: random.Random, text: str) -> list[str]:
    most, at, pieces = chance.choice([1, 3, 10]), 0, []
    while at < len(text):
        size = chance.randint(1, most)
        pieces.append(text[at : at + size])
        at += size
    return pieces


def test_however_a_reply_is_cut_it_tells_the_same_and_what_the_whole_text_says() -> None:
    chance = random.Random(21)
    calls = broken = 0
    for _ in range(1200):
        text, names, cut = random_reply(chance), chance.choice([TOOLS, None, {"f"}, ()]), chance.random() < 0.3
        at_once, whole = told([text], names, cut)
        check(text, names, joined(at_once), whole)
        for _ in range(2):
            events, again = told(cuts(chance, text), names, cut)
            assert again._replace(events=[]) == whole._replace(events=[])
            assert joined(events) == joined(at_once)
        read = read_calls(text, names)
        if not cut:
            assert read.text == whole.full_text
            assert [(call.name, call.arguments) for call in read.calls] == [(call.name, call.arguments) for call in whole.calls]
        calls, broken = calls + len(whole.calls), broken + len(whole.broken)
    assert calls > 120 and broken > 5


def test_python_tags_and_cuts_at_random_lose_nothing() -> None:
    chance = random.Random(22)
    codes = 0
    for _ in range(400):
        names = chance.choice([None, ("f", "code_interpreter"), ("f",)])
        segments = [(chance.choice(["start", "end"]), random_reply(chance)) for _ in range(3)]
        outcomes = []
        for cut_up in (False, True):
            reader, events = reader_of(names), []
            for tag, text in segments:
                events.append(reader.python_start() if tag == "start" else reader.python_end())
                events += [reader.push(piece) for piece in (cuts(chance, text) if cut_up else [text])]
            whole = reader.close()
            check("".join(text for _, text in segments), names, joined([*events, whole.events]), whole)
            outcomes.append((joined([*events, whole.events]), whole._replace(events=[])))
        assert outcomes[0] == outcomes[1]
        codes += sum(call.name == "code_interpreter" for call in outcomes[0][1].calls)
    assert codes > 40


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("Hi [x] {1} <b>", "ttt.ttt.ttt.tt"),
        ("[1, 2]", ".ttttt"),
        ("[go()]", "..tttt"),
        ('{"title": 1}', "...ttttttttt"),
        ("See [f(a=1)]", "tttt........"),
        ("See [f(a=1)]!", "tttt........t"),
        ("[f(a='xyz', b=12)]", "......Saaa.a.....aE."),
        ("[f()]", "...SaE."),
        ('[f(**{"a b": [1, 2]})]', ".....Sa.aaa.a.a.a..a.aE."),
        ('{"name": "f", "parameters": {"a": 10}}', "." * 28 + "Sa.a.a...aE."),
        ('<function=f>{"a": "x"}</function>.', "." * 12 + "Sa.a.a..a.aE...........t"),
    ],
)
def test_events_come_as_soon_as_they_are_sure(text: str, when: str) -> None:
    """Letter by letter: t text, S start, a arguments, E end; "." where nothing is sure yet."""
    marks, reader = {ReplyText: "t", CallStart: "S", CallArguments: "a", CallEnd: "E"}, reader_of()
    assert "".join("".join(marks[type(event)] for event in reader.push(letter)) or "." for letter in text) == when


def test_a_call_in_the_making_is_told_in_fragments_of_json() -> None:
    reader = reader_of()
    assert reader.push("I look.\n[f(a='it\\'s ") == [ReplyText("I look.\n"), CallStart(0, "id0", "f"), CallArguments(0, '{"a":"it\'s ')]
    assert reader.push('"fine"\n\', b=[1, Tr') == [CallArguments(0, '\\"fine\\"\\n","b":[1')]
    assert reader.push("ue]), now()") == [
        CallArguments(0, ",true]}"),
        CallEnd(0),
        CallStart(1, "id1", "now"),
        CallArguments(1, "{}"),
        CallEnd(1),
    ]
    whole = reader.close()
    assert whole.events == [] and whole.text == whole.full_text == "I look.\n" and whole.failures == 0
    assert whole.calls == (ToolCall("f", {"a": 'it\'s "fine"\n', "b": [1, True]}, "id0"), ToolCall("now", {}, "id1"))
    assert whole.arguments == ('{"a":"it\'s \\"fine\\"\\n","b":[1,true]}', "{}")


@pytest.mark.parametrize("cut", [True, False])
def test_a_call_that_is_cut_off_never_ends_and_its_arguments_stay_cut(cut: bool) -> None:
    text = '[now(), f(a="x", b="never en'
    events, whole = told([text], cut=cut)
    assert joined(events)[-2:] == [CallStart(1, "id1", "f"), CallArguments(1, '{"a":"x","b":"never en')]
    assert [call.name for call in whole.calls] == ["now"]
    assert whole.broken == ((1, "id1", "f", '{"a":"x","b":"never en', 'f(a="x", b="never en'),)
    assert (whole.text, whole.full_text) == ("", 'f(a="x", b="never en')
    assert whole.failures == (0 if cut else 1)


def test_text_goes_on_behind_a_call_that_cannot_be_read() -> None:
    events, whole = told(["[f(a='x', b=g(2))]\n[now()]"])
    assert joined(events)[:3] == [CallStart(0, "id0", "f"), CallArguments(0, '{"a":"x"'), ReplyText("g(2))]\n")]
    assert whole.full_text == "[f(a='x', b=g(2))]\n" and whole.calls == (ToolCall("now", {}, "id1"),)
    assert whole.failures == 1


@pytest.mark.parametrize(
    ("text", "failures"),
    [
        ("Hello [1] {2}", 0),
        ("[g(1)]", 0),
        ('{"name": "Ada", "age": 36}', 0),
        ("Call [f(1)] like this.", 0),
        ("[f(1)]", 1),
        ("[f(a=b)]\n[f(a=c)]", 2),
        ('{"name": "f", "parameters": [1]}', 1),
        ("<function=f>(a=1)", 1),
        ("[now(), g()]", 1),
        ("[now()]\nDone.", 0),
    ],
)
def test_what_was_meant_as_a_call_and_cannot_be_read_is_counted(text: str, failures: int) -> None:
    """Not what is only talked about inside a line."""
    assert told([text])[1].failures == failures
    assert told([text], names=())[1].failures == 0


def test_code_in_python_tags_streams_as_a_call_of_the_interpreter() -> None:
    reader = reader_of(["code_interpreter", "f"])
    assert reader.push("Let me run it.") == [ReplyText("Let me run it.")]
    assert reader.python_start() == [] and reader.push("\n") == []
    assert reader.push('print("') == [CallStart(0, "id0", "code_interpreter"), CallArguments(0, '{"code":"\\nprint(\\"')]
    assert reader.push('é")') == [CallArguments(0, 'é\\")')]
    assert reader.python_end() == [CallArguments(0, '"}'), CallEnd(0)]
    assert reader.python_start() == [] and reader.push("[f(a=1)]")[0] == CallStart(1, "id1", "f")
    whole = reader.close()
    assert whole.calls == (ToolCall("code_interpreter", {"code": '\nprint("é")'}, "id0"), ToolCall("f", {"a": 1}, "id1"))


def test_code_that_is_cut_off_is_a_broken_call() -> None:
    reader = reader_of(["code_interpreter"])
    reader.python_start()
    reader.push("rm -r /tmp/x")
    whole = reader.close(cut=True)
    assert whole.calls == () and whole.broken[0].arguments == '{"code":"rm -r /tmp/x' and whole.full_text == "rm -r /tmp/x"


def test_ids_of_calls_differ() -> None:
    reader = ReplyReader(None)
    reader.push("[" + ", ".join(["f()"] * 50) + "]")
    found = {call.id for call in reader.close().calls}
    assert len(found) == 50 and all(each.startswith("call_") for each in found)


HOSTILE = ["[", "[ ", "]", "{", "\n[f(a=1)", "x [f(a=1),", "x [f(a='", '\n{"parameters":{"a":[', "[f(**{", " \n", '<function=f>{"']


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_hostile_reply_costs_linear_time(unit: str) -> None:
    """A million brackets, or less of others, in one piece, or a fifth of it in pieces like tokens: a quadratic reader would take hours."""
    size = 1_000_000 if unit == "[" else 50_000
    text = unit * (size // len(unit))
    start = time.process_time()
    _, whole = told([text])
    short = text[: size // 5]
    _, pieced = told([short[at : at + 5] for at in range(0, len(short), 5)])
    assert time.process_time() - start < 25  # about 3 s
    assert whole.calls or whole.full_text == text
    assert pieced.calls or pieced.full_text == short
