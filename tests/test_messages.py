"""Plain dicts to messages; every mistake is a sentence."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from puna.messages import RequestError, read_messages
from puna.stream import Image, Message, Text, ToolCall, Video
from puna.testing.models import TINY_VISION
from puna.testing.pictures import encoded
from puna.testing.videos import gif, mp4, webm, webp


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


def data_url(data: bytes, declared: str) -> str:
    return f"data:{declared};base64,{base64.b64encode(data).decode()}"


def seen(part: Any, max_video_tokens: int | None = None) -> Any:
    (message,) = read_messages([{"role": "user", "content": [part]}], TINY_VISION, max_video_tokens)
    (read_part,) = message.content
    return read_part


def test_videos_are_read_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    path.write_bytes(webm())
    sources = [(mp4(), "video/mp4"), (webm(), "video/webm"), (gif(), "image/gif"), (webp(), "image/webp")]
    parts = [{"type": "video", "video": source} for source in (path, str(path), mp4(), gif(), data_url(mp4(), "video/mp4"))]
    parts += [{"type": "video_url", "video_url": {"url": data_url(*source)}} for source in sources]
    parts += [{"type": "image_url", "image_url": {"url": data_url(*source)}} for source in sources[2:]]
    parts += [{"type": "image", "image": source} for source in (gif(), webp(), mp4())]
    for part in parts:
        video = seen(part)
        assert isinstance(video, Video) and video.timestamps == (0.0, 0.5, 1.0, 1.5, 2.0)


def test_a_still_picture_is_a_picture_in_every_form_but_video() -> None:
    for form in ("GIF", "WEBP", "PNG"):
        data = encoded(Pillow.new("RGB", (16, 16)), form)
        url = {"url": data_url(data, f"image/{form.lower()}")}
        assert isinstance(seen({"type": "image", "image": data}), Image)
        assert isinstance(seen({"type": "image_url", "image_url": url}), Image)
        for part in ({"type": "video", "video": data}, {"type": "video_url", "video_url": url}):
            with pytest.raises(ValueError, match="is no video"):
                seen(part)


def test_a_video_s_frames_can_be_bounded_in_the_part_and_by_the_model() -> None:
    assert seen({"type": "video", "video": mp4(), "max_frames": 3}).timestamps == (0.0, 1.0, 2.0)
    assert seen({"type": "video", "video": mp4(), "frames_per_second": 0.5}).timestamps == (0.0, 2.0)
    assert seen({"type": "video", "video": mp4()}, max_video_tokens=2 * (4 + 8)).timestamps == (0.0, 2.0)
    assert seen({"type": "image", "image": gif()}, max_video_tokens=2 * (4 + 8)).timestamps == (0.0, 2.0)


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
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/hostname"}}]}], "not a data: URL"),
        ([{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "http://a/b.mp4"}}]}], "not a data: URL"),
        ([{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}], "video_url is {}"),
        ([{"role": "user", "content": [{"type": "input_video", "video_url": "x"}]}], "'input_video'"),
        ([{"role": "user", "content": [{"type": "video", "image": "x"}]}], "'video'"),
        ([{"role": "user", "content": [{"type": "video", "video": "x", "max_frames": 1.5}]}], "max_frames=1.5 is not a whole number"),
        ([{"role": "user", "content": [{"type": "video", "video": "x", "frames_per_second": True}]}], "frames_per_second=True is not"),
        ([{"role": "user", "content": [{"type": "video", "video": mp4(), "max_frames": 0}]}], "max_frames=0 take no frame"),
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


@pytest.mark.parametrize("kind", ["image", "video", "image_url", "video_url"])
def test_what_is_to_be_seen_is_refused_for_a_model_without_vision(kind: str) -> None:
    with pytest.raises(RequestError, match="no vision tower"):
        read_messages([{"role": "user", "content": [{"type": kind, kind: b""}]}], None)
