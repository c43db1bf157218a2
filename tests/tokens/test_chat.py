"""The chat format and its inverse. That written ids equal Meta's is tested in `test_against_meta.py`."""

import random

import numpy as np
import pytest

from puna.config import VisionConfig
from puna.presets import preset
from puna.stream import Image, Message, Text, ToolCall, Video
from puna.tokens.chat import TOOLS_INSTRUCTION, ChatFormat, written_time
from puna.tokens.errors import ChatError

VISION = VisionConfig(tile_size=16, patch_size=4, width=16, num_layers=1, num_heads=2, adapter_width=16)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "get_weather", "description": "Wetter für einen Ort", "parameters": CITY}
CALL = ToolCall("get_weather", {"city": "Paris"})


def say(role, text, *calls):
    return Message(role, (Text(text),) if text else (), tuple(calls))


def picture(rows=1, columns=1, value=0.0):
    tiles = 1 if rows * columns == 1 else rows * columns + 1
    return Image(np.full((tiles, 3, 16, 16), value, dtype=np.float32), (rows, columns))


@pytest.fixture
def chat(spelled):
    return ChatFormat(spelled, VISION)


def read(chat, stream):
    """The stream as text, with special tokens by name."""
    return chat.tokenizer.decode(stream.token_ids, keep_special=True)


def test_a_conversation_is_headers_content_and_end_of_turn(chat):
    stream = chat.encode([say("system", "Be brief."), say("user", "Hi"), say("assistant", "Hello"), say("user", "Bye")])
    assert read(chat, stream) == (
        "<|begin_of_text|><|header_start|>system<|header_end|>\n\nBe brief.<|eot|><|header_start|>user<|header_end|>\n\nHi<|eot|>"
        "<|header_start|>assistant<|header_end|>\n\nHello<|eot|><|header_start|>user<|header_end|>\n\nBye<|eot|>"
        "<|header_start|>assistant<|header_end|>\n\n"
    )
    assert stream.token_ids.dtype == np.int64
    assert stream.loss_mask is None
    assert stream.tiles is None


def test_the_prompt_for_the_next_turn_can_be_left_out(chat):
    assert read(chat, chat.encode([say("user", "Hi")], add_generation_prompt=False)).endswith("Hi<|eot|>")


def test_content_is_never_stripped(chat):
    assert "\n\n \n spaced\t <|eot|>" in read(chat, chat.encode([say("user", " \n spaced\t ")]))


def test_an_empty_message_is_a_header_and_an_end(chat):
    assert "user<|header_end|>\n\n<|eot|>" in read(chat, chat.encode([say("user", "")]))


def test_tool_calls_and_tool_results_end_in_end_of_message(chat):
    text = read(chat, chat.encode([say("user", "?"), say("assistant", "Wait. ", CALL), say("tool", '{"c": 9}'), say("assistant", "9")]))
    assert 'Wait. [get_weather(city="Paris")]<|eom|><|header_start|>ipython<|header_end|>\n\n{"c": 9}<|eom|>' in text
    assert "9<|eot|>" in text


def test_where_a_client_cuts_a_text_does_not_matter(trained):
    chat = ChatFormat(trained)
    whole = chat.encode([say("user", "the llamas didn't")])
    parts = chat.encode([Message("user", (Text("the lla"), Text(""), Text("mas didn't")))])
    assert parts.token_ids.tolist() == whole.token_ids.tolist()


def test_tools_are_offered_at_the_end_of_the_system_message(chat):
    text = read(chat, chat.encode([say("system", "Be brief."), say("user", "?")], [WEATHER]))
    assert "Be brief.\n\nYou can call these tools" in text
    assert '\n{"name": "get_weather", "description": "Wetter für einen Ort"' in text
    assert f"{TOOLS_INSTRUCTION}<|eot|><|header_start|>user" in text


def test_tools_make_a_system_message_if_there_is_none(chat):
    text = read(chat, chat.encode([say("user", "?")], [WEATHER]))
    assert text.startswith("<|begin_of_text|><|header_start|>system<|header_end|>\n\nYou can call these tools")
    assert text == read(chat, chat.encode([say("system", ""), say("user", "?")], [WEATHER]))


def test_wrapped_and_bare_tool_definitions_are_the_same(chat):
    wrapped = {"type": "function", "function": WEATHER}
    messages = [say("user", "?")]
    assert chat.encode(messages, [wrapped]).token_ids.tolist() == chat.encode(messages, [WEATHER]).token_ids.tolist()


