"""The `openai` client's Responses API against a real server, and a server that is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import openai
import pytest
import uvicorn
from pydantic import BaseModel

from puna.serve.app import create_app
from puna.serve.keys import KeyFile
from puna.serve.launch import Loaded, around, bind
from puna.serve.operations import key_ring
from puna.serve.settings import ServerSettings
from puna.serve.store import Store
from puna.stream import ToolCall
from puna.testing.scripted import ScriptedPipeline

TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    "strict": False,
}
CALL = ToolCall("weather", {"place": "Cusco"})


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline("A white llama", name="scout-nano")


@pytest.fixture
def client(pipeline: ScriptedPipeline, tmp_path) -> Iterator[openai.OpenAI]:
    listener = bind("127.0.0.1", 0)
    app = create_app(pipeline, store=Store(tmp_path / "responses.sqlite3"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    listener.listen()
    thread.start()
    with openai.OpenAI(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", api_key="none", max_retries=0) as client:
        yield client
    server.should_exit = True
    thread.join(10)
    listener.close()
    assert not thread.is_alive()


def test_an_answer_and_what_becomes_of_it(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="scout-nano", input="Hi", instructions="Be brief.")
    assert (answer.output_text, answer.status) == ("A white llama", "completed")
    assert client.responses.retrieve(answer.id) == answer
    (item,) = client.responses.input_items.list(answer.id).data
    assert item.content[0].text == "Hi"
    again = client.responses.create(model="scout-nano", input="And?", previous_response_id=answer.id)
    assert again.previous_response_id == answer.id
    client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="scout-nano", input="And?", previous_response_id=again.id)
    assert refused.value.code == "previous_response_not_found"


def test_the_clients_own_accumulating_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(model="scout-nano", input="Hi") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == "A white llama"
    assert client.responses.retrieve(final.id).output_text == text


@pytest.mark.parametrize("pipeline", [ScriptedPipeline(["Let me see. ", CALL], "It is cold", "Yes", name="scout-nano")])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_round_of_tools(client: openai.OpenAI, pipeline: ScriptedPipeline, is_streamed: bool) -> None:
    if is_streamed:
        with client.responses.stream(model="scout-nano", input="Cold?", tools=[TOOL]) as stream:
            first = stream.get_final_response()
    else:
        first = client.responses.create(model="scout-nano", input="Cold?", tools=[TOOL])
    message, call = first.output
    assert (message.content[0].text, json.loads(call.arguments)) == ("Let me see. ", {"place": "Cusco"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "2 degrees"}
    second = client.responses.create(model="scout-nano", input=[result], previous_response_id=first.id, tools=[TOOL])
    assert second.output_text == "It is cold"
    by_id = pipeline.requests[-1].messages
    client.responses.create(model="scout-nano", input=[{"role": "user", "content": "Cold?"}, *first.output, result], tools=[TOOL])
    assert [(message.role, message.text, message.tool_calls) for message in pipeline.requests[-1].messages] == [
        (message.role, message.text, message.tool_calls) for message in by_id
    ]


class Animal(BaseModel):
    name: str


@pytest.mark.parametrize("pipeline", [ScriptedPipeline('{"name": "llama"}', name="scout-nano")])
def test_parsing(client: openai.OpenAI, pipeline: ScriptedPipeline) -> None:
    answer = client.responses.parse(model="scout-nano", input="Which?", text_format=Animal)
    assert answer.output_parsed == Animal(name="llama")
    assert pipeline.requests[-1].ask.grammar is not None


@pytest.mark.parametrize("pipeline", [ScriptedPipeline("word " * 1000, name="scout-nano", seconds_per_token=0.002)])
def test_cancelling_in_the_background(client: openai.OpenAI, pipeline: ScriptedPipeline) -> None:
    stream = client.responses.create(model="scout-nano", input="Hi", background=True, stream=True)
    events = [next(stream) for _ in range(6)]
    stream.close()
    id = events[0].response.id
    assert client.responses.retrieve(id).status == "in_progress"
    taken_up = client.responses.retrieve(id, stream=True, starting_after=events[3].sequence_number)
    assert next(taken_up) == events[4]
    assert client.responses.cancel(id).status == "cancelled"
    assert [event.type for event in taken_up][-1] == "error"
    assert client.responses.retrieve(id).status == "cancelled"
    assert pipeline.running == 0


@pytest.mark.parametrize("pipeline", [ScriptedPipeline("word " * 1000, name="scout-nano", seconds_per_token=0.002)])
def test_a_client_that_leaves_stops_the_answer(client: openai.OpenAI, pipeline: ScriptedPipeline) -> None:
    stream = client.responses.create(model="scout-nano", input="Hi", stream=True)
    id = next(stream).response.id
    stream.close()
    deadline = time.monotonic() + 10
    while client.responses.retrieve(id).status == "in_progress" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.responses.retrieve(id).status == "cancelled"
    assert pipeline.running == 0


PROGRAM = """
import sys
from pathlib import Path
import uvicorn
from puna.serve.app import create_app
from puna.serve.launch import bind
from puna.serve.store import Store
from puna.testing.scripted import ScriptedPipeline
listener = bind("127.0.0.1", 0)
app = create_app(ScriptedPipeline("A white llama", "word " * 10_000, seconds_per_token=0.01), store=Store(Path(sys.argv[1])))
listener.listen()
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_a_killed_server_has_lost_nothing_that_it_called_completed(tmp_path) -> None:
    def start() -> tuple["subprocess.Popen[str]", str]:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "responses.sqlite3")]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        return program, f"http://127.0.0.1:{program.stdout.readline().strip()}/v1/responses"

    program, address = start()
    try:
        with httpx.stream("POST", address, json={"input": "Hi", "stream": True}, timeout=60) as response:
            completed = next(line for line in response.iter_lines() if '"type":"response.completed"' in line)
            running = httpx.post(address, json={"input": "Hi", "background": True}, timeout=60).json()
            program.send_signal(signal.SIGKILL)
        program.wait(10)
        said = json.loads(completed.removeprefix("data: "))["response"]
        program.stdout.close()
        program, address = start()
        assert httpx.get(f"{address}/{said['id']}", timeout=60).json() == said
        failed = httpx.get(f"{address}/{running['id']}").json()
        assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
        again = httpx.post(address, json={"input": "And?", "previous_response_id": said["id"], "max_output_tokens": 2}, timeout=60)
        assert again.status_code == 200
    finally:
        program.kill()
        program.wait(10)
        program.stdout.close()


def test_no_key_reads_another_one_s_responses(tmp_path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    ada, bob = (keys.add(name)[0] for name in ("ada", "bob"))
    settings = ServerSettings(keys_file=keys.path, store=None)
    app = around(Loaded(ScriptedPipeline("Yes")), settings, key_ring(settings), is_local=False, store=Store(tmp_path / "r.sqlite3"))
    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    listener.listen()
    thread.start()
    try:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        hers, his = (openai.OpenAI(base_url=base, api_key=key, max_retries=0) for key in (ada, bob))
        answer = hers.responses.create(model="scripted", input="Hi")
        assert hers.responses.retrieve(answer.id).output_text == "Yes"
        for ask in (his.responses.retrieve, his.responses.delete, his.responses.cancel, his.responses.input_items.list):
            with pytest.raises(openai.NotFoundError):
                ask(answer.id)
        with pytest.raises(openai.BadRequestError):
            his.responses.create(model="scripted", input="Hi", previous_response_id=answer.id)
        with pytest.raises(openai.NotFoundError):
            his.responses.create(model="scripted", input=[{"type": "item_reference", "id": answer.output[0].id}])
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
