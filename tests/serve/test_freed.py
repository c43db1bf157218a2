"""A client that goes away frees its pages within one step: after the one under way, before the next, whatever it was waiting for."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from puna.engine import Settings
from puna.pipeline import Pipeline
from puna.serve.limits import Limits
from puna.testing.models import tiny_config, tiny_model
from puna.testing.serving import USER, eventually, live_server
from puna.testing.tokenizer import byte_tokenizer

LONG = {"messages": [USER], "max_tokens": 3000}
ASKED = {
    "/v1/chat/completions": LONG,
    "/v1/completions": {"prompt": "Hello", "max_tokens": 3000},
    "/v1/messages": LONG,
    "/v1/responses": {"input": "Hello", "max_output_tokens": 3000},
    "/llama/v1/chat/completions": {"model": "tiny", "messages": [USER], "max_completion_tokens": 3000},
}


class Seen(NamedTuple):
    """The engine just before a step: requests, and pages in use."""

    running: int
    waiting: int
    used: int


class Held:
    """A real engine whose steps are taken one by one, and a server around it."""

    def __init__(self, streams: int) -> None:
        model = tiny_model(tiny_config(eos_ids=()))  # never stops by itself
        self.pipeline = Pipeline("tiny", model, byte_tokenizer(), settings=Settings(max_streams=streams))
        self.engine = self.pipeline.engine
        self.seen: list[Seen] = []
        self.let = threading.Semaphore(0)
        step = self.engine.step

        def hold_and_step() -> int:
            load = self.engine.load()
            self.seen.append(Seen(load.running, load.waiting, sum(pool.used for pool in load.pages.values())))
            self.let.acquire()
            return step()

        self.engine.step = hold_and_step  # type: ignore[method-assign]
        self.address = ""

    def step(self) -> Seen:
        """Let the step under way end; what the next one finds."""
        assert eventually(lambda: bool(self.seen))
        count = len(self.seen)
        self.let.release()
        assert eventually(lambda: len(self.seen) > count)
        return self.seen[-1]

    def ask(self, path: str = "/v1/chat/completions", **fields: Any) -> socket.socket:
        """A client that has asked, and been let in."""
        body = json.dumps({**ASKED[path], **fields}).encode()
        before = self.in_flight()
        host, port = self.address.removeprefix("http://").split(":")
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client = socket.create_connection((host, int(port)))
        client.sendall(head.encode() + body)
        assert eventually(lambda: self.in_flight() > before)
        return client

    def leave(self, client: socket.socket) -> None:
        """The client goes, and the server has seen it, while no step ends."""
        before, steps = self.in_flight(), len(self.seen)
        client.close()
        assert eventually(lambda: self.in_flight() < before)
        assert len(self.seen) == steps

    def in_flight(self) -> int:
        return httpx.get(f"{self.address}/health").json()["requests_in_flight"]


@contextmanager
def held(streams: int = 4) -> Iterator[Held]:
    server = Held(streams)
    with live_server(server.pipeline, Limits(answering=4, first_chunk_s=0.1)) as server.address:
        try:
            yield server
        finally:
            server.let.release(1_000_000)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ASKED)
def test_who_leaves_frees_all_pages_within_a_step(path: str, stream: bool) -> None:
    with held() as server:
        client = server.ask(path, stream=stream)
        server.step()
        assert server.step().running == 1 and server.seen[-1].used > 0
        server.leave(client)
        assert server.step() == Seen(0, 0, 0)


def test_who_stays_goes_on_and_keeps_only_their_own() -> None:
    with held() as server:
        stays = server.ask(stream=True)
        alone = [server.step() for _ in range(4)][-1]
        leaves = server.ask(stream=True, n=3, messages=[{"role": "user", "content": "Something else, and more of it. " * 8}])
        both = [server.step() for _ in range(6)][-1]
        assert (alone.running, both.running) == (1, 4) and both.used > alone.used
        server.leave(leaves)
        after = server.step()
        assert after.running == 1 and alone.used <= after.used <= alone.used + 2  # its own have grown by a few tokens
        assert server.in_flight() == 1
        server.leave(stays)
        assert server.step() == Seen(0, 0, 0)


def test_who_waits_for_a_place_in_the_engine_leaves_the_line() -> None:
    with held(streams=1) as server:
        stays = server.ask(stream=True)
        leaves = server.ask(stream=True)
        assert [server.step() for _ in range(3)][-1][:2] == (1, 1)
        server.leave(leaves)
        assert server.step()[:2] == (1, 0)
        server.leave(stays)
        assert server.step() == Seen(0, 0, 0)
