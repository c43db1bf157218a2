"""`Pipeline`: a model, its tokenizer and its chat format over one engine."""

import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from puna.config import ModelConfig
from puna.engine import AsyncEngine, Drafter, Engine, Generation, Grammar, GrammarCompiler, Request, Sampling, Settings
from puna.media import video_tokens
from puna.messages import MessageLike, RequestError, read_messages
from puna.model import Batch, Model
from puna.pipeline.ask import Ask, CallBroken, CallDone, ChoiceEvent, Event, Finished, FinishReason, PromptScored, TextDelta, Usage
from puna.pipeline.forced import as_offered, grammar_of
from puna.pipeline.reader import AnswerReader, score_of
from puna.pipeline.room import answer_length
from puna.stream import Message, Stream, Text, ToolCall
from puna.tokens.bpe import Tokenizer
from puna.tokens.chat import ChatFormat, tool_definition


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
    """A piece of an answer. Only the last one has a `finish_reason`; a tool call comes, whole, with the piece that ends it."""

    text: str
    finish_reason: FinishReason | None
    prompt_tokens: int
    completion_tokens: int
    tool_calls: tuple[ToolCall, ...] = ()


class Prepared(NamedTuple):
    """An ask that has passed every check and is not in line yet: one generation a choice."""

    ask: Ask
    prompt_tokens: int
    generations: tuple[Generation, ...]


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
        self._stepping: AsyncEngine | None = None
        self._grammars: GrammarCompiler | None = None
        self._making = threading.RLock()

    @property
    def engine(self) -> Engine:
        """Made at the first request: from then on memory for keys and values is taken."""
        with self._making:
            if self._engine is None:
                self._engine = Engine(self.model, self._settings, drafter=self._drafter, grammars=self._compiler)
            return self._engine

    @property
    def stepping(self) -> AsyncEngine:
        """The engine with a thread that steps it, for `answer`. Made at the first use, and anew after `aclose`."""
        with self._making:
            if self._stepping is None:
                self._stepping = AsyncEngine(self.engine)
            return self._stepping

    async def aclose(self) -> None:
        """End the stepping thread after the step under way; what is unfinished is cancelled."""
        with self._making:
            stepping, self._stepping = self._stepping, None
        if stepping is not None:
            await stepping.close()

    def prepare(self, ask: Ask, default_max_tokens: int | None = None) -> Prepared:
        """Everything before the line: templating, checks, reading grammars. It may take a while: call it in a thread.

        `default_max_tokens`: how long an answer may get when the ask names no number. Raises `ChatError`, `RequestError`, `PromptError`,
        `SamplingError` or `GrammarError` for what can never be answered.
        """
        if ask.prompt_ids is None:
            prompt = self.chat_format.encode(ask.messages, [as_offered(tool) for tool in ask.offered_tools])
        else:
            prompt = Stream(self._checked_ids(ask.prompt_ids))
        request = Request(
            prompt=prompt,
            sampling=ask.sampling(answer_length(ask, len(prompt), self.config.max_positions, default_max_tokens)),
            stop_ids=frozenset(self.config.eos_ids),
            grammar=grammar_of(ask),
            priority=ask.priority,
            prompt_logprobs=ask.prompt_logprobs,
        )
        return Prepared(ask, len(prompt), tuple(self.engine.prepare_samples(request, ask.n)))

    async def answer(self, asked: Sequence[Prepared]) -> AsyncGenerator[Event, None]:
        """The events of the answers to all asks, side by side, `Usage` last. The choices of an ask share its prompt's pages.

        Leaving early frees all pages after the step under way. Raises what went wrong under way.
        """
        stepping = self.stepping
        readers: dict[int, AnswerReader] = {}
        owed: dict[int, int] = {}  # the asks whose prompt's scores are still to be told, by the number of the first generation
        for place, (ask, _, generations) in enumerate(asked):
            if ask.prompt_logprobs is not None:
                owed[generations[0].id] = place
            for generation in generations:
                readers[generation.id] = self._reader(len(readers), ask.stop, ask.offered_tools, has_form_or_calls=ask.has_form_or_calls)
        for prepared in asked:
            stepping.enter(prepared.generations)
        async with aclosing(stepping.follow_all([each for prepared in asked for each in prepared.generations])) as tokens:
            async for generation, token in tokens:
                reader = readers[generation.id]
                if reader.is_done:
                    continue
                if token is None:
                    _check_end(generation)
                if generation.id in owed:
                    yield self._prompt_scored(owed.pop(generation.id), generation)
                for event in reader.close() if token is None else reader.push(token):
                    yield event
                if reader.is_done and token is not None:
                    stepping.drop(generation)
        yield Usage(
            sum(prepared.prompt_tokens for prepared in asked),
            sum(reader.num_tokens for reader in readers.values()),
            sum(prepared.generations[0].cached_tokens for prepared in asked),
            min((each.started_s for prepared in asked for each in prepared.generations if each.started_s is not None), default=None),
        )

    def _prompt_scored(self, ask: int, leader: Generation) -> PromptScored:
        first, *rest = (int(token_id) for token_id in leader.request.prompt.token_ids)
        scores = [score_of(self.tokenizer, token_id, *each) for token_id, each in zip(rest, leader.prompt_logprobs, strict=True)]
        return PromptScored(ask, (score_of(self.tokenizer, first, None, ()), *scores))

    def _reader(
        self,
        choice: int,
        stops: Sequence[str],
        tools: Sequence[Mapping[str, Any]],
        *,
        has_form_or_calls: bool = False,
        new_id: Callable[[], str] | None = None,
    ) -> AnswerReader:
        names = [tool_definition(tool)["name"] for tool in tools]
        eos_ids = self.config.eos_ids
        return AnswerReader(choice, self.tokenizer, eos_ids, stops=stops, tools=names, has_form_or_calls=has_form_or_calls, new_id=new_id)

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
        """Answer piece by piece. With `tools`, text that may begin a call is held back until it is known not to.

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
        return "".join(chunk.text for chunk in self._answer(*asked, None))

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
        numbers = itertools.count()
        reader = self._reader(0, stops, tools or (), new_id=lambda: f"call_{next(numbers)}")
        prompt_tokens = len(generation.request.prompt)
        for token in self.engine.follow(generation):
            # Also when there is nothing to show yet: whoever listens can stop here.
            yield _chunk(reader.push(token), prompt_tokens, reader.num_tokens)
            if reader.is_done:
                return
        _check_end(generation)
        yield _chunk(reader.close(), prompt_tokens, reader.num_tokens)


def _check_end(generation: Generation) -> None:
    if generation.error is not None:
        raise generation.error
    if generation.finish_reason == "cancelled":
        raise RequestError("the answer was cancelled from elsewhere before its end")


def _chunk(events: Sequence[ChoiceEvent], prompt_tokens: int, completion_tokens: int) -> Chunk:
    """Who is told calls at their end alone is told of a broken one what the model wrote."""
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    text += "".join(event.source for event in events if isinstance(event, CallBroken))
    calls = tuple(event.call for event in events if isinstance(event, CallDone))
    reason: FinishReason | None = next((event.reason for event in events if isinstance(event, Finished)), None)
    return Chunk(text, reason, prompt_tokens, completion_tokens, calls)


def _whole(chunks: list[Chunk]) -> Reply:
    """All chunks of an answer as one reply."""
    last, text = chunks[-1], "".join(chunk.text for chunk in chunks)
    calls = tuple(call for chunk in chunks for call in chunk.tool_calls)
    message = Message("assistant", (Text(text),) if text else (), calls)
    assert last.finish_reason is not None, "the last chunk of a stream always says why it ended"
    return Reply(message, last.finish_reason, last.prompt_tokens, last.completion_tokens)