def test_no_tools_change_nothing(chat):
    messages = [say("user", "?")]
    assert chat.encode(messages, []).token_ids.tolist() == chat.encode(messages).token_ids.tolist()


def test_a_tool_without_a_name_is_refused(chat):
    with pytest.raises(ChatError, match="has no name"):
        chat.encode([say("user", "?")], [{"description": "?"}])


# Pictures


def test_one_tile_is_start_image_patches_end(chat):
    special = chat.tokenizer.special
    assert chat.image_ids((1, 1)) == [special.image_start, special.image, *[special.patch] * 4, special.image_end]


def test_several_tiles_stand_row_by_row_with_the_global_one_last(chat):
    special = chat.tokenizer.special
    tile = [special.patch] * 4
    row = [*tile, special.tile_x, *tile, special.tile_x, *tile, special.tile_y]
    assert chat.image_ids((2, 3)) == [special.image_start, *row, *row, special.image, *tile, special.image_end]


@pytest.mark.parametrize(("grid", "length"), [((1, 1), 147), ((2, 2), 727), ((3, 4), 1887), ((3, 5), 2322), ((4, 4), 2467), ((1, 6), 1017)])
def test_llama4_pictures_have_the_published_lengths(spelled, grid, length):
    assert len(ChatFormat(spelled, preset("scout").vision).image_ids(grid)) == length


def test_pictures_stand_where_they_stand_in_the_message(chat):
    content = (Text("a"), picture(value=0.25), picture(1, 2, value=0.5), Text("b"), picture(value=-1.0))
    stream = chat.encode([Message("user", content), say("user", "c")])
    text = read(chat, stream).replace("<|patch|>" * 4, "TILE")
    one = "<|image_start|><|image|>TILE<|image_end|>"
    two = "<|image_start|>TILE<|tile_x_separator|>TILE<|tile_y_separator|><|image|>TILE<|image_end|>"
    assert f"\n\na{one}{two}b{one}<|eot|>" in text
    assert [tile.mean() for tile in stream.tiles] == [0.25, 0.5, 0.5, 0.5, -1.0]
    assert stream.tiles.dtype == np.float32
    assert (stream.token_ids == chat.tokenizer.special.patch).sum() == stream.num_tiles * VISION.tokens_per_tile


def test_a_picture_without_a_vision_tower_is_refused(spelled):
    with pytest.raises(ChatError, match="this model has no vision tower"):
        ChatFormat(spelled, None).encode([Message("user", (picture(),))])


def test_tiles_of_another_size_are_refused(chat):
    with pytest.raises(ChatError, match=r"tiles of shape \(3, 8, 8\), but this model reads \(3, 16, 16\)"):
        chat.encode([Message("user", (Image(np.zeros((1, 3, 8, 8), dtype=np.float32), (1, 1)),))])


# Videos


def video(*timestamps, value=0.0):
    return Video(np.full((len(timestamps), 3, 16, 16), value, dtype=np.float32), timestamps)


def test_a_video_is_start_then_separator_time_and_patches_for_each_frame_then_end(chat):
    special = chat.tokenizer.special
    patches = [special.patch] * 4
    first, second = chat.tokenizer.encode("0.0s"), chat.tokenizer.encode("12.2s")
    written = [special.video_start, special.frame, *first, *patches, special.frame, *second, *patches, special.video_end]
    assert chat.video_ids((0.0, 12.25)) == written


@pytest.mark.parametrize(("seconds", "written"), [(0, "0.0s"), (0.5, "0.5s"), (0.04, "0.0s"), (9.96, "10.0s"), (3600, "3600.0s")])
def test_times_are_written_in_tenths_of_a_second(seconds, written):
    assert written_time(seconds) == written


def test_videos_and_pictures_stand_where_they_stand_in_the_message(chat):
    content = (video(0.0, 0.5, value=0.25), Text("a"), picture(value=0.5), Text("b"), video(1.0, value=-1.0))
    stream = chat.encode([Message("user", content), say("user", "c")])
    text = read(chat, stream).replace("<|patch|>" * 4, "TILE").replace("<|vision_reserved_special_token_", "<|v")
    first = "<|v0|><|v3|>0.0sTILE<|v3|>0.5sTILE<|v1|>"
    assert f"\n\n{first}a<|image_start|><|image|>TILE<|image_end|>b<|v0|><|v3|>1.0sTILE<|v1|><|eot|>" in text
    assert [tile.mean() for tile in stream.tiles] == [0.25, 0.25, 0.5, -1.0]
    assert (stream.token_ids == chat.tokenizer.special.patch).sum() == stream.num_tiles * VISION.tokens_per_tile


