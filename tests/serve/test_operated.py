"""The whole server as `puna serve` sets it up, around a real, if tiny, model: what moves, what is told, and who is turned away."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from puna.engine import Settings
from puna.pipeline import Pipeline
from puna.serve import logs
from puna.serve.keys import KeyFile
from puna.serve.launch import Loaded, around
from puna.serve.operations import key_ring
from puna.serve.settings import ServerSettings
from puna.testing.loggers import loggers_restored
from puna.testing.models import tiny_model
from puna.testing.serving import USER, picture_part, text_part
from puna.testing.tokenizer import byte_tokenizer

CHAT = "/v1/chat/completions"
PICTURE = {"role": "user", "content": [text_part("What is it?"), picture_part()]}


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@contextmanager
def operated(keys: KeyFile, *, is_local: bool = True, **settings: Any) -> Iterator[TestClient]:
    pipeline = Pipeline("tiny", tiny_model(), byte_tokenizer(), settings=Settings(max_streams=4))
    chosen = ServerSettings(keys_file=keys.path, **settings)
    app = around(Loaded(pipeline, pipeline.engine), chosen, key_ring(chosen), is_local=is_local)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def ask(client: TestClient, *messages: Any, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    body = {"messages": list(messages) or [USER], "max_tokens": 6, "temperature": 0, **fields}
    return client.post(CHAT, json=body, headers=headers)


def metrics(client: TestClient) -> dict[str, float]:
    """Sums over all labels."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def test_metrics_move_by_what_an_answer_cost(keys: KeyFile) -> None:
    with operated(keys, metrics={"vllm_names": True, "experts": True}) as client:
        before = metrics(client)
        usage = ask(client).json()["usage"]
        after = metrics(client)
        ask(client, stream=True)
        again = metrics(client)
    assert before["vllm:prompt_tokens_total"] == before["puna:expert_tokens_total"] == 0
    assert after["vllm:prompt_tokens_total"] == usage["prompt_tokens"]
    assert after["vllm:generation_tokens_total"] == usage["completion_tokens"]
    assert after["puna:expert_tokens_total"] > 0
    for name in ("time_to_first_token", "e2e_request_latency", "request_queue_time", "request_prefill_time", "request_decode_time"):
        assert after[f"vllm:{name}_seconds_count"] == 1 and again[f"vllm:{name}_seconds_count"] == 2
        assert 0 <= after[f"vllm:{name}_seconds_sum"] < 60
    assert after["vllm:inter_token_latency_seconds_count"] == usage["completion_tokens"] - 1
    assert after["vllm:prefix_cache_hits_total"] == 0 < again["vllm:prefix_cache_hits_total"]
    assert again["vllm:request_success_total"] == 2
    assert after["vllm:num_requests_running"] == after["vllm:kv_cache_usage_perc"] == 0
    assert after["puna:kv_pages"] == before["puna:kv_pages"] > 0


def test_pictures_grammars_and_refused_requests_are_counted(keys: KeyFile) -> None:
    with operated(keys) as client:
        assert ask(client, PICTURE).status_code == 200
        schema = {"type": "json_schema", "json_schema": {"name": "yes", "schema": {"enum": ["yes", "no"]}}}
        assert ask(client, response_format=schema, max_tokens=40).json()["choices"][0]["message"]["content"] in ('"yes"', '"no"')
        assert ask(client, max_tokens=-1).status_code == 400
        found = metrics(client)
        text = client.get("/metrics").text
    assert found["puna:media_seconds_count"] == 1
    assert found["puna:vision_tiles_computed_total"] > 0
    assert found["puna:grammar_compile_seconds_count"] == 1
    assert f'puna:http_requests_total{{method="POST",model_name="tiny",route="{CHAT}",status="400"}} 1.0' in text
    assert "vllm:" not in text


def test_several_choices_are_several_answers_to_one_prompt(keys: KeyFile) -> None:
    with operated(keys) as client:
        usage = ask(client, n=3, temperature=1.0, seed=1).json()["usage"]
        found = metrics(client)
    assert found["puna:request_success_total"] == found["puna:time_to_first_token_seconds_count"] == 3
    assert found["puna:prompt_tokens_total"] == usage["prompt_tokens"]
    assert found["puna:generation_tokens_total"] == usage["completion_tokens"]


def test_beyond_loopback_a_key_is_asked_for_and_named_in_the_log_without_what_was_said(keys: KeyFile) -> None:
    text, _ = keys.add("laptop")
    log = io.StringIO()
    with loggers_restored(), operated(keys, is_local=False) as client:
        logs.configure("json", "debug", log)
        assert ask(client).status_code == 401
        refused = client.get("/v1/models").json()["error"]
        answer = ask(client, {"role": "user", "content": "a secret of mine"}, headers={"Authorization": f"Bearer {text}"})
        assert client.get("/").status_code == client.get("/health").status_code == 200
    assert refused["code"] == "invalid_api_key"
    (line,) = [line for line in map(json.loads, log.getvalue().splitlines()) if line.get("key")]
    usage = answer.json()["usage"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["key"], line["route"], line["status"], line["finish_reason"]) == ("laptop", CHAT, 200, "length")
    assert (line["prompt_tokens"], line["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert "a secret of mine" not in log.getvalue() and text not in log.getvalue()
    said = answer.json()["choices"][0]["message"]["content"]
    assert said.strip() == "" or said not in log.getvalue()


def test_rate_limits_are_told_and_kept(keys: KeyFile) -> None:
    with operated(keys, rates={"requests_per_minute": 3, "tokens_per_minute": 10_000}) as client:
        first = ask(client)
        used = first.json()["usage"]["total_tokens"]
        assert first.headers["x-ratelimit-limit-requests"] == "3"
        assert first.headers["x-ratelimit-remaining-requests"] == "2"
        assert int(first.headers["x-ratelimit-remaining-tokens"]) == 10_000 - used
        assert ask(client, stream=True).headers["x-ratelimit-remaining-requests"] == "1"
        left = int(client.get("/v1/models").headers["x-ratelimit-remaining-tokens"])
        assert abs(left - (10_000 - 2 * used)) < 2000, "the stream has been paid for; a little has come back meanwhile"
        refused = ask(client)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 20
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"


def test_metrics_can_be_switched_off(keys: KeyFile) -> None:
    with operated(keys, metrics={"enabled": False}) as client:
        assert client.get("/metrics").status_code == 404
        assert ask(client).status_code == 200


def test_another_page_cannot_use_a_server_that_keeps_to_its_machine(keys: KeyFile) -> None:
    with operated(keys) as client:
        response = ask(client, headers={"Host": "evil.example", "Origin": "http://evil.example"})
        assert response.status_code == 403 and response.json()["error"]["code"] == "unknown_host"
