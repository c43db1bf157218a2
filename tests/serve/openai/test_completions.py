"""Completions: prompts as text and ids, one and many, streamed and whole, with the prompt's scores for those who evaluate."""

import json
import math
from typing import Any

import pytest

from puna.pipeline import Pipeline
from puna.testing.models import tiny_config, tiny_model
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error
from puna.testing.tokenizer import byte_tokenizer

pytestmark = pytest.mark.anyio


async def complete(client: AppClient, prompt: Any, **fields: Any) -> dict[str, Any]:
    response = await client.http.post("/v1/completions", json={"prompt": prompt, **fields})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def tiny() -> Pipeline:
    return Pipeline("tiny", tiny_model(tiny_config(eos_ids=())), byte_tokenizer())


async def test_an_answer_has_openais_shape() -> None:
    answer = await complete(AppClient(ScriptedPipeline("upon a time", name="scout-nano")), "Once", model="scout-nano")
    assert answer.pop("id").startswith("cmpl-") and isinstance(answer.pop("created"), int)
    assert answer == {
        "object": "text_completion",
        "model": "scout-nano",
        "choices": [{"index": 0, "text": "upon a time", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "prompt_tokens_details": {"cached_tokens": 0}},
    }


async def test_text_is_read_behind_the_first_id_and_ids_as_they_stand(tiny: Pipeline) -> None:
    client = AppClient(tiny)
    ids = [tiny.config.bos_id, *b"Once"]
    by_text, by_ids = [(await complete(client, prompt, max_tokens=8))["choices"][0]["text"] for prompt in ("Once", ids)]
    assert by_text == by_ids == tiny.generate("Once", max_tokens=8)
    assert (await complete(client, ids[1:], max_tokens=8))["usage"]["prompt_tokens"] == 4


async def test_several_prompts_with_several_answers_each_are_numbered_through(tiny: Pipeline) -> None:
    client = AppClient(tiny)
    options = dict(max_tokens=6, temperature=1.0, seed=5)
    answer = await complete(client, ["a", "b"], n=2, **options)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    alone = [choice["text"] for prompt in "ab" for choice in (await complete(client, prompt, n=2, **options))["choices"]]
    assert [choice["text"] for choice in answer["choices"]] == alone
    assert answer["usage"]["prompt_tokens"] == 4 and answer["usage"]["completion_tokens"] == 24
    assert len({choice["text"] for choice in answer["choices"]}) > 1


async def test_a_stream_and_a_whole_answer_say_the_same(tiny: Pipeline) -> None:
    client = AppClient(tiny)
    fields = dict(prompt=["ab", "c"], max_tokens=6, logprobs=2, echo=True, n=2, temperature=0.7, seed=3)
    whole = await complete(client, **fields)
    response = await client.http.post("/v1/completions", json={**fields, "stream": True, "stream_options": {"include_usage": True}})
    *frames, last, done, rest = [frame.removeprefix("data: ") for frame in response.text.split("\n\n")]
    assert (done, rest) == ("[DONE]", "")
    texts, tokens, offsets = {}, {}, {}
    for frame in frames:
        (piece,) = json.loads(frame)["choices"]
        texts[piece["index"]] = texts.get(piece["index"], "") + piece["text"]
        tokens.setdefault(piece["index"], []).extend(piece["logprobs"]["tokens"])
        offsets.setdefault(piece["index"], []).extend(piece["logprobs"]["text_offset"])
    for choice in whole["choices"]:
        assert texts[choice["index"]] == choice["text"]
        assert tokens[choice["index"]] == choice["logprobs"]["tokens"]
        assert offsets[choice["index"]] == choice["logprobs"]["text_offset"]
    assert json.loads(last)["choices"] == []


async def test_scores_stand_at_their_places_in_the_text(tiny: Pipeline) -> None:
    (choice,) = (await complete(AppClient(tiny), "ab", max_tokens=3, logprobs=2, echo=True))["choices"]
    logprobs = choice["logprobs"]
    assert logprobs["tokens"][1:3] == ["a", "b"] and logprobs["token_logprobs"][0] is None is logprobs["top_logprobs"][0]
    assert logprobs["text_offset"][:4] == [0, 0, 1, 2]
    assert {len(column) for column in logprobs.values()} == {6}
    for token, value, best in zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True):
        if value is not None:
            assert best[token] == value <= 0 and 2 <= len(best) <= 3