def test_a_video_without_a_vision_tower_is_refused(spelled):
    with pytest.raises(ChatError, match="holds a video, but this model has no vision tower"):
        ChatFormat(spelled, None).encode([Message("user", (video(0.0),))])


def test_frames_of_another_size_are_refused(chat):
    with pytest.raises(ChatError, match=r"a video has tiles of shape \(3, 8, 8\), but this model reads \(3, 16, 16\)"):
        chat.encode([Message("user", (Video(np.zeros((1, 3, 8, 8), dtype=np.float32), (0.0,)),))])


# Mistakes


@pytest.mark.parametrize("role", ["function", "ipython", "", "System", "<|eot|>", None, ["user"]])
def test_an_unknown_role_is_named_with_the_known_ones(chat, role):
    with pytest.raises(ChatError, match="unknown role .*; a message's role is one of system, user, assistant, tool"):
        chat.encode([Message(role, (Text("?"),))])


def test_only_the_assistant_makes_calls(chat):
    with pytest.raises(ChatError, match="role 'user' holds 1 tool calls"):
        chat.encode([say("user", "?", CALL)])


def test_a_part_that_is_neither_text_nor_picture_nor_video_is_named(chat):
    with pytest.raises(ChatError, match="a user message holds a part of type dict"):
        chat.encode([Message("user", ({"type": "video"},))])


def test_a_call_that_cannot_be_written_is_a_chat_error(chat):
    with pytest.raises(ChatError, match="tool name 'a b'"):
        chat.encode([say("assistant", "", ToolCall("a b", {}))])


# Training


def test_training_learns_the_assistants_content_and_closing_ids_only(chat):
    messages = [say("system", "S"), say("user", "U"), say("assistant", "A1", CALL), say("tool", "T"), say("assistant", "A2")]
    stream = chat.encode_training(messages, [WEATHER])
    assert chat.tokenizer.decode(stream.token_ids[stream.loss_mask], keep_special=True) == 'A1[get_weather(city="Paris")]<|eom|>A2<|eot|>'
    assert stream.loss_mask.dtype == bool


def test_training_ids_are_the_prompt_s_ids_without_the_next_header(chat):
    messages = [Message("user", (picture(), video(0.0, 0.5), Text("U"))), say("assistant", "A")]
    stream = chat.encode_training(messages)
    assert stream.token_ids.tolist() == chat.encode(messages, add_generation_prompt=False).token_ids.tolist()
    assert len(stream.loss_mask) == len(stream)
    assert stream.num_tiles == 3


def test_training_never_learns_to_write_pictures_and_videos(chat):
    stream = chat.encode_training([Message("assistant", (Text("a"), picture(), video(0.0, 0.5), Text("b")))])
    assert chat.tokenizer.decode(stream.token_ids[stream.loss_mask], keep_special=True) == "ab<|eot|>"


def test_what_is_trained_follows_the_prompt_that_generation_starts_from(chat):
    messages = [say("user", "U"), say("assistant", "A")]
    prompt = chat.encode(messages[:1]).token_ids
    trained = chat.encode_training(messages)
    assert trained.token_ids[: len(prompt)].tolist() == prompt.tolist()
    assert trained.loss_mask.tolist() == [False] * len(prompt) + [True, True]


# Replies


def reply_ids(chat, text):
    """Ids of a reply in which `<|...|>` stands for special tokens."""
    ids = []
    for place, piece in enumerate(text.replace("|>", "<|").split("<|")):
        ids += [chat.tokenizer.special.id(f"<|{piece}|>")] if place % 2 else chat.tokenizer.encode(piece)
    return ids


def test_a_plain_reply_is_its_text(chat):
    assert chat.parse_reply(reply_ids(chat, " Hello,\n[1, 2] <|eot|>")) == say("assistant", " Hello,\n[1, 2] ")


def test_an_empty_reply_has_no_parts(chat):
    assert chat.parse_reply([]) == chat.parse_reply(reply_ids(chat, "<|eot|>")) == Message("assistant")


