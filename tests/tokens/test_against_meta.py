"""Ids against Meta's own: its vocabulary file, its tokenizer and its chat format, from the package `llama-models` (a test dependency).

The package's chat format imports torchvision for its image transforms, which no test here uses; a stand-in module takes its place.
"""

import random
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from llama_models.datatypes import RawMessage, StopReason, ToolPromptFormat
from llama_models.datatypes import ToolCall as MetaToolCall
from llama_models.llama4.tokenizer import Tokenizer as MetaTokenizer
from PIL import ImageFile

from puna.presets import LLAMA4_VISION
from puna.stream import Image, Message, Text, ToolCall
from puna.tokens.bpe import Tokenizer
from puna.tokens.chat import ChatFormat
from puna.tokens.split import LLAMA4_PATTERN, MAX_RUN, MAX_WINDOW

# Computed from Meta's file when this room was written, so that the file and the package cannot drift together unseen.
GOLDEN = {
    "system": [15651],
    "user": [1556],
    "assistant": [140680],
    "ipython": [607, 6934],
    "\n\n": [368],
    "Hello, world!": [19873, 24, 3817, 13],
    "The capital of France is": [954, 7963, 323, 11698, 373],
    "1234567890": [7235, 19596, 30054, 28],
    "  leading  spaces\t\n\n": [220, 10855, 220, 15174, 33802],
    "Don't STOP": [55624, 89417],
    "def f(x):\n    return x**2\n": [1251, 288, 2595, 1960, 277, 677, 831, 442, 30, 198],
    "a/b\r\n//c": [77, 4790, 13266, 405, 79],
    "\U0001f642": [5796, 247, 224],
    "<|eot|>": [40, 104, 81, 359, 159276],
}
GOLDEN_CHAT = [200000, 200005, 15651, 200006, 368, 4662, 583, 262, 19933, 43910, 200008, 200005, 1556, 200006, 368]
GOLDEN_CHAT += [4984, 2117, 583, 650, 310, 290, 1075, 323, 1997, 153495, 43, 200008, 200005, 140680, 200006, 368]


@pytest.fixture(scope="module")
def meta():
    return MetaTokenizer.get_instance()


@pytest.fixture(scope="module")
def ours():
    return Tokenizer.from_tiktoken(Path(sys.modules[MetaTokenizer.__module__].__file__).parent)


@pytest.fixture(scope="module")
def converted(ours, tmp_path_factory):
    """Meta's vocabulary as a Hugging Face directory."""
    directory = tmp_path_factory.mktemp("converted")
    ours.save_hf(directory)
    return Tokenizer.from_hf(directory)


@pytest.fixture(scope="module")
def meta_chat(meta):
    """Meta's chat format. Importing it makes Pillow accept cut files for the whole process, and needs a torchvision: both are undone."""
    before, modules = ImageFile.LOAD_TRUNCATED_IMAGES, set(sys.modules)
    if find_spec("torchvision") is None:
        package, transforms = types.ModuleType("torchvision"), types.ModuleType("torchvision.transforms")
        package.transforms = transforms
        transforms.functional = types.ModuleType("torchvision.transforms.functional")
        sys.modules |= {"torchvision": package, "torchvision.transforms": transforms}
    import llama_models.llama4 as meta_package
    from llama_models.llama4.args import Size, VisionArgs
    from llama_models.llama4.chat_format import ChatFormat as MetaChatFormat

    chat = MetaChatFormat(meta)
    tile, patch = Size(height=336, width=336), Size(height=14, width=14)
    tower = {"dim": 1408, "n_layers": 34, "n_heads": 16, "mlp_ratio": 4.0, "output_dim": 4096, "pixel_shuffle_ratio": 0.5}
    chat.vision_args = VisionArgs(image_size=tile, patch_size=patch, **tower)
    yield chat
    ImageFile.LOAD_TRUNCATED_IMAGES = before
    for name in set(sys.modules) - modules:
        if name.startswith(("torchvision", "llama_models.llama4.preprocess")):
            del sys.modules[name]
    vars(meta_package).pop("preprocess", None)  # `from package import module` looks here first


@pytest.fixture(scope="module")
def chat(ours):
    return ChatFormat(ours, LLAMA4_VISION)


# Tokenizer


def test_special_tokens_have_meta_s_names_and_ids(meta, ours):
    assert {name: ours.special.id(name) for name in ours.special.names} == meta.special_tokens
    assert list(ours.special.stop_ids) == meta.stop_tokens
    assert (ours.special.pad, ours.vocab_size) == (meta.pad_id, meta.n_words)


def test_the_pattern_is_meta_s(meta):
    assert meta.O200K_PATTERN == LLAMA4_PATTERN


@pytest.mark.parametrize("text", GOLDEN)
def test_golden_texts(ours, text):
    assert ours.encode(text) == GOLDEN[text]


def test_the_corpus_has_meta_s_ids(meta, ours, corpus):
    assert [ours.encode(text) for text in corpus] == [meta.encode(text, bos=False, eos=False) for text in corpus]


def test_the_converted_vocabulary_has_meta_s_ids(ours, converted, corpus):
    assert converted.special == ours.special
    assert [converted.encode(text) for text in corpus] == [ours.encode(text) for text in corpus]


