"""The memory benchmark at sizes of a few tokens: promises are kept there too, and one that is not ends with exit code 1."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from puna.engine import Engine, Plan, Settings
from puna.model import Model
from puna.testing.models import tiny_config, tiny_model

BENCHMARK = "memory"
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="resident memory is read from /proc, which is Linux's")


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model(tiny_config(max_positions=256, chunk=16)).requires_grad_(False)


def small(bench: ModuleType, **changes: Any) -> Any:
    run = dict(streams=6, lengths=(5, 120), alike=2, beginning=32)
    rest = dict(prompts=2, prompt=40, answer=6, edge_requests=16, edge_lengths=(5, 60), edge_tokens=128, edge_answer=8)
    return bench.Sizes(**run | rest | changes)


def settings(**changes: Any) -> Settings:
    return Settings(**dict(max_streams=6, tokens_per_page=4, kv_bytes=1 << 20) | changes)


def test_resident_memory_grows_with_what_is_touched(bench: ModuleType) -> None:
    before = bench.settled()
    block = torch.full((64 << 20,), 1, dtype=torch.uint8)
    grown = bench.settled() - before
    assert abs(grown - block.numel()) < 4 << 20
    del block
    assert bench.settled() - before < 4 << 20


def test_pages_in_use_are_those_promised(bench: ModuleType, model: Model) -> None:
    report = bench.run(Engine(model, settings()), small(bench))
    figures = report.figures
    assert report.is_sound and abs(figures["apart"]) <= bench.BOUND and figures["lost_pages"] == 0
    assert figures["shared_bytes"] > 0 and figures["plain_over_promised"] > 1
    assert figures["held_at_the_end"] <= figures["promised_bytes"]


def test_a_promise_that_is_not_kept_is_unsound(bench: ModuleType, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, true = Engine(model, settings()), Plan.stream_bytes
    monkeypatch.setattr(Plan, "stream_bytes", lambda self, n: true(self, n) * 11 // 10)
    assert not bench.run(engine, small(bench)).is_sound


def test_a_lost_page_is_unsound(bench: ModuleType, model: Model) -> None:
    engine = Engine(model, settings())
    engine.memory.pools["global"].take(1)
    assert not bench.run(engine, small(bench)).is_sound


def test_logits_through_fp32_pages_are_the_models(bench: ModuleType, model: Model) -> None:
    ids = np.random.default_rng(0).integers(0, 256, 50)
    engine = Engine(model, settings(keep_prefixes=False))
    logits = bench.paged_logits(engine, ids, piece=7)
    batch = bench.Batch.from_streams([bench.Stream(ids)])
    with torch.inference_mode():
        torch.testing.assert_close(logits, model.logits(model(batch)), rtol=1e-4, atol=1e-4)
    assert all(pool.num_free == pool.num_pages for pool in engine.memory.pools.values())
    assert bench.apart_from([logits], [logits]) == (0, 0, 0, 1)


def test_smaller_pages_take_less_and_lie_close(bench: ModuleType, model: Model) -> None:
    rng = np.random.default_rng(1)
    figures = bench.smaller_pages(model, [rng.integers(0, 256, 40) for _ in range(2)], small(bench)).figures
    whole, half, least = (figures[name]["bytes_per_token"] for name in ("float32", "bfloat16", "int8"))
    assert half == whole / 2 and least < half
    for name in ("bfloat16", "int8"):
        assert 0 < figures[name]["kl_mean"] <= figures[name]["kl_most"] < 1 and figures[name]["logit_most"] > 0


def test_all_that_can_fit_finish_at_the_edge(bench: ModuleType, model: Model) -> None:
    report = bench.edge(model, small(bench))
    figures = report.figures
    assert report.is_sound and figures["finished"] + figures["refused"] == figures["requests"] == 16
    assert figures["refused"] > 0 and figures["most_waiting"] > figures["most_running"]


def test_the_program_reports_its_start_and_ends_with_exit_code_1_if_a_bound_fails(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "run", lambda engine, sizes: bench.Report(["run: not really"], {"apart": 0.1}, False))
    with pytest.raises(SystemExit) as ended:
        bench.main(["--only", "run", "--threads", "1"])
    assert ended.value.code == 1
    lines = capsys.readouterr().out.strip().splitlines()
    summary = json.loads(lines[-1])
    assert "run: not really" in lines and abs(summary["start"]["apart"]) < 0.2 and "edge" not in summary
