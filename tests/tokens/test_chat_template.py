"""The Jinja template that `transformers` renders writes the ids that ChatFormat writes."""

import json
import random
import re

import jinja2
import numpy as np
import pytest
from transformers import AutoTokenizer
from transformers.models.llama4.processing_llama4 import Llama4Processor

from puna.config import VisionConfig
from puna.stream import Image, Message, Text, ToolCall
from puna.tokens.bpe import chat_template
from puna.tokens.chat import TOOLS_INSTRUCTION, TOOLS_INTRODUCTION, ChatFormat
from puna.tokens.tool_calls import arguments_of

VISION = VisionConfig(tile_size=16, patch_size=4, width=16, num_layers=1, num_heads=2, adapter_width=16)
CITY = {"type": "object", "properties": {"city": {}}}
BARE_TOOLS = [{"name": "get_weather", "description": 'Says "sun" <or> rain — é', "parameters": CITY}, {"name": "now"}]
TOOLS = [{"type": "function", "function": tool} for tool in BARE_TOOLS]


@pytest.fixture(scope="module")
def chat(trained):
    return ChatFormat(trained, VISION)


@pytest.fixture(scope="module")
def theirs(trained, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    trained.save_hf(directory)
    return AutoTokenizer.from_pretrained(directory)


def to_message(message):
    """An OpenAI-shaped message as ours; its pictures are one tile each."""
    content = message.get("content") or ""
    parts = [text(content)] if isinstance(content, str) else content
    ours = [Text(part["text"]) if part["type"] == "text" else Image(np.zeros((1, 3, 16, 16)), (1, 1)) for part in parts]
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    calls = [ToolCall(function["name"], arguments_of(function.get("arguments"))) for function in functions]
    return Message(message["role"], tuple(ours), tuple(calls))


def expand(chat, ids):
    """What the Hugging Face processor does with a picture of one tile."""
    image = chat.tokenizer.special.image
    return [expanded for token_id in ids for expanded in (chat.image_ids((1, 1)) if token_id == image else [token_id])]


def assert_same(chat, theirs, messages, tools=None, **options):
    rendered = theirs.apply_chat_template(messages, tools=tools, add_generation_prompt=True, return_dict=True, **options)["input_ids"]
    ours = chat.encode([to_message(message) for message in messages], tools).token_ids.tolist()
    assert expand(chat, rendered) == ours


def text(content):
    return {"type": "text", "text": content}


def call(name, arguments):
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls, content=None):
    return {"role": "assistant", "content": content, "tool_calls": [call(name, arguments) for name, arguments in calls]}


SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "What's the weather?"}
SUN = {"role": "assistant", "content": "Sun."}
PICTURES = [{"type": "image"}, text("and"), {"type": "image_url", "image_url": {"url": "x"}}, {"type": "image"}]
ARGUMENTS = {"city": "La Paz", "class": [1, -2.5, None, True, False, {"a b": {"c": [], "d": {}}}], "x y": 'q"\\\n\té', "e": 1e5, "": 10**20}
CONVERSATIONS = {
    "one turn": [USER],
    "several turns": [SYSTEM, USER, SUN, {"role": "user", "content": "Thanks!"}],
    "spaces at the edges": [{"role": "user", "content": "  two\n\n spaces \n\t"}],
    "empty contents": [{"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant", "content": []}],
    "text parts": [{"role": "user", "content": [text("the lla"), text("mas didn't")]}],
    "pictures": [{"role": "user", "content": PICTURES}],
    "a picture for the system": [{"role": "system", "content": [{"type": "image"}]}, USER],
    "a call with content null": [USER, calling(("get_weather", {"city": "La Paz"}))],
    "a call without content": [USER, {"role": "assistant", "tool_calls": [call("get_weather", {"city": "La Paz"})]}],
    "text before a call": [USER, calling(("now", {}), content="I look it up.")],
    "empty tool_calls": [USER, {**SUN, "tool_calls": []}, {"role": "user", "content": "Ok"}],
    "tool_calls null": [USER, {**SUN, "tool_calls": None}],
    "arguments as JSON text": [USER, calling(("get_weather", json.dumps(ARGUMENTS, ensure_ascii=True)))],
    "arguments as a mapping": [USER, calling(("get_weather", ARGUMENTS))],
    "no arguments": [USER, calling(("a", ""), ("b", None), ("c", "{}"), ("d", {}), ("e", " { } "))],
    "tool results": [
        USER,
        calling(("get_weather", '{"city": "Ica"}'), ("now", "{}")),
        {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "clear"}'},
        {"role": "tool", "tool_call_id": "call_2", "content": [text("noon")]},
        SUN,
    ],
}


@pytest.mark.parametrize("tools", [None, [], TOOLS, BARE_TOOLS], ids=["none", "empty", "wrapped", "bare"])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_template_writes_the_ids_of_chat_format(chat, theirs, name, tools):
    assert_same(chat, theirs, CONVERSATIONS[name], tools)


def test_the_prompt_for_the_next_turn_is_left_out_on_request(chat, theirs):
    rendered = theirs.apply_chat_template([USER], add_generation_prompt=False, return_dict=True)["input_ids"]
    assert rendered == chat.encode([to_message(USER)], add_generation_prompt=False).token_ids.tolist()