async def test_the_harness_of_language_models_gets_the_logprobs_that_it_sums(tiny: Pipeline) -> None:
    """As lm-evaluation-harness' `local-completions` asks and reads: ids, echo, one token more, which it leaves out."""
    context, continuation = [256, *b"The cat"], [*b" sat"]
    ids = context + continuation
    payload = {"prompt": [ids], "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True, "model": "tiny"}
    response = await AppClient(tiny).http.post("/v1/completions", json=payload)
    (choice,) = response.json()["choices"]
    scored = choice["logprobs"]["token_logprobs"][len(context) : -1]
    best = choice["logprobs"]["top_logprobs"][len(context) : -1]
    logits = tiny.logits(ids)
    expected = [float(logits[place - 1].log_softmax(-1)[ids[place]]) for place in range(len(context), len(ids))]
    assert all(math.isclose(a, b, abs_tol=1e-4) for a, b in zip(scored, expected, strict=True))
    greedy = [int(logits[place - 1].argmax()) == ids[place] for place in range(len(context), len(ids))]
    tokens = choice["logprobs"]["tokens"][len(context) : -1]
    assert [max(top, key=top.get) == token for token, top in zip(tokens, best, strict=True)] == greedy


async def test_the_closing_token_counts_among_the_scored(tiny: Pipeline) -> None:
    ends = Pipeline("ends", tiny_model(tiny_config(eos_ids=tuple(range(300)))), byte_tokenizer())  # whatever it says, it ends
    (choice,) = (await complete(AppClient(ends), [1, 2], max_tokens=1, logprobs=1, echo=True))["choices"]
    assert len(choice["logprobs"]["tokens"]) == 3 and choice["finish_reason"] in ("stop", "length")


async def test_no_tokens_at_all_are_for_echoes_alone(tiny: Pipeline) -> None:
    client = AppClient(tiny)
    answer = await complete(client, "ab", max_tokens=0, echo=True, logprobs=0)
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"], answer["usage"]["completion_tokens"]) == ("ab", "length", 0)
    assert len(choice["logprobs"]["tokens"]) == 3
    assert_error(await client.http.post("/v1/completions", json={"prompt": "a", "max_tokens": 0}), 400, "invalid_value", "max_tokens")


async def test_without_a_number_an_answer_has_sixteen_tokens(tiny: Pipeline) -> None:
    assert (await complete(AppClient(tiny), "a"))["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"prompt": 5}, "invalid_value", "prompt"),
        ({"prompt": []}, "invalid_value", "prompt"),
        ({"prompt": [[]]}, "invalid_value", "prompt[0]"),
        ({"prompt": ["a", 5]}, "invalid_type", "prompt[1]"),
        ({"prompt": [1.5]}, "invalid_value", "prompt"),
        ({"prompt": [5, 384]}, "invalid_value", "prompt"),
        ({"prompt": [[5], [-1]]}, "invalid_value", "prompt[1][0]"),
        ({"prompt": [[5], [384]]}, "invalid_value", "prompt[1]"),
        ({}, "missing_required_parameter", "prompt"),
        ({"prompt": "a", "suffix": "b"}, "unsupported_parameter", "suffix"),
        ({"prompt": "a", "best_of": 3}, "unsupported_parameter", "best_of"),
        ({"prompt": "a", "logprobs": 21}, "invalid_value", "logprobs"),
        ({"prompt": ["a"] * 100, "n": 2}, "invalid_value", "n"),
        ({"prompt": "a", "logit_bias": {"999": 1}}, "invalid_value", "logit_bias"),
        ({"prompt": "a" * 5000}, "context_length_exceeded", "prompt"),
        ({"prompt": "a", "messages": []}, "unknown_parameter", "messages"),
    ],
)
async def test_wrong_requests_are_refused_by_name(tiny: Pipeline, fields: dict[str, Any], code: str, param: str) -> None:
    client = AppClient(tiny)
    assert_error(await client.http.post("/v1/completions", json=fields), 400, code, param)
    assert client.core.in_flight == 0
