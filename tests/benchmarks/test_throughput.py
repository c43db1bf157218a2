"""The throughput benchmark at sizes of a few tokens: every section runs, measures what it says, and ends with one JSON line."""

import json
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from puna.engine import Engine, PromptLookup, Request, Sampling, Settings
from puna.model import Model
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

BENCHMARK = "throughput"


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model(tiny_config(max_positions=256)).requires_grad_(False)


def small(bench: ModuleType, **changes: Any) -> Any:
    given = dict(rounds=2, kv_bytes=4 << 20, streams=(1, 3, 5), lengths=(8, 24), steps=2, running=3)
    return bench.Sizes(**given | dict(long_prompt=40, pieces=(8, 16, 64), prefill=20, first_tokens=(20, 50)) | changes)


def numbers(figures: Any) -> list[float]:
    """All numbers in nested figures."""
    if isinstance(figures, dict):
        return [number for value in figures.values() for number in numbers(value)]
    return [float(figures)]


def test_ratios_are_medians_of_each_rounds_ratio(bench: ModuleType) -> None:
    times = bench.Times()
    for a, b in ((2.0, 1.0), (30.0, 10.0), (8.0, 2.0)):
        times.add("a", a)
        times.add("b", b)
    assert times["a"] == 8 and times["b"] == 2 and times.ratio("a", "b") == 3


def test_prompts_are_mixed_and_every_fourth_begins_with_a_picture(bench: ModuleType, model: Model) -> None:
    prompts = bench.mixed_prompts(model.config, 8, (16, 40))
    assert sorted(map(len, prompts)) == np.linspace(16, 40, 8).astype(int).tolist() and len(prompts[0]) == sorted(map(len, prompts))[4]
    assert [prompt.num_tiles for prompt in prompts] == [0, 0, 0, 1, 0, 0, 0, 1]
    engine = Engine(model, Settings(kv_bytes=4 << 20))
    assert all(map(len, engine.generate([Request(prompt=prompt, sampling=Sampling(max_tokens=1)) for prompt in prompts])))


def test_decode_and_the_options_cost_are_measured(bench: ModuleType, model: Model) -> None:
    decode = bench.decode(model, small(bench))
    assert list(decode.figures["tokens_per_s"]) == ["1", "3", "5"] and min(numbers(decode.figures)) > 0
    cost = bench.invariant(model, small(bench))
    assert list(cost.figures) == ["1 streams", "5 streams", "prompt of 20"] and min(numbers(cost.figures)) > 0


def test_pools_too_small_for_the_streams_are_told(bench: ModuleType, model: Model) -> None:
    prompts = [Stream(np.arange(100) % 256)] * 2
    plan = Engine(model, Settings()).plan
    engine = Engine(model, Settings(kv_bytes=plan.stream_bytes(200), keep_prefixes=False))
    with pytest.raises(AssertionError, match="kv_bytes is too small"):
        bench.seconds_a_step(engine, prompts, 100)


def test_a_gap_is_at_least_the_longest_step_while_a_prompt_comes_in(bench: ModuleType, model: Model) -> None:
    running = bench.mixed_prompts(model.config, 3, (8, 24))
    engine = Engine(model, Settings(max_streams=4, step_tokens=8, kv_bytes=4 << 20, keep_prefixes=False))
    seen = bench.watch_prompt(engine, running, Stream(np.arange(40)), 2)
    assert len(seen.steps) == math.ceil(40 / (8 - 3)) and len(seen.gaps) == 3
    assert max(seen.gaps) >= max(seen.steps) and seen.first_token >= sum(seen.steps) and not engine.has_work
    figures = bench.stall(model, small(bench)).figures
    assert [piece["steps"] for piece in figures["pieces"].values()] == [8, 4, 1] and min(numbers(figures)) > 0


def test_the_second_first_token_finds_kept_pages(bench: ModuleType, model: Model) -> None:
    figures = bench.prefix(model, small(bench)).figures
    assert list(figures) == ["20", "50", "cached_tokens"] and figures["cached_tokens"] == 48


def test_speculation_is_sound_only_if_answers_are_identical(bench: ModuleType, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"again": [Request(prompt=Stream(np.tile(np.arange(9), 4)), sampling=Sampling(max_tokens=12))]}
    report = bench.speculation(model, small(bench), texts)
    assert report.is_sound and report.figures["again"]["identical"] and 0 <= report.figures["again"]["acceptance"] <= 1
    real = bench.answer_alone

    def changed(engine: Engine, requests: list[Request]) -> Any:
        answers = real(engine, requests)
        return answers._replace(token_ids=[[0]]) if isinstance(engine.drafter, PromptLookup) else answers

    monkeypatch.setattr(bench, "answer_alone", changed)
    assert not bench.speculation(model, small(bench), texts).is_sound


def test_the_program_prints_a_card_and_one_json_line_last(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--only", "prefix", "--rounds", "1", "--kv-mib", "16", "--threads", "1"])
    lines = capsys.readouterr().out.strip().splitlines()
    summary = json.loads(lines[-1])
    assert lines[0].startswith("scout-nano in float32") and summary["model"] == "scout-nano"
    assert "prefix" in summary and "decode" not in summary and summary["prefix"]["cached_tokens"] == 1984
