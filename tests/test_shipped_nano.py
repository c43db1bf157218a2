"""The nanos as they ship: they answer starter pictures and videos, and `transformers` reads their exports and says the same."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoTokenizer, Llama4ForConditionalGeneration

import puna
from puna.checkpoint import open_model
from puna.cli.main import app as command_line
from puna.evals.score import normalised
from puna.model.count import count_parameters
from puna.pipeline import Pipeline, shipped_models
from puna.presets import preset
from puna.serve import create_app

STARTERS = Path(puna.__path__[0]) / "serve" / "web" / "starters"
NAMES = ("maverick-nano", "scout-nano")
GREEDY_TOKENS = 12
MOST_BYTES = 50_000_000


@pytest.fixture(scope="module", params=NAMES)
def nano(request: pytest.FixtureRequest) -> Pipeline:
    return puna.load(request.param)


@pytest.fixture(scope="module")
def exported(nano: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("export") / "hf"
    with pytest.raises(SystemExit) as ended:
        command_line(["convert", nano.name, str(directory)])
    assert ended.value.code == 0
    return directory


def test_what_ships_is_small_and_has_a_card() -> None:
    shipped = shipped_models()
    assert tuple(shipped) == NAMES
    assert sum(file.stat().st_size for directory in shipped.values() for file in directory.rglob("*")) < MOST_BYTES
    for name, directory in shipped.items():
        assert (directory / "README.md").read_text(encoding="utf-8").startswith(f"# {name}\n")


def test_the_shipped_shape_is_the_preset(nano: Pipeline) -> None:
    expected = preset(nano.name)
    assert nano.config.layers() == expected.layers()
    with open_model(shipped_models()[nano.name]) as stored:
        assert count_parameters(stored.config).total == count_parameters(expected).total


def test_most_starters_get_the_right_english_answer(nano: Pipeline) -> None:
    expected = json.loads((STARTERS / "answers.json").read_text(encoding="utf-8"))
    listed = json.loads((STARTERS / "starters.json").read_text(encoding="utf-8"))["starters"]
    assert len(listed) == 26 and sum(starter["kind"] == "video" for starter in listed) == 4
    right: dict[str, list[bool]] = {}
    for starter in listed:
        content = [{"type": "image", "image": STARTERS / starter["file"]}, starter["questions"]["en"][0]]
        said = nano.chat([{"role": "user", "content": content}], max_tokens=24)
        is_right = normalised(said.text) == normalised(expected[starter["file"]]["answers"]["en"][0])
        right.setdefault("video" if starter["kind"] == "video" else "picture", []).append(is_right)
    assert sum(right["picture"]) >= 19 and sum(right["video"]) >= 3


def test_the_server_streams_a_right_answer_about_a_starter_picture(nano: Pipeline) -> None:
    data_url = "data:image/png;base64," + base64.b64encode((STARTERS / "watermelon.png").read_bytes()).decode()
    content = [{"type": "image_url", "image_url": {"url": data_url}}, {"type": "text", "text": "What is this?"}]
    with TestClient(create_app(nano)) as client:
        answer = client.post("/v1/chat/completions", json={"stream": True, "messages": [{"role": "user", "content": content}]})
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    said = "".join(choice["delta"].get("content") or "" for event in events[:-1] for choice in json.loads(event)["choices"])
    assert normalised(said) == "watermelon"


def test_transformers_loads_the_export_without_missing_or_unexpected_keys(exported: Path) -> None:
    _, report = Llama4ForConditionalGeneration.from_pretrained(exported, dtype="float32", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]


@pytest.mark.parametrize(
    ("file", "question"), [("watermelon.png", "What is this?"), ("moving-turtle.webp", "Which way does it move?")], ids=["picture", "video"]
)
def test_transformers_gives_the_same_logits_and_the_same_greedy_answer(nano: Pipeline, exported: Path, file: str, question: str) -> None:
    theirs = Llama4ForConditionalGeneration.from_pretrained(exported, dtype="float32", attn_implementation="eager").eval()
    content = [{"type": "image", "image": STARTERS / file}, question]
    prompt = nano.encode([{"role": "user", "content": content}])
    ids, tiles = torch.from_numpy(prompt.token_ids)[None], torch.from_numpy(prompt.tiles)
    ours = puna.load(exported, dtype="float32")
    with torch.inference_mode():
        difference = theirs(input_ids=ids, pixel_values=tiles).logits[0] - ours.logits(prompt.token_ids.tolist(), images=prompt.tiles)
    assert float(difference.abs().max()) < 1e-4  # as in the parity suite; logits reach 28
    answer: list[int] = []
    for _ in range(GREEDY_TOKENS):  # each time the whole sequence: no cache of either side is at work
        sequence = torch.cat((ids, torch.tensor([answer], dtype=torch.int64)), dim=1)
        with torch.inference_mode():
            answer.append(int(theirs(input_ids=sequence, pixel_values=tiles).logits[0, -1].argmax()))
        if answer[-1] in nano.config.eos_ids:
            break
    said = nano.chat([{"role": "user", "content": content}], max_tokens=GREEDY_TOKENS)
    assert nano.chat_format.parse_reply(answer).text == said.text


def test_transformers_tokenizer_reads_the_exported_files(nano: Pipeline, exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    for text in ("What is this?", "¿Qué es esto?", "これは何ですか？", "यह क्या है?", "3 + 47 = 50"):
        assert tokenizer.encode(text, add_special_tokens=False) == nano.tokenizer.encode(text)
    conversation = [{"role": "user", "content": "Hello"}]
    ids = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert np.array_equal(ids, nano.encode(conversation).token_ids)