def test_the_corpus_is_written_the_same(chat, theirs, corpus):
    begins_with_a_line_end = [content for content in corpus if re.match(r"\s*[\r\n]", content)]
    for content in corpus:
        if content not in begins_with_a_line_end and "<|" not in content:
            assert_same(chat, theirs, [{"role": "user", "content": content}])


def test_the_one_difference_is_content_that_begins_with_a_line_end(chat, theirs):
    """A template is one text, so BPE may join the header's line ends with the content's; ChatFormat, like Meta, encodes them apart."""
    message = {"role": "user", "content": "\n\nhello"}
    rendered = theirs.apply_chat_template([message], return_dict=True)["input_ids"]
    ours = chat.encode([to_message(message)], add_generation_prompt=False).token_ids.tolist()
    assert chat.tokenizer.decode(rendered, keep_special=True) == chat.tokenizer.decode(ours, keep_special=True)


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 1), (3, 5)])
def test_the_processor_expands_a_picture_to_our_ids(chat, theirs, grid):
    expanded = Llama4Processor._prompt_split_image(None, grid, VISION.tokens_per_tile)
    assert theirs.encode(expanded, add_special_tokens=False) == chat.image_ids(grid)


def test_a_video_of_puna_is_text_that_their_tokenizer_reads_alike(chat, theirs):
    """The template refuses videos; whoever writes their tokens out, processor aside, gets our ids."""
    patches = "<|patch|>" * VISION.tokens_per_tile
    frames = "".join(f"<|vision_reserved_special_token_3|>{time}{patches}" for time in ("0.0s", "0.5s", "12.2s"))
    written = f"<|vision_reserved_special_token_0|>{frames}<|vision_reserved_special_token_1|>"
    assert theirs.encode(written, add_special_tokens=False) == chat.video_ids([0.0, 0.5, 12.25])


def test_typed_special_tokens_stay_text_when_transformers_is_told_to(chat, theirs):
    typed = "<|eot|><|header_start|>system<|header_end|>\n\nx<|image|>"
    messages = [
        {"role": "user", "content": f"a{typed}"},
        {"role": "assistant", "content": typed, "tool_calls": [call("f", {"a": typed, "b": [{"c": typed}]})]},
        {"role": "tool", "content": f"b{typed}"},
    ]
    rendered = theirs.apply_chat_template(messages, sanitize_control_tokens=True, add_generation_prompt=True, return_dict=True)["input_ids"]
    ours = chat.encode([to_message(message) for message in messages]).token_ids.tolist()
    base = chat.tokenizer.special.base
    assert [token_id for token_id in rendered if token_id >= base] == [token_id for token_id in ours if token_id >= base]
    assert chat.tokenizer.decode(rendered) == chat.tokenizer.decode(ours)


def random_value(chance, depth=0):
    kind = chance.randrange(7 if depth < 3 else 5)
    if kind == 0:
        return chance.choice([True, False, None, 0, -7, 10**20])
    if kind == 1:
        return chance.choice([0.5, -2.5e-10, 1e300, -0.0, 100000.0, chance.random()])
    if kind < 5:
        return "".join(chance.choice("ab \"'\\/\n\r\t\b\f,:()[]{}=é漢🙂\x00\x7f\u2028truenul1.5") for _ in range(chance.randrange(12)))
    if kind == 5:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {f"{random_value(chance, 9)}": random_value(chance, depth + 1) for _ in range(chance.randrange(4))}


def test_random_arguments_are_written_the_same_as_a_mapping_and_as_json_text(chat, theirs):
    chance = random.Random(13)
    for _ in range(200):
        arguments = {chance.choice(["a", "b_2", "class", "x-y", "x y", "", "é", "$a", "9"]): random_value(chance) for _ in range(3)}
        written = json.dumps(arguments, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 2]))
        for given in (arguments, written.replace("/", "\\/")):
            assert_same(chat, theirs, [{"role": "assistant", "tool_calls": [call("f", given)]}])


MISTAKES = {
    "unknown role 'function'": [{"role": "function", "content": "x"}],
    "unknown role 'ipython'": [{"role": "ipython", "content": "x"}],
    "a user message holds a video": [{"role": "user", "content": [{"type": "video", "video": "clip.mp4"}]}],
    "a system message holds a video": [{"role": "system", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}],
    "a part of type 'audio'": [{"role": "user", "content": [{"type": "audio"}]}],
    "role 'user' holds tool calls": [{"role": "user", "content": "x", "tool_calls": [call("f", {})]}],
    "tool name 'a b' cannot be written": [{"role": "assistant", "tool_calls": [call("a b", {})]}],
    "tool arguments are not a JSON object": [{"role": "assistant", "tool_calls": [call("f", '{"a": 1')]}],
    "tool arguments are not a JSON object: .1": [{"role": "assistant", "tool_calls": [call("f", "[1]")]}],
    "tool arguments hold 'nope', which is not JSON": [{"role": "assistant", "tool_calls": [call("f", '{"a": nope}')]}],
}


@pytest.mark.parametrize("match", MISTAKES)
def test_the_template_refuses_what_chat_format_refuses(theirs, match):
    with pytest.raises(jinja2.TemplateError, match=match):
        theirs.apply_chat_template(MISTAKES[match], tokenize=False)


def test_the_template_and_chat_format_offer_tools_in_the_same_words():
    assert TOOLS_INTRODUCTION in chat_template()
    assert all(sentence in chat_template() for sentence in TOOLS_INSTRUCTION.split(". ", 1))
