"""Plain dicts to messages; every mistake is a sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from puna.messages import RequestError, read_messages
from puna.stream import Image, Message, Text, ToolCall
from puna.testing.models import TINY_VISION


def read(message: Any) -> Message:
    (read_one,) = read_messages([message], TINY_VISION)
    return read_one


def test_a_string_is_one_text_and_no_content_is_none() -> None:
    assert read({"role": "user", "content": "Hi"}) == Message("user", (Text("Hi"),))
    assert read({"role": "assistant", "content": None}) == read({"role": "assistant"}) == Message("assistant")
    assert read({"role": "user", "content": []}) == Message("user")


def test_parts_keep_their_order(tmp_path: Path) -> None:
    red, path = Pillow.new("RGB", (16, 16), (255, 0, 0)), tmp_path / "red.png"
    red.save(path)
    for source in (path, str(path), path.read_bytes(), red):
        content = ["see ", {"type": "image", "image": source}, {"type": "text", "text": "?"}, Text("!")]
        first, picture, *rest = read({"role": "user", "content": content}).content
        assert (first, rest) == (Text("see "), [Text("?"), Text("!")])
        assert isinstance(picture, Image) and picture.grid == (1, 1)
        assert np.array_equal(picture.tiles[0, :, 3, 3], [1.0, -1.0, -1.0])


def test_messages_and_parts_that_are_ready_are_taken_as_they_are() -> None:
    message = Message("user", (Text("x"),), name="n")
    assert read(message) is message
    assert read({"role": "user", "content": (Text("x"),), "name": "n"}) == message


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("f", {"a": 1}, "7"),
        {"name": "f", "arguments": {"a": 1}, "id": "7"},
        {"id": "7", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    ],
)
def test_tool_calls_are_read_in_every_form(call: Any) -> None:
    assert read({"role": "assistant", "tool_calls": [call]}).tool_calls == (ToolCall("f", {"a": 1}, "7"),)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "non-empty list"),
        (None, "non-empty list"),
        ("Hi", "non-empty list"),
        ({"role": "user", "content": "Hi"}, "non-empty list"),
        (["Hi"], "'Hi'"),
        ([42], "42"),
        ([{"content": "Hi"}], "'role'"),
        ([{"role": "user", "content": "Hi", "images": []}], "images"),
        ([{"role": "user", "content": 5}], "content.*5"),
        ([{"role": "user", "content": {"type": "text", "text": "Hi"}}], "content.*list"),
        ([{"role": "user", "content": [5]}], "5"),
        ([{"role": "user", "content": [None]}], "None"),
        ([{"role": "user", "content": [{"type": "text"}]}], "'text'"),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "'text'"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "'image_url'"),
        ([{"role": "user", "content": [{"text": "Hi"}]}], "None"),
        ([{"role": "user", "content": [{"type": "image", "image": 5}]}], "int"),
        ([{"role": "user", "content": [{"type": "image", "image": "/no/such/picture.png"}]}], "picture.png"),
        ([{"role": "assistant", "tool_calls": [{"arguments": {}}]}], "name"),
        ([{"role": "assistant", "tool_calls": [5]}], "5"),
        ([{"role": "assistant", "tool_calls": {"name": "f", "arguments": {}}}], "tool_calls.*list"),
    ],
)
def test_a_mistake_is_a_value_error_that_names_it(messages: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_messages(messages, TINY_VISION)


def test_a_picture_for_a_model_without_vision_is_refused() -> None:
    with pytest.raises(RequestError, match="no vision tower"):
        read_messages([{"role": "user", "content": [{"type": "image", "image": b""}]}], None)