@pytest.mark.parametrize("end", ["", "<|eot|>", "<|eom|>", "<|end_of_text|>"])
def test_calls_are_read_whatever_ends_the_turn(chat, end):
    assert chat.parse_reply(reply_ids(chat, f'Hm. [get_weather(city="Paris")]{end}')) == say("assistant", "Hm. ", CALL)


def test_nothing_behind_the_first_end_is_read(chat):
    assert chat.parse_reply(reply_ids(chat, "a<|eot|>b<|eom|>c")) == say("assistant", "a")


def test_a_header_that_the_model_repeats_is_left_out(chat):
    assert chat.parse_reply(reply_ids(chat, "<|header_start|>assistant<|header_end|>\n\nHi<|eot|>")) == say("assistant", "Hi")


@pytest.mark.parametrize("inside", ['[get_weather(city="Paris")]', '{"name": "get_weather", "parameters": {"city": "Paris"}}'])
@pytest.mark.parametrize("end", ["<|python_end|><|eom|>", "<|python_end|>", "<|eot|>", ""])
def test_calls_in_python_tags_are_read(chat, inside, end):
    assert chat.parse_reply(reply_ids(chat, f"<|python_start|>{inside}{end}")) == say("assistant", "", CALL)
    assert chat.parse_reply(reply_ids(chat, f"One moment.<|python_start|>{inside}{end}")) == say("assistant", "One moment.", CALL)


def test_several_tagged_calls_are_read_and_text_between_them_is_kept(chat):
    ids = reply_ids(chat, "a<|python_start|>[f(x=1)]<|python_end|>b<|python_start|>[g()]<|python_end|>c")
    assert chat.parse_reply(ids) == say("assistant", "abc", ToolCall("f", {"x": 1}), ToolCall("g", {}))


def test_code_in_python_tags_is_a_call_of_the_code_interpreter(chat):
    ids = reply_ids(chat, "<|python_start|>print(1 + 1)\n<|python_end|><|eom|>")
    code = ToolCall("code_interpreter", {"code": "print(1 + 1)\n"})
    assert chat.parse_reply(ids) == say("assistant", "", code)
    assert chat.parse_reply(ids, [{"name": "code_interpreter"}]) == say("assistant", "", code)


def test_tools_that_were_not_offered_are_not_called(chat):
    for text in ('[get_weather(city="Paris")]', "<|python_start|>print(1)<|python_end|>"):
        ids = reply_ids(chat, text)
        plain = text.replace("<|python_start|>", "").replace("<|python_end|>", "")
        assert chat.parse_reply(ids, []) == chat.parse_reply(ids, [{"name": "other"}]) == say("assistant", plain)
    assert chat.parse_reply(reply_ids(chat, '[get_weather(city="Paris")]'), [WEATHER]) == say("assistant", "", CALL)


def test_a_turn_with_calls_is_read_back_as_it_was_written(chat):
    odd = ToolCall("f", {"class": [None, {"a b": "x)]\n"}], "odd name": -0.5})
    turns = [
        say("assistant", "Plain text, [1] and {2}."),
        say("assistant", "", CALL),
        say("assistant", 'I\'ll look. It is "easy".\n', CALL, odd, ToolCall("now", {})),
    ]
    for turn in turns:
        stream = chat.encode_training([say("user", "?"), turn])
        assert chat.parse_reply(stream.token_ids[stream.loss_mask]) == turn


def test_any_ids_can_be_read(trained):
    chat = ChatFormat(trained, VISION)
    chance = random.Random(5)
    special = [*range(trained.special.base, trained.vocab_size), *[trained.special.python_start, trained.special.python_end] * 20]
    texts = ["[f(a=1", ")]", '{"name": "f", "parameters": {', "}}", "<function=f>", "{}", "'", '"', "\\"]
    pieces = [trained.encode(text) for text in texts]
    for _ in range(2000):
        ids = []
        for _ in range(chance.randrange(12)):
            ids += chance.choice([[chance.choice(special)], chance.choice(pieces), [chance.randrange(trained.special.base)]])
        said = next((ids[:place] for place, token_id in enumerate(ids) if token_id in trained.special.stop_ids), ids)
        message = chat.parse_reply(ids)
        assert message.tool_calls or "\ufffd" in message.text or message.text == trained.decode(said)
