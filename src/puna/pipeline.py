"""`puna.load(...)`: messages in, text out. The one front that the chat, the server and the evaluations use.

messages -> `Stream` (tokens.chat, media) -> engine -> ids -> text. Stop strings live here; HTTP does not.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from puna.checkpoint import load_model
from puna.config import ModelConfig
from puna.engine import Drafter, Engine, Generation, Grammar, GrammarCompiler, Request, Sampling, Settings
from puna.media import video_tokens
from puna.messages import MessageLike, RequestError, read_messages
from puna.model import Batch, Model
from puna.stream import Message, Stream, Text, ToolCall
from puna.tokens.bpe import Tokenizer
from puna.tokens.chat import ChatFormat
from puna.tokens.incremental import IncrementalDecoder

FinishReason = Literal["stop", "length", "tool_calls"]


class Produced(NamedTuple):
    """A chunk, and all ids that were sampled up to it."""

    chunk: "Chunk"
    token_ids: list[int]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Tokens are counted as the model saw them, the closing stop token included."""

    message: Message
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int

    @property
    def text(self) -> str:
        return self.message.text


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer. Only the last one has a `finish_reason`, and the tool calls if the answer made any."""

    text: str
    finish_reason: FinishReason | None
    prompt_tokens: int
    completion_tokens: int
    tool_calls: tuple[ToolCall, ...] = ()


def shipped_models() -> dict[str, Path]:
    """Names and directories of the nanos inside the package."""
    root = Path(__file__).parent / "weights"
    return {path.name: path for path in sorted(root.iterdir()) if (path / "config.json").is_file()} if root.is_dir() else {}


def load(
    name_or_path: str | Path = "scout-nano",
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
    settings: Settings | None = None,
    drafter: Drafter | None = None,
) -> "Pipeline":
    """Load a shipped nano by name, or a Hugging Face directory by path.

    dtype: "float32", "bfloat16" or a torch dtype; by default what suits the device: bfloat16, or float32 for a nano on a CPU, where a
    small model in fp32 is as fast and exact. `settings` and `drafter` are the engine's: memory, streams, batch invariance; drafts.
    """
    path = shipped_models().get(str(name_or_path), Path(name_or_path))
    if not path.is_dir():
        known = ", ".join(shipped_models()) or "none"
        wanted = str(name_or_path)
        raise RequestError(f"no model {wanted!r}: neither a shipped name ({known}) nor a directory; give a Hugging Face directory's path")
    chosen = _dtype(dtype) if dtype is not None else _default_dtype(path, device)
    model = load_model(path, chosen, device).eval().requires_grad_(False)
    tokenizer = Tokenizer.from_hf(path)
    name = name_or_path if isinstance(name_or_path, str) else name_or_path.name
    return Pipeline(name, model, tokenizer, settings=settings, drafter=drafter)


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if isinstance(dtype, str) and dtype not in known:
        raise RequestError(f"dtype={dtype!r} is unknown; use {' or '.join(known)}")
    return known[dtype] if isinstance(dtype, str) else dtype


def _default_dtype(path: Path, device: str) -> torch.dtype:
    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    return torch.float32 if device == "cpu" and size < 1 << 30 else torch.bfloat16


class Pipeline:
    """A model, its tokenizer and its chat format, over one engine. Several threads may ask at once: their requests share its steps."""

    def __init__(
        self, name: str, model: Model, tokenizer: Tokenizer, *, settings: Settings | None = None, drafter: Drafter | None = None
    ) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.config: ModelConfig = model.config
        self.chat_format = ChatFormat(tokenizer, model.config.vision)
        self._settings = settings or Settings(max_streams=16)
        self._drafter = drafter
        self._engine: Engine | None = None
        self._grammars: GrammarCompiler | None = None
        self._making = threading.RLock()

    @property
    def engine(self) -> Engine:
        """Made at the first request: from then on memory for keys and values is taken."""
        with self._making:
            if self._engine is None:
                self._engine = Engine(self.model, self._settings, drafter=self._drafter, grammars=self._compiler)
            return self._engine

    def _compiler(self) -> GrammarCompiler:
        """Reads the bytes of every token once, when a grammar is first asked for."""
        with self._making:
            if self._grammars is None:
                known = self.tokenizer.vocab_size
                token_bytes = [self.tokenizer.token_bytes(i) if i < known else b"" for i in range(self.config.vocab_size)]
                special = range(self.tokenizer.special.base, self.config.vocab_size)
                self._grammars = GrammarCompiler(token_bytes, special, self.config.eos_ids, self.tokenizer.encode)
            return self._grammars

    def encode(self, messages: Sequence[MessageLike], tools: Sequence[Mapping[str, Any]] | None = None) -> Stream:
        """The stream that the model would read, generation prompt included."""
        read = read_messages(messages, self.config.vision, video_tokens(self.config.max_positions))
        return self.chat_format.encode(read, tools)

    def chat(self, messages: Sequence[MessageLike], **options: Any) -> Reply:
        """The whole answer; options as in `stream`."""
        return _whole(list(self.stream(messages, **options)))

    def stream(
        self,
        messages: Sequence[MessageLike],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        stop: str | Sequence[str] = (),
        grammar: Grammar | None = None,
        priority: int = 0,
        **sampling: Any,
    ) -> Iterator[Chunk]:
        """Answer piece by piece. With `tools`, text is held back until it is known not to be a call: it comes in the last chunk.

        `sampling` are the fields of `puna.engine.Sampling`: max_tokens, temperature, top_k, top_p, seed, ... `grammar` holds the answer
        to a JSON schema, a regular expression or a choice; requests of smaller `priority` go first. Mistakes in messages or options raise
        at once, not at the first `next()`.
        """
        generation, stops = self._ask(self.encode(messages, tools), stop, grammar, priority, sampling)
        return self._answer(generation, stops, tools)

    def chats(
        self,
        conversations: Sequence[Sequence[MessageLike]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        stop: str | Sequence[str] = (),
        grammar: Grammar | None = None,
        priority: int = 0,
        **sampling: Any,
    ) -> list[Reply]:
        """The whole answers to several conversations, decoded side by side; options as in `stream`, for all of them."""
        asked = [self._ask(self.encode(messages, tools), stop, grammar, priority, sampling) for messages in conversations]
        try:
            for generation, _ in asked:
                self.engine.enter(generation)
            return [_whole(list(self._answer(generation, stops, tools))) for generation, stops in asked]
        finally:
            for generation, _ in asked:
                self.engine.cancel(generation)

    def generate(self, text: str, **options: Any) -> str:
        """Continue plain text, without a chat format around it; options as in `stream`, tools excepted."""
        ids = np.array([self.config.bos_id, *self.tokenizer.encode(text)], dtype=np.int64)
        stop, grammar, priority = options.pop("stop", ()), options.pop("grammar", None), options.pop("priority", 0)
        asked = self._ask(Stream(ids), stop, grammar, priority, options)
        return "".join(produced.chunk.text for produced in self._produce(*asked))

    def logits(
        self, token_ids: Sequence[int] | Sequence[Sequence[int]], images: Tensor | np.ndarray | None = None
    ) -> Tensor | list[Tensor]:
        """Next-token logits fp32: one list of ids -> `[T, V]`; several lists -> a list of such, each as if it were alone.

        `images` are tiles `[M, 3, h, w]` in the order in which their patch tokens appear.
        """
        several = len(token_ids) > 0 and not isinstance(token_ids[0], int | np.integer) and np.ndim(token_ids[0]) > 0
        rows: Iterable[Any] = token_ids if several else [token_ids]
        streams = [Stream(self._checked_ids(row)) for row in rows]
        if images is not None:
            streams[0] = replace(streams[0], tiles=np.asarray(images, dtype=np.float32))
        with torch.inference_mode():
            batch = Batch.from_streams(streams, device=self.model.text.embed.weight.device)
            logits_TV = self.model.logits(self.model(batch))
        return list(logits_TV.split(batch.lengths)) if several else logits_TV

    def _checked_ids(self, row: Any) -> np.ndarray:
        ids = np.asarray(row)
        if ids.ndim != 1 or ids.dtype.kind not in "iu" or not len(ids) or ids.min() < 0 or ids.max() >= self.config.vocab_size:
            raise RequestError(f"token ids must be a non-empty list of whole numbers from 0 to {self.config.vocab_size - 1}")
        return ids.astype(np.int64)

    def _ask(
        self, prompt: Stream, stop: str | Sequence[str], grammar: Grammar | None, priority: int, sampling: Mapping[str, Any]
    ) -> tuple[Generation, tuple[str, ...]]:
        """A checked request that is not in line yet, and its stop strings."""
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        wrong = [stop for stop in stops if not isinstance(stop, str) or not stop]
        if wrong:
            raise RequestError(f"a stop string is {wrong[0]!r}; it must be a text that is not empty")
        stop_ids = frozenset(self.config.eos_ids)
        request = Request(prompt=prompt, sampling=Sampling(**sampling), stop_ids=stop_ids, grammar=grammar, priority=priority)
        return self.engine.prepare(request), stops

    def _answer(self, generation: Generation, stops: tuple[str, ...], tools: Sequence[Mapping[str, Any]] | None) -> Iterator[Chunk]:
        """The chunks of one answer. Text that may begin a stop string is held back until it is decided."""
        chunks = self._produce(generation, stops)
        return self._with_tool_calls(chunks, tools) if tools else (produced.chunk for produced in chunks)

    def _produce(self, generation: Generation, stops: tuple[str, ...]) -> Iterator[Produced]:
        decoder, held, ids = IncrementalDecoder(self.tokenizer), "", []
        prompt_tokens = len(generation.request.prompt)
        finish: FinishReason = "length"
        for token in self.engine.follow(generation):
            ids.append(token.id)
            if token.finish_reason == "stop":
                finish = "stop"
            if token.id in self.config.eos_ids:
                break
            held += decoder.push(token.id)
            if (at := _first_stop(held, stops)) is not None:
                yield Produced(Chunk(held[:at], "stop", prompt_tokens, len(ids)), ids)
                return
            safe = len(held) - _held_back(held, stops)
            # Also when there is nothing to show yet: whoever listens can stop here.
            yield Produced(Chunk(held[:safe], None, prompt_tokens, len(ids)), ids)
            held = held[safe:]
        if generation.finish_reason == "cancelled":
            raise RequestError("the answer was cancelled from elsewhere before its end")
        held += decoder.flush()
        at = _first_stop(held, stops)
        yield Produced(Chunk(held if at is None else held[:at], finish if at is None else "stop", prompt_tokens, len(ids)), ids)

    def _with_tool_calls(self, chunks: Iterator[Produced], tools: Sequence[Mapping[str, Any]]) -> Iterator[Chunk]:
        """The reply's text and the calls in it, in one chunk at the end. Chunks before it are empty: whoever listens can stop there.

        An answer that a stop string ended is text: what follows the string was never said, so no call is read from it.
        """
        text, last = "", None
        for last in chunks:
            text += last.chunk.text
            if last.chunk.finish_reason is None:
                yield replace(last.chunk, text="")
        assert last is not None, "generation yields at least one chunk"
        by_stop_string = last.chunk.finish_reason == "stop" and last.token_ids[-1] not in self.config.eos_ids
        message = self.chat_format.parse_reply(last.token_ids, [] if by_stop_string else tools)
        if not message.tool_calls:
            yield replace(last.chunk, text=text)
            return
        calls = tuple(replace(call, id=call.id or f"call_{i}") for i, call in enumerate(message.tool_calls))
        yield replace(last.chunk, text=message.text, finish_reason="tool_calls", tool_calls=calls)


def _whole(chunks: list[Chunk]) -> Reply:
    """All chunks of an answer as one reply."""
    last, text = chunks[-1], "".join(chunk.text for chunk in chunks)
    message = Message("assistant", (Text(text),) if text else (), last.tool_calls)
    assert last.finish_reason is not None, "the last chunk of a stream always says why it ended"
    return Reply(message, last.finish_reason, last.prompt_tokens, last.completion_tokens)


def _first_stop(text: str, stops: tuple[str, ...]) -> int | None:
    places = [text.find(stop) for stop in stops if stop in text]
    return min(places) if places else None


def _held_back(text: str, stops: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that begins a stop string."""
    longest = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), longest, -1):
            if stop.startswith(text[-size:]):
                longest = size
                break
    return longest
