"""benchmarks/kernels.py at toy sizes: it checks before it times, and prints a card and one JSON line."""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.kernels import native

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "kernels.py"
pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native library: {native.why_not()}")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    before = torch.get_num_threads(), native.threads()
    program = runpy.run_path(str(PROGRAM))
    monkeypatch.setitem(program["SHAPES"], "nano", {"toy": (64, 48)})
    yield program
    torch.set_num_threads(before[0])
    native.set_threads(before[1])
    native.use_isa(None)


LINE = ["--shapes", "nano", "--rows", "1", "3", "--rounds", "1", "--threads", "1", "--budget-ms", "0.1", "--cold-mib", "0"]


def test_the_program_prints_a_card_and_one_json_line_last(bench: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    bench["main"]([*LINE, "--isa", "portable"])
    lines = capsys.readouterr().out.strip().splitlines()
    summary = json.loads(lines[-1])
    assert lines[0].startswith("native kernels (portable)") and summary["isa"] == "portable" and summary["threads"] == 1
    assert list(summary["shapes"]) == ["toy T=1", "toy T=3"]
    assert min(entry["us"] for shape in summary["shapes"].values() for entry in shape.values()) > 0


def test_a_kernel_that_errs_is_named_and_not_timed(bench: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    right = native.linear_packed
    monkeypatch.setattr(native, "linear_packed", lambda x, weight, *, exact: right(x, weight, exact=exact) + (0.1 if exact else 0))
    with pytest.raises(SystemExit, match="int8 row exact, int4 g32 exact at 1 rows"):
        bench["main"](LINE)
