"""benchmarks/prefill.py at toy sizes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LINE = ["--threads", "1", "--rounds", "2", "--lengths", "12", "40", "--transformers", "float32", "--transformers-most", "12"]


def test_the_program_prints_a_card_and_one_json_line_last(
    program: Callable[[str], dict[str, Any]], tiny_directory: Path, llama_build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = program("prefill")["main"]
    main([*LINE, "--models", str(tiny_directory), "--puna", "bf16", "--llama-cpp", str(llama_build), "--gguf", "bf16"])
    lines = capsys.readouterr().out.strip().splitlines()
    cases = json.loads(lines[-1])["models"]["tiny"]["lengths"]
    assert lines[0].startswith("prefill: ") and list(cases) == ["12", "40"]
    names = {length: {name for name in case["tokens_per_s"] if not name.startswith("machine: ")} for length, case in cases.items()}
    assert names["12"] == {"Puna bf16", "llama.cpp bf16", "transformers"} and names["40"] == {"Puna bf16", "llama.cpp bf16"}
    for case in cases.values():
        assert all(entry["median"] > 0 for entry in case["tokens_per_s"].values())
        assert "machine: torch's float32 products" in case["tokens_per_s"]
    assert cases["40"]["headlines"]["16 bits"]["peer"] == "llama.cpp bf16"


def test_a_prompt_is_new_in_each_round(program: Callable[[str], dict[str, Any]], tiny_directory: Path) -> None:
    from peers.puna_side import PunaSide

    side = PunaSide(tiny_directory)
    for seed in range(3):
        side.prefill(40, seed)
    assert side.engine.counters.tokens_cached == 0
    side.prefill(40, seed=0)
    assert side.engine.counters.tokens_cached > 0  # so the engine would keep one that it has seen
