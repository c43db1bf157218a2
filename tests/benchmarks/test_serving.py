"""The load program against scripted servers: what it counts, what it calls good, and what it says when something is missed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import live_server

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "serving.py"


def run(url: str, *options: str) -> tuple[int, str, dict[str, Any]]:
    """Exit code, card, and the JSON line's figures of the first server."""
    line = [sys.executable, str(PROGRAM), "--url", f"{url}/v1", "--clients", "2", "--warm", "0.5", "--seconds", "1.5", *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    *card, last = done.stdout.strip().split("\n") if done.stdout else ["", "{}"]
    return done.returncode, "\n".join(card) + done.stderr, json.loads(last).get("servers", [{}])[0]


def test_it_counts_requests_tokens_and_those_who_leave() -> None:
    with live_server(ScriptedPipeline("one two three four", seconds_per_token=0.002)) as url:
        code, card, figures = run(url, "--rate", "30", "--leave", "0.5", "--pid", str(os.getpid()))
    assert figures["errors"] == 0 and 20 < figures["requests"] < 70
    assert 0.2 < figures["left"] / figures["requests"] < 0.8
    assert figures["goodput"] == pytest.approx(figures["requests"] / 1.5) and figures["memory_mib"] > 50
    assert 0.001 < figures["token_s"]["p50"] < 0.1 and "memory" in card
    assert code == 0 or "MISSED: p99" in card  # a busy machine may be late once


def test_slow_answers_are_no_goodput() -> None:
    with live_server(ScriptedPipeline("one two three", seconds_per_token=0.15)) as url:
        _, _, figures = run(url, "--rate", "4", "--leave", "0", "--warm", "2")
    assert figures["requests"] and figures["errors"] == 0 and figures["goodput"] == 0


def test_a_server_that_fails_is_told_and_the_exit_code_says_so() -> None:
    with live_server(ScriptedPipeline(["one ", RuntimeError("boom")])) as url:
        code, card, _ = run(url)
    assert code == 1 and "cannot be measured" in card and "Traceback" not in card
    code, card, _ = run("http://127.0.0.1:9")
    assert code == 1 and "cannot be measured" in card and "Traceback" not in card
