"""What Prometheus reads."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from puna.engine import Engine, Grammar, GrammarCompiler, GrammarError, Request, Sampling
from puna.serve import metrics as metrics_module
from puna.serve.logs import RequestLog
from puna.serve.metrics import Metrics
from puna.stream import Stream
from puna.testing.engines import engine_with_pages, small_model, text

# [R] of the reference survey: what dashboards and gateways for vLLM read.
VLLM_NAMES = {
    "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prefix_cache_queries_total", "prefix_cache_hits_total",
    "num_preemptions_total", "prompt_tokens_total", "generation_tokens_total", "request_success_total", "time_to_first_token_seconds_count",
    "inter_token_latency_seconds_count", "e2e_request_latency_seconds_count", "request_queue_time_seconds_count",
    "request_prefill_time_seconds_count", "request_decode_time_seconds_count", "cache_config_info",
}  # fmt: skip


def values(metrics: Metrics) -> dict[str, float]:
    """`name{label=value,...}` without the model's name."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()) if key not in ("model_name", "le"))
            if "le" not in sample.labels:
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def watching(engine: Engine, *, vllm_names: bool = False, experts: bool = False) -> Metrics:
    metrics = Metrics("tiny", vllm_names=vllm_names)
    metrics.watch(engine, experts=experts)
    return metrics


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the meters' time on."""
    now = [100.0]
    monkeypatch.setattr(metrics_module.time, "perf_counter", lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def test_an_answer_is_measured_from_its_arrival_to_its_end(clock: Callable[[float], None]) -> None:
    metrics = Metrics("tiny")
    meter = metrics.answer()
    clock(1.0)
    started = time.perf_counter()
    clock(2.0)
    meter.reached(0, 1)
    clock(0.5)
    meter.reached(0, 3)
    meter.reached(0, 3)
    clock(0.25)
    meter.ended(0, "stop")
    meter.prompted(40, 32, started)
    meter.broken("abort")
    found = values(metrics)
    expected = {
        "puna:time_to_first_token_seconds_sum": 3.0, "puna:time_to_first_token_seconds_count": 1,
        "puna:inter_token_latency_seconds_sum": 0.5, "puna:inter_token_latency_seconds_count": 2,
        "puna:request_queue_time_seconds_sum": 1.0, "puna:request_prefill_time_seconds_sum": 2.0,
        "puna:request_decode_time_seconds_sum": 0.5, "puna:e2e_request_latency_seconds_sum": 3.75,
        "puna:prompt_tokens_total": 40, "puna:generation_tokens_total": 3, "puna:request_generation_tokens_sum": 3,
        "puna:prefix_cache_queries_total": 40, "puna:prefix_cache_hits_total": 32, "puna:request_success_total{finished_reason=stop}": 1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert "puna:request_success_total{finished_reason=abort}" not in found


def test_each_choice_is_an_answer_and_those_that_never_end_are_told_apart(clock: Callable[[float], None]) -> None:
    metrics = Metrics("tiny")
    meter = metrics.answer(time.perf_counter() - 1.0, choices=3)
    meter.reached(1, 1)
    clock(1.0)
    meter.reached(0, 1)
    meter.ended(1, "length")
    meter.broken("error")
    meter.prompted(5)
    found = values(metrics)
    assert found["puna:time_to_first_token_seconds_count"] == 2 and found["puna:time_to_first_token_seconds_sum"] == pytest.approx(3.0)
    assert found["puna:request_success_total{finished_reason=length}"] == 1
    assert found["puna:request_success_total{finished_reason=error}"] == 2
    assert found["puna:prompt_tokens_total"] == 5 and found["puna:request_queue_time_seconds_count"] == 0


def test_counters_stand_at_zero_before_anything_happens() -> None:
    found = values(Metrics("tiny"))
    assert found["puna:prompt_tokens_total"] == found["puna:tool_parse_failures_total"] == 0
    assert not [name for name in found if "_created" in name]


def test_the_engines_pools_are_told_by_kind_of_layer() -> None:
    engine = engine_with_pages(small_model(), 40, 12)
    metrics = watching(engine)
    before = values(metrics)
    assert before["puna:num_requests_running"] == before["puna:num_requests_waiting"] == before["puna:kv_cache_usage_perc"] == 0
    generations = [engine.submit(Request(prompt=text(20, seed), sampling=Sampling(max_tokens=8))) for seed in range(6)]
    assert values(metrics)["puna:num_requests_waiting"] == 6
    while not any(generation.token_ids for generation in generations):
        engine.step()
    found = values(metrics)
    running = found["puna:num_requests_running"]
    assert 1 <= running <= 4 and running + found["puna:num_requests_waiting"] == 6
    for kind, total in (("global", 40), ("local", 12)):
        by_state = {state: found[f"puna:kv_pages{{kind={kind},state={state}}}"] for state in ("used", "kept", "free")}
        assert sum(by_state.values()) == total and by_state["used"] > 0
        assert found[f"puna:kv_pool_usage_perc{{kind={kind}}}"] == pytest.approx(by_state["used"] / total)
    assert found["puna:kv_cache_usage_perc"] == max(found[f"puna:kv_pool_usage_perc{{kind={kind}}}"] for kind in ("global", "local"))
    while engine.has_work:
        engine.step()
    after = values(metrics)
    assert after["puna:kv_cache_usage_perc"] == 0, "what is only kept for later is free for whoever needs it"
    assert after["puna:kv_pages{kind=global,state=kept}"] > 0
    assert after["puna:engine_tokens_computed_total"] == engine.counters.tokens_computed
    assert all(generation.started_s is not None for generation in generations)


def test_experts_are_counted_only_when_asked_for() -> None:
    engine = engine_with_pages(small_model(), 40, 12)
    plain, counting = watching(engine), watching(engine, experts=True)
    engine.generate([Request(prompt=text(10), sampling=Sampling(max_tokens=2))])
    assert not [name for name in values(plain) if "expert" in name]
    found = values(counting)
    experts = engine.config.num_experts
    by_layer = {layer: sum(found[f"puna:expert_tokens_total{{expert={i},layer={layer}}}"] for i in range(experts)) for layer in (1, 3)}
    assert by_layer == {1: 11, 3: 11}, "each of 10 prompt tokens and one answer token that was computed takes one expert a layer"


def test_vllms_names_are_there_when_asked_for_and_mean_the_same() -> None:
    engine = engine_with_pages(small_model(), 40, 12)
    engine.generate([Request(prompt=text(10), sampling=Sampling(max_tokens=2))])
    metrics = watching(engine, vllm_names=True)
    meter = metrics.answer()
    meter.reached(0, 1)
    meter.ended(0, "stop")
    meter.prompted(3, 0, time.perf_counter())
    assert not [name for name in values(watching(engine)) if name.startswith("vllm:")]
    found = values(metrics)
    theirs = {name.removeprefix("vllm:"): value for name, value in found.items() if name.startswith("vllm:")}
    assert {name.partition("{")[0] for name in theirs} >= VLLM_NAMES
    assert all(found["puna:" + name] == value for name, value in theirs.items())
    assert found["vllm:cache_config_info{block_size=4,cache_dtype=float32,num_gpu_blocks=40}"] == 1


def test_without_an_engine_the_rest_is_told() -> None:
    assert "puna:num_requests_running" not in values(Metrics("tiny"))


def test_what_happens_around_answers_is_counted() -> None:
    metrics = Metrics("tiny")
    with metrics.media("image", "decode"), metrics.grammar():
        pass
    with pytest.raises(ValueError), metrics.media("video", "fetch"):
        raise ValueError("too large")
    metrics.tool_parse_failure(2)
    metrics.guard_verdict("input", "refuse")
    found = values(metrics)
    assert found["puna:media_seconds_count{kind=image,step=decode}"] == found["puna:media_seconds_count{kind=video,step=fetch}"] == 1
    assert found["puna:grammar_compile_seconds_count"] == 1
    assert found["puna:tool_parse_failures_total"] == 2
    assert found["puna:guard_verdicts_total{stage=input,verdict=refuse}"] == 1


def test_requests_are_counted_by_template_so_that_strangers_cannot_fill_the_memory() -> None:
    metrics = Metrics("tiny")

    async def answer(request: HttpRequest) -> PlainTextResponse:
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/v1/models/{name}", answer), Route("/metrics", metrics.endpoint)])
    client = TestClient(RequestLog(app, observers=[metrics.request]))
    for number in range(5):
        client.get(f"/v1/models/{number}")
        client.get(f"/nowhere/{number}")
        client.request(f"FOO{number}", "/v1/models/x")
    response = client.get("/metrics")
    assert 'puna:http_requests_total{method="GET",model_name="tiny",route="/v1/models/{name}",status="200"} 5.0' in response.text
    assert 'puna:http_requests_total{method="GET",model_name="tiny",route="none",status="404"} 5.0' in response.text
    assert 'method="other"' in response.text and "FOO" not in response.text


def test_names_keep_their_colons_for_every_scraper() -> None:
    app = Starlette(routes=[Route("/metrics", Metrics("tiny", vllm_names=True).endpoint)])
    for accept in ("*/*", "application/openmetrics-text;version=1.0.0", "text/plain;version=1.0.0;escaping=underscores"):
        response = TestClient(app).get("/metrics", headers={"Accept": accept})
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "vllm:prompt_tokens_total" in response.text


def test_two_servers_in_one_process_do_not_mix() -> None:
    one, other = Metrics("one"), Metrics("other")
    one.tool_parse_failure()
    assert values(other)["puna:tool_parse_failures_total"] == 0


def test_reading_while_the_engine_steps_is_safe() -> None:
    engine = engine_with_pages(small_model(), 40, 12)
    metrics = watching(engine)
    ended = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        while not ended.is_set():
            try:
                values(metrics)
            except Exception as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    prompts = [Stream(np.arange(8, 28) + shift) for shift in range(10)]
    engine.generate([Request(prompt=prompt, sampling=Sampling(max_tokens=6)) for prompt in prompts])
    ended.set()
    reader.join(10)
    assert not failures and not reader.is_alive()


def test_the_reading_of_grammars_is_timed() -> None:
    tokens = [bytes([byte]) for byte in range(256)]
    compiler = GrammarCompiler(tokens, [], [0], lambda text: list(text.encode()))
    engine = engine_with_pages(small_model(), 40, 12, parts={"grammars": lambda: compiler})
    metrics = watching(engine)
    for kind in ("a|b", "a|b", "("):
        request = Request(prompt=text(5), grammar=Grammar.regex(kind), sampling=Sampling(max_tokens=2))
        with pytest.raises(GrammarError) if kind == "(" else nullcontext():
            engine.prepare(request)
    assert values(metrics)["puna:grammar_compile_seconds_count"] == 3


def test_an_engine_tells_its_load() -> None:
    engine: Engine = engine_with_pages(small_model(), 40, 12)
    first, second = engine.submit_samples(Request(prompt=text(9), sampling=Sampling(max_tokens=2)), 2)
    load = engine.load()
    assert (load.running, load.waiting) == (0, 2), "a sample that is held until the prompt is computed waits, too"
    for generation in (first, second):
        engine.wait(generation)
    assert (engine.load().running, engine.load().waiting) == (0, 0)
