"""benchmarks/decode.py at toy sizes, and what it shares with prefill.py and batched.py: sides, flags, headlines, fidelity."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from puna.checkpoint import load_model
from puna.model import Batch
from puna.stream import Stream

Program = Callable[[str], dict[str, Any]]
LINE = ["--threads", "1", "--rounds", "2", "--contexts", "24", "--steps", "4"]


def test_the_program_prints_a_card_and_one_json_line_last(
    program: Program, tiny_directory: Path, llama_build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = ["--llama-cpp", str(llama_build), "--gguf", "bf16", "Q4_0", "--transformers", "float32"]
    fidelity_too = ["--chunks", "1", "--fidelity-models", str(tiny_directory)]
    program("decode")["main"]([*LINE, "--models", str(tiny_directory), "--puna", "bf16", "int4-all", *peers, *fidelity_too])
    lines = capsys.readouterr().out.strip().splitlines()
    summary = json.loads(lines[-1])
    assert lines[0].startswith("decode: ") and summary["benchmark"] == "decode" and summary["threads"] == 1
    case = summary["models"]["tiny"]["24"]
    rates = {name: entry["rounds"] for name, entry in case["tokens_per_s"].items()}
    assert rates["llama.cpp bf16"] == [20, 20] and rates["llama.cpp Q4_0"] == [200, 200]  # at their best flags
    assert case["flags"]["llama.cpp bf16"] == "not repacked, flash attention off"
    assert {"Puna bf16", "Puna int4-all", "transformers"} < set(rates) and all(min(each) > 0 for each in rates.values())
    assert sum(name.startswith("machine: memory read") for name in rates) == 2
    assert case["headlines"]["4 bits"]["puna"] == "Puna int4-all" and case["headlines"]["4 bits"]["peer"] == "llama.cpp Q4_0"
    assert set(case["headlines"]) == {"16 bits", "4 bits"}
    fidelity = summary["fidelity"]["tiny"]
    assert fidelity["llama.cpp Q4_0"] == {"bits": 10.0, "kl": 0.0125, "same_best": 0.875}
    assert 16 <= fidelity["Puna bf16"]["bits"] < 16.3 and 4.4 < fidelity["Puna int4-all"]["bits"] < 5.5
    assert 0 <= fidelity["Puna bf16"]["kl"] < 1e-3 < fidelity["Puna int4-all"]["kl"]


def test_json_prints_nothing_else(program: Program, tiny_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program("decode")["main"]([*LINE, "--models", str(tiny_directory), "--puna", "bf16", "--chunks", "0", "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert summary["models"]["tiny"]["24"]["headlines"] == {}  # nobody to compare with


def test_mistakes_are_told_in_a_line(program: Program, tiny_directory: Path, tmp_path: Path) -> None:
    main = program("decode")["main"]
    with pytest.raises(SystemExit, match="no llama-bench in .*docs/benchmarks.md"):
        main([*LINE, "--models", str(tiny_directory), "--llama-cpp", str(tmp_path)])
    with pytest.raises(SystemExit, match="no config.json in it"):
        main([*LINE, "--models", str(tmp_path)])
    only_fidelity = [*LINE, "--contexts", "--fidelity-models", str(tiny_directory), "--puna", "bf16", "--text", str(tmp_path / "text")]
    with pytest.raises(SystemExit, match="text cannot be read as UTF-8: .*No such file"):
        main(only_fidelity)
    (tmp_path / "text").write_text("Too short.")
    with pytest.raises(SystemExit, match="text is 10 tokens long"):
        main(only_fidelity)


def test_the_nano_that_others_are_made_of_is_in_bf16_and_made_anew(program: Program, tmp_path: Path) -> None:
    from peers.puna_side import stored_bits
    from peers.shapes import nano_in_bf16

    program("decode")
    (tmp_path / "scout-nano-bf16").mkdir()
    (tmp_path / "scout-nano-bf16" / "old.safetensors").write_bytes(b"of another version")
    assert 16 <= stored_bits(nano_in_bf16(tmp_path)) < 16.1
    assert not (tmp_path / "scout-nano-bf16" / "old.safetensors").exists()


def test_flags_are_tried_once_a_case_and_kept_for_long_ones(program: Program, llama_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peers.llama_cpp import Flags, LlamaCpp

    llama = LlamaCpp(llama_build, threads=1)
    tried: list[tuple[str, Flags]] = []
    real = llama._bench
    monkeypatch.setattr(LlamaCpp, "_bench", lambda self, model, line, flags: tried.append((line[-1], flags)) or real(model, line, flags))
    best = Flags(repack=False, flash=False)
    for context in (128, 128, 2048, 8192):
        assert llama.decode(Path("x-bf16.gguf"), context, 32) == (20, best)
    assert [depth for depth, _ in tried] == ["96"] * 6 + ["2016"] * 5 + ["8160"]


def test_a_program_that_fails_says_why(program: Program, tiny_directory: Path, llama_build: Path) -> None:
    from peers.llama_cpp import LlamaCpp, PeerError

    llama = LlamaCpp(llama_build, threads=3)  # the fake insists on 1
    with pytest.raises(PeerError, match="llama-bench ended with 1:\n(.|\n)*AssertionError"):
        llama.prefill(tiny_directory, 8)


def test_headlines_are_medians_of_ratios_between_the_best(program: Program) -> None:
    from peers.field import headlines
    from peers.rounds import Rates, contest

    rates = contest({"a": lambda place: 10.0 * (1 + place), "b": lambda place: 20.0}, rounds=3)
    assert rates["a"] == 20 and rates.ratio("a", "b") == 1 and rates.best(["a", "b"]) == "a"
    values = {"Puna int8": [4.0, 40.0, 6.0], "Puna int8-g32": [1.0, 1.0, 1.0], "llama.cpp Q8_0": [2.0, 10.0, 6.0], "machine: x": [9.0] * 3}
    assert headlines(Rates(values)) == {"8 bits": {"puna": "Puna int8", "peer": "llama.cpp Q8_0", "ratio": 2.0}}


def test_the_side_gives_the_models_logits(program: Program, tiny_directory: Path) -> None:
    from peers.puna_side import PunaSide

    ids = np.random.default_rng(0).integers(0, 256, 40)
    logits = PunaSide(tiny_directory, dtype="float32").logits(ids)
    model = load_model(tiny_directory, "float32")
    with torch.inference_mode():
        expected = model.logits(model(Batch.from_streams([Stream(ids)])))
    torch.testing.assert_close(logits, expected[:-1], rtol=1e-3, atol=1e-3)


def test_divergence_is_zero_from_oneself_and_known_from_another(program: Program) -> None:
    from peers.quality import divergence

    half = torch.log(torch.tensor([[0.5, 0.5]]))
    other = torch.log(torch.tensor([[0.25, 0.75]]))
    assert divergence([half, other], [half, other]) == (0, 1)
    kl, same = divergence([other], [half])
    assert kl == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5)) and same == 0


def test_the_base_file_holds_tokens_and_log_probabilities_as_llama_perplexity_reads_them(program: Program, tmp_path: Path) -> None:
    from peers.quality import chunks_of, compared, write_base

    ids = chunks_of(list(range(10, 36)), 7, count=5, length=8)
    assert ids[:, 0].tolist() == [7] * 3 and ids[1, 1:].tolist() == list(range(19, 26)) and compared(8) == slice(4, 7)
    logits = [torch.randn(3, 11, generator=torch.Generator().manual_seed(seed)) * 12 for seed in range(3)]
    data = write_base(tmp_path / "base", ids, logits).read_bytes()
    assert data[:8] == b"_logits_" and np.frombuffer(data, np.int32, 3, 8).tolist() == [8, 11, 3]
    assert (np.frombuffer(data, np.int32, 24, 20).reshape(3, 8) == ids).all()
    rows = np.frombuffer(data, np.uint16, offset=20 + 24 * 4).reshape(9, 4 + 12)
    scale, smallest = (np.ascontiguousarray(rows[:, i : i + 2]).view(np.float32) for i in (0, 2))
    expected = torch.cat(logits).log_softmax(-1)
    floor = expected.max(-1, keepdim=True).values - 16
    np.testing.assert_allclose(scale * rows[:, 4:15] + smallest, expected.maximum(floor), atol=2e-4)


def test_a_model_is_made_once(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peers import shapes

    from puna.testing import hf_models

    made = []
    small = shapes.SHAPES["mid-a"] | dict(
        hidden_size=32, num_hidden_layers=2, vocab_size=8320, intermediate_size=32, intermediate_size_mlp=32, num_attention_heads=2
    )
    monkeypatch.setitem(shapes.SHAPES, "mid-a", small | dict(num_key_value_heads=1, head_dim=16))
    real = hf_models.hf_text_model
    monkeypatch.setattr(hf_models, "hf_text_model", lambda **options: made.append(options) or real(**options))
    directory = shapes.make_model("mid-a", tmp_path)
    assert shapes.make_model("mid-a", tmp_path) == directory and len(made) == 1
    model = load_model(directory, "bfloat16")
    assert model.config.chunk == 8192 and model.config.floor_scale == 8192 and model.config.num_experts == 16


def test_without_transformers_a_shape_is_not_made_and_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peers import shapes
    from peers.llama_cpp import PeerError

    monkeypatch.setitem(sys.modules, "puna.testing.hf_models", None)
    with pytest.raises(PeerError, match="pip install -r requirements-test.txt"):
        shapes.make_model("mid-a", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_python_without_vllm_is_told(program: Program, tiny_directory: Path, tmp_path: Path) -> None:
    line = [*LINE, "--models", str(tiny_directory), "--puna", "bf16", "--chunks", "0"]
    with pytest.raises(SystemExit, match="--vllm .*no-python does not run"):
        program("decode")["main"]([*line, "--vllm", str(tmp_path / "no-python")])
    (tmp_path / "python").write_text("#!/bin/sh\necho no vllm here >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(SystemExit, match="vLLM ended:\n  no vllm here"):
        program("decode")["main"]([*line, "--vllm", str(tmp_path / "python")])