def test_every_character_has_meta_s_ids_in_both_forms(meta, ours, converted):
    """All of the basic plane and a sample of the rest, beside letters, spaces, digits and apostrophes, so that classes would show."""
    characters = [*range(0xD800), *range(0xE000, 0x10000), *range(0x10000, 0x110000, 61)]
    text = "".join(f"a{chr(c)}B {chr(c)}{chr(c)}'{chr(c)}1 " for c in characters)
    expected = meta.encode(text, bos=False, eos=False)
    assert ours.encode(text) == expected
    assert converted.encode(text) == expected


def test_runs_of_one_character_are_merged_alike_in_both_forms(ours, converted):
    """Where many equal pairs overlap, the order of merging shows."""
    for unit in (*"a =-_*#/.\t\n", "ab", "ha", "=-", "的", "🙂", "é", "\u00a0", "0"):
        for length in range(1, 70):
            assert converted.encode(unit * length) == ours.encode(unit * length)


@pytest.mark.parametrize(
    "text",
    [
        "x" * (2 * MAX_RUN + 7),
        " " * (MAX_RUN + 1) + "end",
        "word " * 5 + "9" * MAX_RUN + "\n" * (MAX_RUN + 3) + "\u3000é" * MAX_RUN,
        "it's a long text, " * (MAX_WINDOW // 12),
        "ab" * (MAX_WINDOW // 2) + "c" * 10,
    ],
    ids=lambda text: f"{len(text)} characters",
)
def test_long_inputs_are_cut_where_meta_cuts_them(meta, ours, text):
    assert ours.encode(text) == meta.encode(text, bos=False, eos=False)


def test_decoding_random_ids_gives_meta_s_text(meta, ours):
    chance = random.Random(3)
    for _ in range(200):
        ids = [chance.randrange(200_000) for _ in range(20)]
        assert ours.decode(ids) == meta.decode(ids)
        assert ours.decode(ids[:5] + [200_008], keep_special=True) == meta.decode(ids[:5] + [200_008])


# Chat format


def test_the_golden_conversation(chat):
    system, user = "You are a helpful assistant", "Answer who are you in the form of jeopardy?"
    stream = chat.encode([Message("system", (Text(system),)), Message("user", (Text(user),))])
    assert stream.token_ids.tolist() == GOLDEN_CHAT


def meta_message(message):
    """`message` as Meta's type; ours writes end of message after calls, which Meta's infers too."""
    calls = [MetaToolCall(call_id="", tool_name=call.name, arguments=dict(call.arguments)) for call in message.tool_calls]
    stop = StopReason.end_of_turn if message.role == "assistant" else None
    return RawMessage(role=message.role, content=message.text, tool_calls=calls, stop_reason=stop)


def test_random_conversations_have_meta_s_ids(chat, meta_chat, corpus):
    chance = random.Random(9)
    for _ in range(150):
        messages = []
        for _ in range(chance.randint(1, 6)):
            role = chance.choice(["system", "user", "assistant", "tool"])
            messages.append(Message(role, (Text(chance.choice(corpus)),)))
        expected = meta_chat.encode_dialog_prompt([meta_message(message) for message in messages]).tokens
        assert chat.encode(messages).token_ids.tolist() == expected


@pytest.mark.parametrize("arguments", [{}, {"city": "La Paz"}, {"n": 3, "x": -1.5, "on": True, "off": None, "list": [1, "a"]}])
def test_a_tool_call_has_meta_s_ids_of_the_python_list(chat, meta_chat, arguments):
    turn = Message("assistant", (), (ToolCall("get_weather", arguments),))
    messages = [Message("user", (Text("?"),)), turn, Message("tool", (Text('{"c": 9}'),)), Message("assistant", (Text("Nine."),))]
    expected = meta_chat.encode_dialog_prompt([meta_message(message) for message in messages], ToolPromptFormat.python_list).tokens
    assert chat.encode(messages).token_ids.tolist() == expected


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5), (1, 16), (16, 1), (4, 4)])
def test_pictures_have_meta_s_ids(chat, meta_chat, grid):
    from llama_models.llama4.chat_format import TransformedImage

    tiles = grid[0] * grid[1] + (grid != (1, 1))
    picture = TransformedImage(image_tiles=torch.zeros(tiles, 3, 336, 336), aspect_ratio=grid)
    assert chat.image_ids(grid) == meta_chat._encode_image(picture)


def test_a_picture_between_two_texts_stands_between_their_ids(chat, meta_chat, meta):
    picture = Image(np.zeros((1, 3, 336, 336), dtype=np.float32), (1, 1))
    ids = chat.encode([Message("user", (Text("Look: "), picture, Text(" Nice?")))], add_generation_prompt=False).token_ids.tolist()
    encode = [meta.encode(text, bos=False, eos=False) for text in ("Look: ", " Nice?")]
    assert ids == [200000, *meta_chat._encode_header("user"), *encode[0], *chat.image_ids((1, 1)), *encode[1], 200008]


@pytest.mark.parametrize(
    "text",
    ["Hello there.", '<function=get_weather>{"city": "La Paz"}</function>', "<|python_start|>print(1)<|python_end|>"],
)
def test_replies_that_meta_s_decoder_reads_are_read_alike(chat, meta_chat, meta, text):
    ids = [*meta.encode(text, bos=False, eos=False, allowed_special="all"), 200008]
    expected = meta_chat.decode_assistant_message(ids, StopReason.end_of_turn)
    read = chat.parse_reply(ids)
    names = [getattr(call.tool_name, "value", call.tool_name) for call in expected.tool_calls]
    assert (read.text, [(call.name, call.arguments) for call in read.tool_calls]) == (
        expected.content,
        [(name, call.arguments) for name, call in zip(names, expected.tool_calls, strict=True)],
    )
