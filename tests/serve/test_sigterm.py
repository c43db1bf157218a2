"""SIGTERM in the middle of twenty streams, to a server in a process of its own: each ends well, or with an event that says why, in time."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from puna.pipeline import shipped_models
from puna.serve.launch import GRACE_S
from puna.testing.serving import USER, eventually
from puna.tokens.bpe import Tokenizer

STREAMS = 20
SLACK_S = 10.0  # for the interpreter to end, on a machine that does other things besides
WORDS, DEADLINE_S = 50, 4
SCRIPTED = f"""
import puna.serve.launch as launch
from puna.serve.settings import ServerSettings
from puna.testing.scripted import ScriptedPipeline
replies = ["word " * {WORDS}, "word " * 100_000]  # in turn
launch.ready = lambda settings: launch.Loaded(ScriptedPipeline(*replies, name=settings.model, seconds_per_token=0.04))
settings = {{"limits": {{"drain_s": {DEADLINE_S}}}, "engine": {{"max_streams": {STREAMS}}}}}
launch.run(ServerSettings(port=0, keys_file=None, store=None, **settings))
"""


class Told(NamedTuple):
    """The data of one stream's events, and what broke it, if anything did."""

    events: list[Any]
    failure: Exception | None

    @property
    def is_cut(self) -> bool:
        return "error" in self.events[-2]


class Served(NamedTuple):
    process: subprocess.Popen[str]
    address: str


@contextmanager
def served(*command: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-u", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        found = next((match for line in process.stdout if "curl" in line and (match := re.search(r"http://[\d.:]+", line))), None)
        assert found is not None, process.communicate()[1]
        yield Served(process, found.group())
    finally:
        process.kill()
        process.communicate()


def ended(server: Served, deadline_s: float, bodies: list[dict[str, Any]]) -> list[Told]:
    """What the streams of these bodies were told by a server that gets SIGTERM when each has had something of its answer."""
    told = [Told([], None) for _ in bodies]

    def listen(place: int) -> None:
        events = told[place].events
        try:
            with httpx.stream("POST", f"{server.address}/v1/chat/completions", json=bodies[place], timeout=120) as response:
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        events.append(line[6:] if line == "data: [DONE]" else json.loads(line[6:]))
        except httpx.HTTPError as error:
            told[place] = Told(events, error)

    listeners = [threading.Thread(target=listen, args=(place,)) for place in range(len(bodies))]
    for listener in listeners:
        listener.start()
    assert eventually(lambda: all(len(each.events) > 1 for each in told), 60), [len(each.events) for each in told]
    assert all(listener.is_alive() for listener in listeners), "they are all under way"
    server.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    _, err = server.process.communicate(timeout=deadline_s + 60)
    took = time.monotonic() - started
    for listener in listeners:
        listener.join(10)
    assert server.process.returncode == 0, err
    assert took < deadline_s + GRACE_S + SLACK_S and "Traceback" not in err
    return told


def never_ending() -> dict[str, float]:
    """A bias by which the shipped model never ends an answer by itself: all are as long, so none is over before the last begins."""
    return {str(end): -100.0 for end in Tokenizer.from_hf(shipped_models()["scout-nano"]).special.stop_ids}


def assert_ended(told: Told) -> None:
    assert told.failure is None and told.events[-1] == "[DONE]"
    *_, last, _ = told.events
    if told.is_cut:
        assert (last["error"]["code"], last["error"]["type"]) == ("shutting_down", "server_error")
    else:
        assert last["choices"][0]["finish_reason"] in ("stop", "length")


def test_twenty_streams_of_the_shipped_model_end_well_in_time() -> None:
    asked = {"messages": [USER], "stream": True, "temperature": 1.0, "max_tokens": 600, "logit_bias": never_ending()}
    bodies = [{**asked, "seed": place} for place in range(STREAMS)]
    command = ("-m", "puna", "serve", "--port", "0", "--no-open", "--streams", str(STREAMS))
    options = ("--set", "limits.drain_s=60", "--set", "keys_file=none", "--set", "store=none")
    with served(*command, *options) as server:
        told = ended(server, 60, bodies)
    for each in told:
        assert_ended(each)
        assert not each.is_cut


def test_of_twenty_streams_those_that_need_longer_are_told_so() -> None:
    with served("-c", SCRIPTED) as server:
        told = ended(server, DEADLINE_S, [{"messages": [USER], "max_tokens": 7000, "stream": True}] * STREAMS)
    for each in told:
        assert_ended(each)
        assert each.is_cut or len(each.events) == 1 + WORDS + 1 + 1  # role, words, reason, [DONE]
    assert sum(each.is_cut for each in told) == STREAMS / 2
