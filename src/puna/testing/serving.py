"""For tests of what speaks HTTP: a client inside the test's own event loop, and a real server on a free port of this machine."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from puna.serve.app import create_app
from puna.serve.core import Core
from puna.serve.exchange import Answering
from puna.serve.launch import bind
from puna.serve.limits import Limits
from puna.testing.pictures import corners_picture, encoded
from puna.testing.videos import mp4

USER = {"role": "user", "content": "Hi"}


class AppClient:
    """Talks to an app in the same event loop. An exception in the app becomes a 500, as it would behind uvicorn."""

    def __init__(self, pipeline: Answering, limits: Limits | None = None, **options: Any) -> None:
        self.app = create_app(pipeline, limits=limits, **options)
        self.core: Core = self.app.state.core
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://puna")

    async def chat(self, *messages: Any, **fields: Any) -> httpx.Response:
        return await self.http.post("/v1/chat/completions", json={"messages": list(messages) or [USER], **fields})

    async def body(self, content: bytes) -> httpx.Response:
        return await self.http.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})

    async def events(self, *messages: Any, **fields: Any) -> list[Any]:
        """The data of each server-sent event: parsed JSON, or "[DONE]"."""
        response = await self.chat(*messages, stream=True, **fields)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        frames = response.text.split("\n\n")
        assert frames.pop() == ""
        data = [frame.removeprefix("data: ") for frame in frames]
        return [line if line == "[DONE]" else json.loads(line) for line in data]


@contextmanager
def live_server(pipeline: Answering, limits: Limits | None = None) -> Iterator[str]:
    """The address of a real server, in a thread of its own."""
    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(pipeline, limits=limits), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    listener.listen()
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
    assert not thread.is_alive()


def eventually(claim: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def picture_part(url: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url or data_url(encoded(corners_picture(20, 30))), **fields}}


def video_part(url: str | None = None) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url or data_url(mp4(), "video/mp4")}}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def assert_error(response: httpx.Response, status: int, code: str | None, param: str | None = None) -> str:
    """The error object has exactly OpenAI's fields. Returns the message."""
    assert response.status_code == status, response.text
    assert response.json().keys() == {"error"}
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param), error
    assert isinstance(error["message"], str) and error["message"]
    return error["message"]
