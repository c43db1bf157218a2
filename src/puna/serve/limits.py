"""What one request may cost, and the reading of a body within it. Every number here is a choice. [ours]"""

import asyncio
from dataclasses import dataclass, field

from fastapi import Request

from puna.media.fetch import FetchPolicy
from puna.media.root import MediaRoot
from puna.serve.errors import ApiError


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    body_bytes: int = 32 * 2**20
    body_s: float = 30.0
    pictures: int = 16
    # Each takes as many tiles as two large pictures, and may take `puna.media.clip.MAX_DECODE_S` to decode.
    videos: int = 8
    # What may be fetched for an `image_url` that is a web address: nothing, unless whoever runs the server says so.
    fetch: FetchPolicy = field(default_factory=FetchPolicy)
    # What may be read for a `file:` URL, up to `fetch.max_bytes` each: nothing, unless a folder is named.
    media_root: MediaRoot | None = None
    messages: int = 1000
    tools: int = 256
    # Of each JSON schema, in UTF-8 and in levels of objects and lists. A form that is held to is bounded by `puna.engine.Grammar` as well,
    # at these same bytes: more makes room only for tools that the model is free to call or not.
    schema_bytes: int = 64 * 2**10
    schema_depth: int = 64
    # Answers to one request: choices, of all its prompts together.
    choices: int = 128
    # What is kept of responses (`puna.serve.store.Bounds`): what has not been used for longest goes first.
    stored_responses: int = 10_000
    stored_bytes: int = 2**30
    stored_days: float = 30.0
    # Answers written at once, side by side: as many as the engine has streams.
    answering: int = 1
    # Requests that may wait for one of them to end.
    waiting: int = 256
    # Threads that read requests, decode pictures and write prompts.
    readers: int = 2
    # Tokens of an answer when the client names no number; fewer if the context has less room.
    default_max_tokens: int = 1024
    # How long a stream waits for its first event before the headers go out: until then an error can still be a status code.
    first_chunk_s: float = 5.0
    # Silence after which a comment goes into the stream, so that nobody between takes the connection for dead.
    ping_s: float = 15.0
    # Time that answers being written get to end when the server goes down.
    drain_s: float = 5.0


# A body that is too large is read and thrown away up to this many times the limit: a client that is still writing when the connection
# closes would see a broken pipe instead of the 413.
_DRAIN = 4


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body. 413 above `body_bytes`, 408 after `body_s`, 415 unless it is called JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        # Also keeps other web pages out: a browser lets them send JSON elsewhere only after asking us first.
        given = request.headers.get("content-type", "none")
        raise ApiError(415, f"Content-Type is {given}; send the request as application/json", code="unsupported_content_type")
    if _declared(request) > _DRAIN * limits.body_bytes:
        raise _too_large(limits)
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for piece in request.stream():
                size += len(piece)
                if size <= limits.body_bytes:
                    body += piece
                elif size > _DRAIN * limits.body_bytes:
                    break
    except TimeoutError as error:
        message = f"the body did not arrive within {limits.body_s:g} s; send it again"
        raise ApiError(408, message, code="request_timeout", headers={"Connection": "close"}) from error
    if size > limits.body_bytes:
        raise _too_large(limits)
    return bytes(body)


def _declared(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _too_large(limits: Limits) -> ApiError:
    message = f"the body has more than the {limits.body_bytes:,} bytes that this server reads; send fewer or smaller pictures and videos"
    return ApiError(413, message, code="request_too_large", headers={"Connection": "close"})
