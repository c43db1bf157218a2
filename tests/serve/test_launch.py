"""Starting and ending: a port that is free or not, what the terminal says, and signals."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from rich.console import Console

from puna.serve import launch
from puna.serve.access import ExposureError
from puna.serve.launch import ServeError, bind, is_loopback
from puna.serve.operations import key_ring
from puna.serve.settings import ServerSettings
from puna.testing.loggers import loggers_restored
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import eventually


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """`launch.run` configures the log."""
    with loggers_restored():
        yield


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServeError, match=rf"port {port} on 127.0.0.1 is taken.*--port"):
            bind("127.0.0.1", port)


def test_a_taken_port_is_told_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "load", lambda *given, **options: pytest.fail("the model was loaded"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ServeError, match="taken"):
            launch.run(ServerSettings(port=other.getsockname()[1], keys_file=None))


def test_beyond_this_machine_it_starts_only_with_a_key_and_says_so_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "load", lambda *given, **options: pytest.fail("the model was loaded"))
    with pytest.raises(ExposureError, match="host=0.0.0.0 lets other machines in, and there is no key"):
        launch.run(ServerSettings(host="0.0.0.0", port=0, keys_file=None))


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", -1), ("127.0.0.1", 70_000), ("no such host!", 0), ("203.0.113.7", 0)])
def test_an_address_that_cannot_be_is_refused(host: str, port: int) -> None:
    with pytest.raises(ServeError, match="host=|port="):
        bind(host, port).close()


def test_port_zero_takes_a_free_one() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("192.0.2.1", False)]
)
def test_loopback_is_told_from_the_rest(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


class Served:
    """`launch.serve` in a thread, with its terminal."""

    def __init__(self, host: str, monkeypatch: pytest.MonkeyPatch, *, open_browser: bool = False, **settings: Any) -> None:
        self.terminal = io.StringIO()
        self.servers: list[launch.DrainingServer] = []
        server_class = launch.DrainingServer
        monkeypatch.setattr(launch, "DrainingServer", lambda *given: self.servers.append(server_class(*given)) or self.servers[-1])
        # Signals belong to the main thread; what they do is tested in a process of its own below.
        monkeypatch.setattr(launch.signal, "signal", lambda number, handler: None)
        listener = bind(host, 0)
        self.port = listener.getsockname()[1]
        loaded = launch.Loaded(ScriptedPipeline("Yes", name="scout-nano"))
        chosen = ServerSettings(keys_file=None, **settings)
        arguments = (loaded, listener, Console(file=self.terminal, width=100), chosen, key_ring(chosen))
        self.thread = threading.Thread(target=launch.serve, args=arguments, kwargs={"open_browser": open_browser})

    def __enter__(self) -> "Served":
        self.thread.start()
        assert eventually(lambda: bool(self.servers) and self.servers[0].started)
        return self

    def __exit__(self, *exception: object) -> None:
        self.servers[0].should_exit = True
        self.thread.join(10)


def test_the_terminal_says_what_is_served_where_and_how_to_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Served("127.0.0.1", monkeypatch) as served:
        said = served.terminal.getvalue()
        assert f"http://127.0.0.1:{served.port}" in said
        assert "scout-nano" in said and "text and pictures" in said and "8,192" in said
        assert "warning" not in said
        (line,) = [line for line in said.splitlines() if "curl" in line]
        answer = subprocess.run(line, shell=True, capture_output=True, text=True) if _has_curl() else None
    if answer is not None:
        assert '"content":"Yes"' in answer.stdout
    assert served.terminal.getvalue().endswith("stopped\n")


def test_listening_to_anyone_beyond_this_machine_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    with Served("0.0.0.0", monkeypatch, allow_anyone=True) as served:
        said = served.terminal.getvalue()
        assert re.search(r"warning: listening on 0\.0\.0\.0, beyond this machine, without asking for a key", said)
        assert f"http://127.0.0.1:{served.port}" in said, "0.0.0.0 is no address that a browser can open"


def test_with_a_key_the_terminal_says_that_one_is_needed_and_other_machines_are_no_danger(monkeypatch: pytest.MonkeyPatch) -> None:
    with Served("0.0.0.0", monkeypatch, api_key="a-key-of-the-environment") as served:
        said = served.terminal.getvalue()
        assert "puna keys add NAME makes one" in said and "warning" not in said and "a-key-of" not in said
        (line,) = [line for line in said.splitlines() if "curl" in line]
        environment = {**os.environ, "PUNA_KEY": "a-key-of-the-environment"}
        if _has_curl():
            answer = subprocess.run(line, shell=True, capture_output=True, text=True, env=environment)
            assert '"content":"Yes"' in answer.stdout
        assert httpx.get(f"http://127.0.0.1:{served.port}/v1/models").status_code == 401


def test_keys_that_nobody_is_asked_for_are_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    with Served("127.0.0.1", monkeypatch, api_key="a-key-of-the-environment", allow_anyone=True) as served:
        assert "warning: there are API keys, but nobody is asked for one" in served.terminal.getvalue()
        assert httpx.get(f"http://127.0.0.1:{served.port}/v1/models").status_code == 200


def test_a_proxy_is_believed_only_if_it_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"requests_per_minute": 1}

    def statuses(served: Served) -> list[int]:
        address = f"http://127.0.0.1:{served.port}/v1/models"
        return [httpx.get(address, headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code for number in range(3)]

    with Served("127.0.0.1", monkeypatch, rates=rates) as served:
        assert statuses(served) == [200, 429, 429], "anybody could call himself somebody else"
    with Served("127.0.0.1", monkeypatch, rates=rates, trusted_proxies=("127.0.0.0/8",)) as served:
        assert statuses(served) == [200, 200, 200]


def test_a_browser_is_opened_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(launch.webbrowser, "open", lambda address: opened.append(address) or True)
    with Served("127.0.0.1", monkeypatch):
        assert opened == []
    with Served("127.0.0.1", monkeypatch, open_browser=True) as served:
        assert eventually(lambda: opened == [f"http://127.0.0.1:{served.port}"])


def test_a_missing_browser_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.webbrowser, "open", lambda address: False)
    with Served("127.0.0.1", monkeypatch, open_browser=True) as served:
        assert eventually(lambda: "open http://127.0.0.1:" in served.terminal.getvalue())


PROGRAM = """
import puna.serve.launch as launch
from puna.serve.settings import ServerSettings
from puna.testing.scripted import ScriptedPipeline
launch.ready = lambda settings: launch.Loaded(ScriptedPipeline("word " * 10_000, name=settings.model, seconds_per_token=0.01))
launch.GRACE_S = 1
launch.run(ServerSettings(port=0, keys_file=None, store=None, limits={"drain_s": 1}))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_cleanly_in_the_middle_of_an_answer(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    try:
        address = ""
        for line in process.stdout:
            if "curl" in line:
                address = re.search(r"http://[\d.:]+", line).group()
                break
        body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
        with httpx.stream("POST", f"{address}/v1/chat/completions", json=body) as response:
            assert "assistant" in next(response.iter_lines())
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out.endswith("stopped\n")
    assert "Traceback" not in err


def _has_curl() -> bool:
    return any(os.access(os.path.join(folder, "curl"), os.X_OK) for folder in os.get_exec_path())
