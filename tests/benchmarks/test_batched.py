"""benchmarks/batched.py at toy sizes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.checkpoint import open_model
from puna.model.count import count_parameters

LINE = ["--threads", "1", "--rounds", "2", "--streams", "4", "--context", "20", "--steps", "4", "--transformers", "float32"]


def test_the_program_prints_a_card_and_one_json_line_last(
    program: Callable[[str], dict[str, Any]], tiny_directory: Path, llama_build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = program("batched")["main"]
    main([*LINE, "--models", str(tiny_directory), "--puna", "bf16", "--llama-cpp", str(llama_build), "--gguf", "bf16"])
    lines = capsys.readouterr().out.strip().splitlines()
    told = json.loads(lines[-1])["models"]["tiny"]
    assert lines[0].startswith("batched: ") and told["many_over_one"]["llama.cpp bf16"] == 2  # the root of 4, as the fake says
    assert set(told["many_over_one"]) == {"Puna bf16", "llama.cpp bf16", "transformers"}
    assert told["many"]["flags"]["llama.cpp bf16"].startswith("repacked")
    assert all(entry["median"] > 0 for entry in told["many"]["tokens_per_s"].values())


def test_tokens_of_all_streams_count_and_too_little_memory_is_told(
    program: Callable[[str], dict[str, Any]], tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peers import puna_side

    side = puna_side.PunaSide(tiny_directory, streams=3)
    before = side.engine.counters.tokens_sampled
    assert side.decode(streams=3, context=20, steps=5) > 0
    assert side.engine.counters.tokens_sampled - before >= 3 * 5
    side = puna_side.PunaSide(tiny_directory, streams=2)  # the third waits
    with pytest.raises(RuntimeError, match="3 streams"):
        side.decode(streams=3, context=20, steps=5)


def test_a_step_reads_the_experts_that_its_tokens_hit(program: Callable[[str], dict[str, Any]], tiny_directory: Path) -> None:
    from peers.limits import step_bytes
    from peers.puna_side import quantized

    with open_model(tiny_directory) as stored:
        config = stored.config
    counts = count_parameters(config)
    assert config.num_experts > 1
    one, many = (step_bytes(tiny_directory, streams) for streams in (1, 1000))
    assert one == pytest.approx(2 * counts.active_without_embedding)
    assert many - one == pytest.approx(2 * (counts.parts["routed experts"] - counts.active_routed))
    mixed = step_bytes(quantized(tiny_directory, "int4-all"), 1)  # its norms and routers stay as they are
    assert 4.5 < 16 * mixed / one < 6
