"""The chat format: messages to a stream, and a reply's ids back to a message.

Written as Meta's reference does [meta] llama4/chat_format.py: content is never stripped, tool-call turns and tool results end in eom,
all other turns in eot, role "tool" is written "ipython", pictures stand where they stand in the message. Three choices are [ours]: the
wording that offers tools in the system message, the ids of a video, and that text parts which touch (with a turn's tool calls) are
encoded as one text, so that it does not matter where a client cut it. Content is plain text: nothing that a user types becomes a
special id.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from puna.config import VisionConfig
from puna.stream import Image, Message, Stream, Text, Video
from puna.tokens.bpe import Tokenizer
from puna.tokens.errors import ChatError
from puna.tokens.reply import ReplyReader
from puna.tokens.tool_calls import write_calls

_WRITTEN_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool": "ipython"}

TOOLS_INTRODUCTION = "You can call these tools, one JSON definition per line:"
TOOLS_INSTRUCTION = (
    'To call tools, reply with only a list of calls such as [tool_name(argument="value", other=2), other_tool()]. '
    "Use the names and arguments given above. If no tool is needed, reply in plain text."
)


class _Run(NamedTuple):
    """Neighbouring ids that are either all trained on or not at all."""

    token_ids: list[int]
    is_trained: bool


class ChatFormat:
    """Writes conversations for one tokenizer and one vision tower (None for a text-only model)."""

    def __init__(self, tokenizer: Tokenizer, vision: VisionConfig | None = None) -> None:
        self.tokenizer = tokenizer
        self.vision = vision
        self._headers = {role: self._header_ids(written) for role, written in _WRITTEN_ROLES.items()}

    def encode(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None, add_generation_prompt: bool = True
    ) -> Stream:
        """The stream of a conversation, ready for the assistant to go on."""
        messages = offer_tools(messages, tools)
        runs = [run for message in messages for run in self._message_runs(message)]
        if add_generation_prompt:
            runs.append(_Run(self._headers["assistant"], False))
        return self._stream(runs, messages)

    def encode_training(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> Stream:
        """The same stream without the prompt for another turn; `loss_mask` is True on what the assistant wrote and on its closing id."""
        messages = offer_tools(messages, tools)
        runs = [run for message in messages for run in self._message_runs(message)]
        stream = self._stream(runs, messages)
        trained = [run.is_trained for run in runs for _ in run.token_ids]
        stream.loss_mask = np.array([False, *trained], dtype=bool)
        return stream

    def image_ids(self, grid: tuple[int, int]) -> list[int]:
        """The ids of one picture cut into `grid` (rows, columns): its tiles row by row, then the global one. [meta]"""
        special = self.tokenizer.special
        tile = self._tile_ids("picture")
        rows, columns = grid
        ids = [special.image_start]
        if rows * columns > 1:
            for _ in range(rows):
                ids += [*tile, special.tile_x] * (columns - 1) + [*tile, special.tile_y]
        return [*ids, special.image, *tile, special.image_end]

    def video_ids(self, timestamps: Sequence[float]) -> list[int]:
        """The ids of one video whose frames, a tile each, show these seconds: each frame's separator, time and patch ids. [ours]

        The time is plain text, so that the model reads it as it reads any number: with P patch ids a tile, a frame has P + 1 ids and
        those of "0.5s".
        """
        special = self.tokenizer.special
        tile = self._tile_ids("video")
        ids = [special.video_start]
        for seconds in timestamps:
            ids += [special.frame, *self.tokenizer.encode(written_time(seconds)), *tile]
        return [*ids, special.video_end]

    def _tile_ids(self, what: str) -> list[int]:
        if self.vision is None:
            raise ChatError(f"the conversation holds a {what}, but this model has no vision tower; use another or leave the {what} out")
        return [self.tokenizer.special.patch] * self.vision.tokens_per_tile

    def parse_reply(self, token_ids: Sequence[int], tools: Sequence[Mapping[str, Any]] | None = None) -> Message:
        """What the assistant said: text and tool calls. Never raises on ids that a model sampled.

        `tools` are the definitions that were offered: only their names can be called, so that with an empty list all is text. None allows
        every name. A reply in python tags that holds no call is itself a call: code for `code_interpreter`. [meta]
        """
        names = None if tools is None else [tool_definition(tool)["name"] for tool in tools]
        reader = ReplyReader(names, new_id=lambda: "")
        for text, is_code in self._segments(token_ids):
            if is_code:
                reader.python_start()
            else:
                reader.python_end()
            reader.push(text)
        reply = reader.close()
        return Message("assistant", (Text(reply.full_text),) if reply.full_text else (), reply.calls)

    def _segments(self, token_ids: Sequence[int]) -> Iterator[tuple[str, bool]]:
        """The reply's text up to its first stop id, cut at the python tags; True marks what stands inside them."""
        special = self.tokenizer.special
        ids = [int(token_id) for token_id in token_ids]
        ids = ids[: next((place for place, token_id in enumerate(ids) if token_id in special.stop_ids), len(ids))]
        header = self._headers["assistant"]
        if ids[: len(header)] == header:
            ids = ids[len(header) :]
        start, is_code = 0, False
        for place, token_id in enumerate(ids):
            if token_id in (special.python_start, special.python_end):
                yield self.tokenizer.decode(ids[start:place]), is_code
                start, is_code = place + 1, token_id == special.python_start
        yield self.tokenizer.decode(ids[start:]), is_code

    def _header_ids(self, written_role: str) -> list[int]:
        special, encode = self.tokenizer.special, self.tokenizer.encode
        return [special.header_start, *encode(written_role), special.header_end, *encode("\n\n")]

    def _message_runs(self, message: Message) -> Iterator[_Run]:
        _check(message)
        special = self.tokenizer.special
        is_assistant = message.role == "assistant"
        yield _Run(self._headers[message.role], False)
        pending = ""
        for part in message.content:
            if isinstance(part, Text):
                pending += part.text
            else:
                yield _Run(self.tokenizer.encode(pending), is_assistant)
                yield _Run(self.image_ids(part.grid) if isinstance(part, Image) else self.video_ids(part.timestamps), False)
                pending = ""
        if message.tool_calls:
            pending += write_calls(message.tool_calls)
        yield _Run(self.tokenizer.encode(pending), is_assistant)
        goes_on = message.role == "tool" or bool(message.tool_calls)
        yield _Run([special.eom if goes_on else special.eot], is_assistant)

    def _stream(self, runs: Sequence[_Run], messages: Sequence[Message]) -> Stream:
        ids = [self.tokenizer.special.bos]
        for run in runs:
            ids += run.token_ids
        tiles = [self._tiles(part) for message in messages for part in message.content if not isinstance(part, Text)]
        return Stream(np.array(ids, dtype=np.int64), np.concatenate(tiles) if tiles else None)

    def _tiles(self, part: Image | Video) -> np.ndarray:
        assert self.vision is not None  # _tile_ids has refused pictures and videos before
        size = self.vision.tile_size
        if part.tiles.shape[1:] != (3, size, size):
            what, got = "video" if isinstance(part, Video) else "picture", part.tiles.shape[1:]
            raise ChatError(f"a {what} has tiles of shape {got}, but this model reads (3, {size}, {size}); tile it for this model")
        return np.asarray(part.tiles, dtype=np.float32)


