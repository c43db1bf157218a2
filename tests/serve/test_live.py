"""What only a real server on a real socket can show: streams that flow, clients that leave, bodies that come slowly."""

import json
import socket
import threading
import time

import httpx
import pytest

from puna.serve.limits import Limits
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, assert_error, eventually, live_server

LONG = "word " * 2_000
BODY = {"messages": [USER], "max_tokens": 4_000}


def test_text_flows_while_the_answer_is_written() -> None:
    hold = threading.Semaphore(2)
    with live_server(ScriptedPipeline("one two three", hold=hold)) as address:
        with httpx.stream("POST", f"{address}/v1/chat/completions", json={**BODY, "stream": True}) as response:
            lines = (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {"))
            said = [next(lines)["choices"][0]["delta"]["content"] for _ in range(3)]
            assert said == ["", "one ", "two "]
            hold.release(100)
            assert next(lines)["choices"][0]["delta"]["content"] == "three"


@pytest.mark.parametrize("waiting_for", ["the second chunk", "the headers"])
def test_a_client_that_leaves_a_stream_stops_the_answer(waiting_for: str) -> None:
    pipeline = ScriptedPipeline(LONG, "Yes", seconds_per_token=0.005)
    with live_server(pipeline, Limits(waiting=0)) as address:
        with httpx.stream("POST", f"{address}/v1/chat/completions", json={**BODY, "stream": True}) as response:
            if waiting_for == "the second chunk":
                next(response.iter_lines())
        assert eventually(lambda: pipeline.abandoned == 1)
        assert eventually(lambda: httpx.post(f"{address}/v1/chat/completions", json=BODY).status_code == 200)


def test_a_client_that_leaves_a_whole_answer_stops_it() -> None:
    pipeline = ScriptedPipeline(LONG, "Yes", seconds_per_token=0.005)
    with live_server(pipeline) as address:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/chat/completions", json=BODY, timeout=0.3)
        assert eventually(lambda: pipeline.abandoned == 1)
        assert httpx.post(f"{address}/v1/chat/completions", json=BODY).status_code == 200


def test_a_client_that_leaves_while_it_sends_leaves_no_trace() -> None:
    with live_server(ScriptedPipeline("Yes"), Limits(waiting=0)) as address:
        connect(address, b"x", length=1_000).close()
        assert eventually(lambda: httpx.get(f"{address}/health").json()["requests_in_flight"] == 0)
        assert httpx.post(f"{address}/v1/chat/completions", json=BODY).status_code == 200


def test_a_body_that_never_ends_is_given_up() -> None:
    with live_server(ScriptedPipeline("Yes"), Limits(body_s=0.2)) as address:
        with connect(address, b"{", length=1_000) as slow:
            slow.settimeout(5)
            answer = b"".join(iter(lambda: slow.recv(65_536), b"")).decode()
        assert answer.startswith("HTTP/1.1 408")
        assert "request_timeout" in answer


def test_an_oversized_body_is_answered_though_it_is_still_being_sent() -> None:
    with live_server(ScriptedPipeline("Yes"), Limits(body_bytes=3_000_000)) as address:
        headers = {"Content-Type": "application/json"}
        response = httpx.post(f"{address}/v1/chat/completions", content=b" " * 10_000_000, headers=headers)
        assert_error(response, 413, "request_too_large")


def test_a_long_silence_is_filled_with_comments() -> None:
    hold = threading.Semaphore(0)
    with live_server(ScriptedPipeline("Yes", hold=hold), Limits(first_chunk_s=0.05, ping_s=0.05)) as address:
        with httpx.stream("POST", f"{address}/v1/chat/completions", json={**BODY, "stream": True}) as response:
            lines = (line for line in response.iter_lines() if line)
            assert '"role":"assistant"' in next(lines)
            assert next(lines).startswith(":")
            assert next(lines).startswith(":")
            hold.release(100)
            assert [line for line in lines if not line.startswith(":")][-1] == "data: [DONE]"


def test_the_health_of_a_busy_server_is_told_at_once() -> None:
    hold = threading.Semaphore(0)
    pipeline = ScriptedPipeline("Yes", hold=hold)
    with live_server(pipeline) as address:
        busy = threading.Thread(target=httpx.post, args=(f"{address}/v1/chat/completions",), kwargs={"json": BODY})
        busy.start()
        assert eventually(lambda: pipeline.running == 1)
        started = time.monotonic()
        assert httpx.get(f"{address}/health").json()["requests_in_flight"] == 1
        assert time.monotonic() - started < 4
        hold.release(100)
        busy.join(5)


def connect(address: str, start_of_body: bytes, length: int) -> socket.socket:
    """A connection that has sent its headers and only the start of its body."""
    host, port = address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + start_of_body)
    return connection
