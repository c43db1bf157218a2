import pytest

from puna.stream import Message, Text, ToolCall
from puna.testing.scripted import ScriptedPipeline

HI = [Message("user", (Text("Hi"),))]


def test_replies_come_in_order_and_start_again() -> None:
    pipeline = ScriptedPipeline("one", "two")
    assert [pipeline.chat(HI).text for _ in range(3)] == ["one", "two", "one"]


def test_chunks_join_to_the_reply_and_the_last_one_carries_the_reason() -> None:
    chunks = list(ScriptedPipeline("  a b\n\nc ").stream(HI))
    assert "".join(chunk.text for chunk in chunks) == "  a b\n\nc "
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]


def test_counts_are_the_same_on_every_run() -> None:
    first, second = (ScriptedPipeline("one two").chat(HI) for _ in range(2))
    assert first == second
    assert (first.prompt_tokens, first.completion_tokens) == (25, 2)


def test_a_reply_is_cut_at_max_tokens() -> None:
    reply = ScriptedPipeline("one two three").chat(HI, max_tokens=2)
    assert (reply.text, reply.finish_reason) == ("one two ", "length")


def test_text_and_calls_mix() -> None:
    call = ToolCall("f", {"x": 1})
    reply = ScriptedPipeline(["Wait. ", call]).chat(HI)
    assert (reply.text, reply.message.tool_calls, reply.finish_reason) == ("Wait. ", (call,), "tool_calls")


def test_a_failure_comes_where_the_script_has_it() -> None:
    stream = ScriptedPipeline(["one", RuntimeError("boom")]).stream(HI)
    assert next(stream).text == "one"
    with pytest.raises(RuntimeError, match="boom"):
        next(stream)


def test_requests_are_remembered_and_abandoned_streams_counted() -> None:
    pipeline = ScriptedPipeline("one two")
    stream = pipeline.stream(HI, temperature=0.5)
    next(stream)
    assert pipeline.running == 1
    stream.close()
    assert (pipeline.running, pipeline.abandoned) == (0, 1)
    assert pipeline.requests[0].messages == tuple(HI)
    assert pipeline.requests[0].options == {"temperature": 0.5}


def test_a_script_needs_a_reply() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ScriptedPipeline()