def written_time(seconds: float) -> str:
    """A frame's time as the model reads it, in tenths of a second. [ours]

    >>> written_time(0), written_time(12.25)
    ('0.0s', '12.2s')
    """
    return f"{seconds:.1f}s"


def tool_definition(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition itself, out of OpenAI's wrapping {"type": "function", "function": {...}} if it is in one."""
    definition = tool.get("function", tool)
    if not isinstance(definition, Mapping) or not isinstance(definition.get("name"), str):
        raise ChatError(f"tool {dict(tool)!r} has no name; give a JSON definition with 'name', 'description' and 'parameters'")
    return definition


def offer_tools(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Sequence[Message]:
    """`messages` with the definitions of `tools` at the end of the system message, which is added if there is none. [ours]"""
    if not tools:
        return messages
    definitions = [json.dumps(tool_definition(tool), ensure_ascii=False) for tool in tools]
    offer = "\n".join([TOOLS_INTRODUCTION, *definitions, TOOLS_INSTRUCTION])
    if messages and messages[0].role == "system":
        system, rest = messages[0], messages[1:]
        gap = "\n\n" if any(not isinstance(part, Text) or part.text for part in system.content) else ""
        return [replace(system, content=(*system.content, Text(gap + offer))), *rest]
    return [Message("system", (Text(offer),)), *messages]


def _check(message: Message) -> None:
    if message.role not in tuple(_WRITTEN_ROLES):  # a tuple, since a client's role may be unhashable
        raise ChatError(f"unknown role {message.role!r}; a message's role is one of {', '.join(_WRITTEN_ROLES)}")
    if message.tool_calls and message.role != "assistant":
        raise ChatError(f"a message of role {message.role!r} holds {len(message.tool_calls)} tool calls; only the assistant makes calls")
    for part in message.content:
        if not isinstance(part, Text | Image | Video):
            given = type(part).__name__
            raise ChatError(f"a {message.role} message holds a part of type {given}; parts are Text, Image or Video (puna.stream)")
