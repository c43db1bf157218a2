"""For the benchmarks with peers: a tiny model, and programs that answer as llama.cpp's do, with made-up figures."""

import importlib.util
import runpy
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from puna.kernels import native
from puna.testing.hf_models import hf_text_model, save_hf
from puna.testing.tokenizer import byte_tokenizer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# 10 tokens/s, twice that without flash attention, half of it with repacked weights; Q4_0 ten times as fast as the rest.
_FAKE_BENCH = """
import json, sys
line = sys.argv[1:]
value = lambda name: line[line.index(name) + 1]
rate = 10.0 * (2 if value("-fa") == "off" else 1) * (0.5 if value("--repack") == "1" else 1) * (10 if "Q4_0" in value("-m") else 1)
assert value("-t") == "1" and value("-r") == "1"
print(json.dumps([{"avg_ts": rate, "model_size": 1000, "model_n_params": 800}]))
"""
_FAKE_BATCHED = """
import json, sys
line = sys.argv[1:]
value = lambda name: line[line.index(name) + 1]
assert int(value("-c")) == int(value("-npl")) * (int(value("-npp")) + int(value("-ntg")))
print("\\nnoise\\n" + json.dumps({"speed_tg": 7.0 * int(value("-npl")) ** 0.5 * (0.9 if "--no-repack" in line else 1)}))
"""
_FAKE_QUANTIZE = """
import shutil, sys
assert sys.argv[3] in ("Q8_0", "Q4_0", "Q4_K_M")
shutil.copy(sys.argv[1], sys.argv[2])
"""
_FAKE_PERPLEXITY = """
print("Median  KLD:   0.5\\nMean    KLD:   0.012500 \\u00b1   0.000300\\nSame top p: 87.500 \\u00b1  1.000 %")
"""
_FAKE_CONVERTER = """
import sys
from conversion.base import TextModel
assert TextModel().get_vocab_base_pre(None) == "llama4"
open(sys.argv[sys.argv.index("--outfile") + 1], "w").write("GGUF")
"""


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The program of benchmarks/ that the test module names as `BENCHMARK`, as a module."""
    name = request.module.BENCHMARK
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model of width 64 in bf16, with a tokenizer."""
    directory = tmp_path_factory.mktemp("models") / "tiny-bf16"
    shape = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=4, max_position_embeddings=512)
    save_hf(hf_text_model(seed=0, **shape).bfloat16(), directory)
    byte_tokenizer().save_hf(directory)
    return directory


@pytest.fixture(scope="session")
def llama_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build directory of programs that print what llama.cpp's would."""
    source, build = tmp_path_factory.mktemp("llama.cpp"), tmp_path_factory.mktemp("build")
    (source / "conversion").mkdir()
    (source / "conversion" / "base.py").write_text("class TextModel:\n    pass\n")
    (source / "convert_hf_to_gguf.py").write_text(_FAKE_CONVERTER)
    (build / "CMakeCache.txt").write_text(f"A:INTERNAL=1\nCMAKE_HOME_DIRECTORY:INTERNAL={source}\n")
    (build / "bin").mkdir()
    programs = {"bench": _FAKE_BENCH, "batched-bench": _FAKE_BATCHED, "quantize": _FAKE_QUANTIZE, "perplexity": _FAKE_PERPLEXITY}
    for name, text in programs.items():
        path = build / "bin" / f"llama-{name}"
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return build


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    """What a program of benchmarks/ defines, by its name; measuring the machine takes no time."""
    before = torch.get_num_threads(), native.threads() if native.available() else 0
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from peers import limits, puna_side  # only importable now

    monkeypatch.setattr(limits, "_MEASURE_S", 0.0)
    monkeypatch.setattr(limits, "_READ_BYTES", 1 << 16)
    monkeypatch.setattr(puna_side, "_KV_BYTES", 4 << 20)
    yield lambda name: runpy.run_path(str(BENCHMARKS / f"{name}.py"))
    torch.set_num_threads(before[0])
    if native.available():
        native.set_threads(before[1])
