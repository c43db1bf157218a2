"""Messages in, text out, on a saved tiny model: what it says is compared with the naive way, or known because it was built to say it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import puna
from puna.checkpoint import CheckpointError, convert_model, save_model
from puna.engine import ContextError, SamplingError
from puna.messages import RequestError
from puna.model import Batch, Model
from puna.pipeline import Chunk, Pipeline, load
from puna.stream import Message, Stream, Text, ToolCall
from puna.testing.models import tiny_config, tiny_model
from puna.testing.tokenizer import byte_tokenizer
from puna.testing.videos import gif, mp4
from puna.tokens.errors import ChatError

EOT, EOM, END = 264, 263, 257
HELLO = [{"role": "user", "content": "Hello"}]
TOOLS = [{"name": "f", "description": "", "parameters": {}}]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tiny_model(seed=3), tmp_path_factory.mktemp("models") / "tiny", byte_tokenizer(), storage="fp32")


@pytest.fixture(scope="module")
def pipeline(directory: Path) -> Pipeline:
    return load(directory)


Speaker = Callable[..., Pipeline]


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Speaker:
    """`speaker("abc")` answers every prompt that ends in a line break (as chats do) with `abc`, byte by byte, and then `end`.

    Its layers add nothing, and its head turns each id's embedding into the next id: so no byte may come twice.
    """

    def make(answer: str | bytes, end: int = EOT, **changes: Any) -> Pipeline:
        said = answer.encode() if isinstance(answer, str) else answer
        assert len({10, *said}) == len(said) + 1, "no byte may come twice"
        config = tiny_config(width=256, num_layers=1, moe_layers=(), nope_layers=(0,), **changes)
        model = tiny_model(config)
        for name, parameter in model.named_parameters():
            if name.endswith(("wo.weight", "w_down.weight", "head.weight")) and name.startswith("text"):
                parameter.data.zero_()
        embed = torch.randint(0, 2, (384, 256), generator=torch.Generator().manual_seed(1)).float() * 2 - 1
        model.text.embed.weight.data = embed
        for before, after in zip([10, *said], [*said, end], strict=True):
            model.text.head.weight.data[after] += embed[before]
        path = save_model(model, tmp_path_factory.mktemp("models") / "speaker", byte_tokenizer())
        return load(path)

    return make


def naive_answer(model: Model, stream: Stream, count: int) -> list[int]:
    ids, out = list(stream.token_ids), []
    while len(out) < count and not (out and out[-1] in model.config.eos_ids):
        with torch.no_grad():
            logits = model.logits(model(Batch.from_streams([Stream(np.array(ids), stream.tiles)])))[-1]
        logits[model.config.patch_id] = -torch.inf
        out.append(int(logits.argmax()))
        ids.append(out[-1])
    return out


def test_a_loaded_model_is_the_saved_one(directory: Path, pipeline: Pipeline) -> None:
    saved = tiny_model(seed=3).state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in pipeline.model.state_dict().items())
    assert pipeline.model.dtype == torch.float32 and not pipeline.model.training
    assert not any(parameter.requires_grad for parameter in pipeline.model.parameters())
    assert (pipeline.name, load(str(directory)).name) == ("tiny", str(directory))
    assert load(directory, "bfloat16").model.dtype == load(directory, torch.bfloat16).model.dtype == torch.bfloat16


def test_puna_load_is_the_pipelines(directory: Path) -> None:
    assert puna.load is load and puna.Pipeline is Pipeline
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        puna.lod  # noqa: B018


def test_a_chat_says_what_the_naive_way_says(pipeline: Pipeline) -> None:
    prompt = pipeline.encode(HELLO)
    expected = naive_answer(pipeline.model, prompt, 24)
    reply = pipeline.chat(HELLO, max_tokens=24)
    text = pipeline.tokenizer.decode([token for token in expected if token not in pipeline.config.eos_ids])
    assert reply.text == text and reply.message.role == "assistant"
    assert (reply.prompt_tokens, reply.completion_tokens) == (len(prompt), len(expected))
    assert reply.finish_reason == ("stop" if expected[-1] in pipeline.config.eos_ids else "length")


def test_a_picture_reaches_the_model(pipeline: Pipeline) -> None:
    generator = np.random.default_rng(0)
    pictures = [Pillow.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(2)]
    answers = []
    for picture in pictures:
        messages = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "?"}]}]
        prompt = pipeline.encode(messages)
        assert prompt.num_tiles == 1 and (prompt.token_ids == 348).sum() == 4
        expected = naive_answer(pipeline.model, prompt, 20)
        answers.append(pipeline.chat(messages, max_tokens=20).text)
        assert answers[-1] == pipeline.tokenizer.decode([token for token in expected if token not in pipeline.config.eos_ids])
    assert answers[0] != answers[1]


@pytest.mark.parametrize("kind", ["video", "image"])
@pytest.mark.parametrize("form", [mp4, gif])
def test_a_video_reaches_the_model(pipeline: Pipeline, tmp_path: Path, form: Callable[[], bytes], kind: str) -> None:
    path = tmp_path / "clip"
    path.write_bytes(form())
    messages = [{"role": "user", "content": [{"type": kind, kind: path}, {"type": "text", "text": "?"}]}]
    prompt = pipeline.encode(messages)
    assert prompt.num_tiles == 5 and (prompt.token_ids == pipeline.config.patch_id).sum() == 5 * 4
    expected = naive_answer(pipeline.model, prompt, 12)
    reply = pipeline.chat(messages, max_tokens=12)
    assert reply.text == pipeline.tokenizer.decode([token for token in expected if token not in pipeline.config.eos_ids])
    assert reply.prompt_tokens == len(prompt)


def test_one_video_takes_a_quarter_of_a_small_context_and_too_many_are_an_error_that_counts_them(speaker: Speaker) -> None:
    small = speaker("ok", max_positions=320)  # a quarter is 80 tokens: six frames of 4 patch ids and at most 8 others
    clip = {"type": "video", "video": mp4(40)}
    prompt = small.encode([{"role": "user", "content": [clip]}])
    assert prompt.num_tiles == 6 and len(prompt) < 40 + 80
    assert small.chat([{"role": "user", "content": [clip, "?\n"]}]).text == "ok"
    with pytest.raises(ContextError, match="reads at most 320, .* send fewer pictures and videos: 36 tiles are in it"):
        small.chat([{"role": "user", "content": [clip] * 6}])


def test_messages_and_dicts_are_the_same_request(pipeline: Pipeline) -> None:
    written = [Message("system", (Text("Be brief."),)), Message("user", (Text("Hello"),))]
    dicts = [{"role": "system", "content": "Be brief."}, *HELLO]
    assert pipeline.encode(written).token_ids.tolist() == pipeline.encode(dicts).token_ids.tolist()
    assert pipeline.chat(written, max_tokens=5) == pipeline.chat(dicts, max_tokens=5)


def joined(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_the_speaker_says_its_piece(speaker: Speaker) -> None:
    """Guards the tests below: the model really is run, and says exactly what it was built to say."""
    reply = speaker("abcdef").chat(HELLO)
    assert (reply.text, reply.finish_reason, reply.completion_tokens) == ("abcdef", "stop", 7)


@pytest.mark.parametrize("end", [EOT, EOM, END])
def test_every_closing_id_stops_the_answer(speaker: Speaker, end: int) -> None:
    reply = speaker("abc", end=end).chat(HELLO)
    assert (reply.text, reply.finish_reason, reply.completion_tokens) == ("abc", "stop", 4)


def test_a_stream_comes_in_pieces_that_join_to_the_answer(speaker: Speaker) -> None:
    chunks = list(speaker("abcdef").stream(HELLO))
    assert joined(chunks) == "abcdef" and len([chunk for chunk in chunks if chunk.text]) == 6
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    counts = [chunk.completion_tokens for chunk in chunks]
    assert counts == sorted(counts) and counts[-1] == 7
    assert len({chunk.prompt_tokens for chunk in chunks}) == 1


def test_no_chunk_holds_half_a_character(speaker: Speaker) -> None:
    pipeline = speaker("aé漢🙂z")
    chunks = list(pipeline.stream(HELLO))
    assert [chunk.text for chunk in chunks if chunk.text] == ["a", "é", "漢", "🙂", "z"]
    cut = list(pipeline.stream(HELLO, max_tokens=5))  # a, é, and two of the three bytes of 漢
    assert joined(cut) == "aé\ufffd" and cut[-1].finish_reason == "length"


def test_max_tokens_ends_with_length(speaker: Speaker) -> None:
    reply = speaker("abcdef").chat(HELLO, max_tokens=3)
    assert (reply.text, reply.finish_reason, reply.completion_tokens) == ("abc", "length", 3)
    assert speaker("abc").chat(HELLO, max_tokens=4).finish_reason == "stop"
    assert speaker("abc").chat(HELLO, max_tokens=3).finish_reason == "length"


@pytest.mark.parametrize(
    ("stop", "text", "tokens"),
    [
        ("d", "abc", 4),
        ("cd", "ab", 4),
        (("cd",), "ab", 4),
        (("xyz", "efg", "cde"), "ab", 5),
        (("f", "ef", "def"), "abc", 6),  # all three end at once: the one that begins first counts
        (("abcdefgh",), "", 8),
        (("b", "abc"), "a", 2),
    ],
)
def test_a_stop_string_ends_the_answer_before_it(speaker: Speaker, stop: Any, text: str, tokens: int) -> None:
    reply = speaker("abcdefgh").chat(HELLO, stop=stop)
    assert (reply.text, reply.finish_reason, reply.completion_tokens) == (text, "stop", tokens)


@pytest.mark.parametrize("stop", ["cdef", ("cdef", "cxx"), ("de", "cdef")])
def test_a_stop_string_over_several_tokens_is_never_partly_said(speaker: Speaker, stop: Any) -> None:
    said = ""
    for chunk in speaker("abcdefgh").stream(HELLO, stop=stop):
        said += chunk.text
        assert "abc".startswith(said)
    assert said == ("ab" if stop != ("de", "cdef") else "abc")


def test_what_only_began_like_a_stop_string_is_said_after_all(speaker: Speaker) -> None:
    chunks = list(speaker("abcdefgh").stream(HELLO, stop=["cdX", "efghi", "ghX"]))
    assert joined(chunks) == "abcdefgh" and chunks[-1].finish_reason == "stop"
    texts = [chunk.text for chunk in chunks if chunk.text]
    assert texts[:2] == ["a", "b"] and "c" not in texts  # c waited for d, and d for e
    assert speaker("abcdefgh").chat(HELLO, stop=["cdX"], max_tokens=3).text == "abc"


def test_a_stop_string_may_cut_inside_characters_of_several_bytes(speaker: Speaker) -> None:
    reply = speaker("a漢b🙂c").chat(HELLO, stop="b🙂")
    assert reply.text == "a漢"
    assert speaker("a漢b🙂c").chat(HELLO, stop="漢").text == "a"


def test_generate_continues_plain_text(pipeline: Pipeline, speaker: Speaker) -> None:
    stream = Stream(np.array([256, *b"Once"]))
    expected = [token for token in naive_answer(pipeline.model, stream, 12) if token not in pipeline.config.eos_ids]
    assert pipeline.generate("Once", max_tokens=12) == pipeline.tokenizer.decode(expected)
    assert speaker("abcdef").generate("x\n", stop="de") == "abc"
    assert speaker("abcdef").generate("abc") == "def"


def test_what_a_user_types_is_never_a_special_token(pipeline: Pipeline) -> None:
    typed = pipeline.encode([{"role": "user", "content": "<|eot|><|patch|>"}]).token_ids
    assert (typed == EOT).sum() == 1 and not (typed == 348).any()


def test_a_call_comes_whole_and_none_of_it_as_text(speaker: Speaker) -> None:
    pipeline = speaker("[f(x=1)]", end=EOM)
    chunks = list(pipeline.stream(HELLO, tools=TOOLS))
    assert joined(chunks) == ""
    assert [chunk.tool_calls for chunk in chunks if chunk.tool_calls] == [(ToolCall("f", {"x": 1}, "call_0"),)]
    last = chunks[-1]
    assert last.finish_reason == "tool_calls" and last.completion_tokens == 9
    reply = pipeline.chat(HELLO, tools=TOOLS)
    assert (reply.message.content, reply.finish_reason) == ((), "tool_calls")
    assert reply.message.tool_calls == (ToolCall("f", {"x": 1}, "call_0"),)


def test_without_tools_what_looks_like_a_call_is_text(speaker: Speaker) -> None:
    reply = speaker("[f(x=1)]").chat(HELLO)
    assert (reply.text, reply.message.tool_calls, reply.finish_reason) == ("[f(x=1)]", (), "stop")
    assert speaker("[g(x=1)]").chat(HELLO, tools=TOOLS).text == "[g(x=1)]"


def test_text_comes_at_once_where_it_cannot_be_a_call(speaker: Speaker) -> None:
    chunks = list(speaker("plain!").stream(HELLO, tools=TOOLS))
    assert [chunk.text for chunk in chunks if chunk.text] == list("plain!")
    assert chunks[-1].finish_reason == "stop"


def test_text_is_held_back_while_it_might_be_a_call(speaker: Speaker) -> None:
    chunks = list(speaker("[f(?").stream(HELLO, tools=TOOLS))
    assert [chunk.text for chunk in chunks if chunk.text] == ["[f(?"]
    assert chunks[-1].finish_reason == "stop"


def test_a_call_cut_short_is_text_and_a_whole_one_is_a_call(speaker: Speaker) -> None:
    cut = speaker("[f(x=1)]").chat(HELLO, tools=TOOLS, max_tokens=6)
    assert (cut.text, cut.message.tool_calls, cut.finish_reason) == ("[f(x=1", (), "length")
    broken = speaker('[f(x={"a').chat(HELLO, tools=TOOLS, max_tokens=8)  # told as a call while it lasted
    assert (broken.text, broken.message.tool_calls, broken.finish_reason) == ('[f(x={"a', (), "length")
    stopped = speaker("[f(x=1)]").chat(HELLO, tools=TOOLS, stop="]")
    assert (stopped.text, len(stopped.message.tool_calls), stopped.finish_reason) == ("", 1, "tool_calls")


def test_tools_stand_in_the_prompt(pipeline: Pipeline) -> None:
    with_tools = pipeline.tokenizer.decode(pipeline.encode(HELLO, TOOLS).token_ids)
    assert '"name": "f"' in with_tools and "Hello" in with_tools
    assert '"name": "f"' not in pipeline.tokenizer.decode(pipeline.encode(HELLO).token_ids)


def test_a_caller_may_stop_listening(speaker: Speaker) -> None:
    pipeline = speaker("abcdef")
    for tools in (None, TOOLS):
        chunks = pipeline.stream(HELLO, tools=tools)
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
        assert list(chunks) == []
    assert pipeline.chat(HELLO).text == "abcdef"


def test_sampling_options_reach_the_engine(pipeline: Pipeline) -> None:
    options = dict(temperature=1.5, max_tokens=20)
    one, again, other = (pipeline.chat(HELLO, seed=seed, **options).text for seed in (1, 1, 2))
    assert one == again != other
    assert pipeline.chat(HELLO, seed=5, top_p=1e-9, **options).text == pipeline.chat(HELLO, max_tokens=20).text


MISTAKES: dict[str, tuple[list[Any], dict[str, Any], type[Exception], str]] = {
    "no messages": ([], {}, RequestError, "non-empty"),
    "a role that does not exist": ([{"role": "robot", "content": "x"}], {}, ChatError, "'robot'"),
    "a part that does not exist": ([{"role": "user", "content": [{"type": "audio"}]}], {}, RequestError, "'audio'"),
    "a message without a role": ([{"content": "x"}], {}, RequestError, "'role'"),
    "calls by the user": ([{"role": "user", "tool_calls": [{"name": "f"}]}], {}, ChatError, "only the assistant"),
    "a temperature out of range": (HELLO, dict(temperature=3), SamplingError, "temperature=3"),
    "no tokens wanted": (HELLO, dict(max_tokens=0), SamplingError, "max_tokens=0"),
    "a seed too large": (HELLO, dict(seed=2**70), SamplingError, "seed="),
    "an empty stop string": (HELLO, dict(stop=["x", ""]), RequestError, "not empty"),
    "an empty stop": (HELLO, dict(stop=""), RequestError, "empty"),
    "a stop that is no text": (HELLO, dict(stop=[5]), RequestError, "5"),
    "a tool without a name": (HELLO, dict(tools=[{}]), ChatError, "no name"),
    "too long a conversation": ([{"role": "user", "content": "x" * 5000}], {}, ContextError, "at most 4096"),
}


@pytest.mark.parametrize(("messages", "options", "kind", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_raises_when_the_call_is_made_and_not_at_the_first_chunk(
    pipeline: Pipeline, messages: list[Any], options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    assert issubclass(kind, ValueError)
    for tools in ({}, {"tools": TOOLS}):
        with pytest.raises(kind, match=words):
            pipeline.stream(messages, **(tools | options))
    with pytest.raises(kind, match=words):
        pipeline.chat(messages, **options)


def test_an_option_that_does_not_exist_is_not_swallowed(pipeline: Pipeline) -> None:
    with pytest.raises(TypeError, match="top_q"):
        pipeline.chat(HELLO, top_q=5)
    with pytest.raises(TypeError, match="top_q"):
        pipeline.generate("x", top_q=5)


def test_a_model_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="'llama-5'.*directory"):
        load("llama-5")


def test_a_directory_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="config.json"):
        load(tmp_path)


def test_a_dtype_that_does_not_exist_is_named(directory: Path) -> None:
    with pytest.raises(RequestError, match="'float8'.*float32 or bfloat16"):
        load(directory, "float8")


def test_logits_are_those_of_one_forward(pipeline: Pipeline) -> None:
    one, two = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [7]
    with torch.no_grad():
        expected = pipeline.model.logits(pipeline.model(Batch.from_streams([Stream(np.array(one))])))
    alone = pipeline.logits(one)
    assert isinstance(alone, torch.Tensor) and alone.dtype == torch.float32
    torch.testing.assert_close(alone, expected)
    torch.testing.assert_close(pipeline.logits(np.array(one)), alone)
    torch.testing.assert_close(pipeline.logits(torch.tensor(one)), alone)
    first, second = pipeline.logits([one, two])
    torch.testing.assert_close(first, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(second, pipeline.logits(two), atol=1e-5, rtol=1e-4)


def test_logits_take_tiles_in_the_order_of_their_patch_tokens(pipeline: Pipeline) -> None:
    tiles = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)
    a, b = [1, *[348] * 4, 2], [*[348] * 4, 3]
    first, second = pipeline.logits([a, b], images=tiles)
    torch.testing.assert_close(first, pipeline.logits(a, images=tiles[:1]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(second, pipeline.logits(b, images=torch.from_numpy(tiles[1:])), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="4 patch tokens.*8 vision rows"):
        pipeline.logits(a, images=tiles)


@pytest.mark.parametrize("ids", [[], [384], [-1], [1, 2, 1000], [[1], []], [[1], [384]], [0.5, 1.0], [[1], [1.5]], ["a"], [True]])
def test_ids_that_do_not_exist_are_refused(pipeline: Pipeline, ids: list[Any]) -> None:
    with pytest.raises(RequestError, match="0 to 383"):
        pipeline.logits(ids)


def test_an_int8_directory_answers_as_its_bf16_conversion(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    integers = save_model(tiny_model(seed=3), tmp_path / "int8", tokenizer, storage="int8")
    floats = convert_model(integers, tmp_path / "bf16", tokenizer).directory
    ids = list(range(40))
    # The floats are products of integers and scales rounded to bf16; natively the integers are multiplied as they are.
    found, expected = (torch.as_tensor(load(directory).logits(ids)).log_softmax(-1) for directory in (integers, floats))
    assert (found - expected).abs().amax(-1).median() < 0.05, "a near tie of two experts may fall the other way at some places, not at most"


def test_an_answer_cancelled_from_elsewhere_is_an_error_and_not_a_short_answer(pipeline: Pipeline) -> None:
    chunks = pipeline.stream([{"role": "user", "content": "Hi"}], max_tokens=50)
    next(chunks)
    pipeline.engine.cancel_all()
    with pytest.raises(RequestError, match="cancelled"):
        list(chunks)
