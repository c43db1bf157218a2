"""Completions of plain prompts to asks and back: text or token ids, one or many, with the prompt's own scores for those who evaluate.

A prompt given as text is read behind the id that begins every text; ids are read as they stand.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from puna import pipeline
from puna.pipeline import Answer, Ask, Event, Finished, PromptScored, Scored, TextDelta
from puna.serve.core import Core
from puna.serve.errors import ApiError, ErrorResponse
from puna.serve.exchange import PING
from puna.serve.openai.answers import Stamp, best_of, finite, shown, usage_of
from puna.serve.openai.options import parsed, refuse_lonely_stream_options, refuse_unsupported, sampling_of
from puna.serve.openai.wire import (
    COMPLETION_ONLY,
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionChunkChoice,
    CompletionLogprobs,
    CompletionRequest,
)
from puna.serve.sse import DONE, frame
from puna.tokens.bpe import Tokenizer

# Tokens of an answer when the client names no number. [stated: OpenAI's API]
_DEFAULT_TOKENS = 16


def read_completion(core: Core, body: bytes, model: str | None = None) -> "CompletionExchange":
    """Parses and checks a body. `model`: named by the address, where the address names one."""
    request = parsed(CompletionRequest, body)
    core.check_model(request.model)
    core.check_model(model)
    refuse_unsupported(request, COMPLETION_ONLY)
    refuse_lonely_stream_options(request.stream, request.stream_options)
    max_tokens = _DEFAULT_TOKENS if request.max_tokens is None else request.max_tokens
    if max_tokens == 0 and not request.echo:
        raise ApiError(400, "max_tokens=0 asks for nothing; send at least 1, or echo=true", code="invalid_value", param="max_tokens")
    prompts = _prompts(request.prompt, core)
    options = sampling_of(request)
    asks = [
        Ask(
            prompt_ids=tuple(ids),
            max_tokens=max(1, max_tokens),
            logprobs=request.logprobs,
            prompt_logprobs=request.logprobs if request.echo else None,
            **options,
        )
        for _, ids in prompts
    ]
    return CompletionExchange(
        asks,
        core.pipeline.name,
        core.pipeline.tokenizer,
        stream=bool(request.stream),
        include_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
        echoed=[text for text, _ in prompts] if request.echo else None,
        is_silent=max_tokens == 0,
    )


def _prompts(prompt: str | list[str] | list[int] | list[list[int]], core: Core) -> list[tuple[str, list[int]]]:
    """Text and ids of each prompt."""
    tokenizer, config = core.pipeline.tokenizer, core.pipeline.config
    is_one = isinstance(prompt, str) or isinstance(prompt[0], int)
    read: list[tuple[str, list[int]]] = []
    for place, each in enumerate([prompt] if is_one else prompt):
        if isinstance(each, str):
            read.append((each, [config.bos_id, *tokenizer.encode(each)]))
        else:
            ids = cast("list[int]", each)  # the wire type admits texts and lists of ids
            check_ids(ids, core, "prompt" if is_one else f"prompt[{place}]")
            read.append((tokenizer.decode(token_id for token_id in ids if token_id < tokenizer.vocab_size), ids))
    return read


def check_ids(ids: Sequence[int], core: Core, param: str) -> None:
    vocabulary = core.pipeline.config.vocab_size
    wrong = next((token_id for token_id in ids if not 0 <= token_id < vocabulary), None)
    if wrong is not None:
        message = f"{param} holds token id {wrong}; {core.pipeline.name} knows ids 0 to {vocabulary - 1}"
        raise ApiError(400, message, code="invalid_value", param=param)


class CompletionExchange:
    """One completion of one or several prompts. `echoed`: the prompts' texts, which their answers begin with. `is_silent`: nothing of
    what was generated is told (somebody asked for 0 tokens, and the engine makes at least one).
    """

    ping = PING

    def __init__(
        self,
        asks: Sequence[Ask],
        model: str,
        tokenizer: Tokenizer,
        *,
        stream: bool,
        include_usage: bool,
        echoed: Sequence[str] | None,
        is_silent: bool,
    ) -> None:
        self.asks, self.stream = asks, stream
        self._tokenizer, self._include_usage, self._echoed, self._is_silent = tokenizer, include_usage, echoed, is_silent
        self._stamp = Stamp.new("cmpl", model)
        self._per_ask = asks[0].n
        self._is_scored = asks[0].logprobs is not None
        self._unfinished = set(range(len(asks) * self._per_ask))
        self._said = dict.fromkeys(self._unfinished, 0)  # characters so far
        self._usage: pipeline.Usage | None = None

    def whole(self, answer: Answer) -> Completion:
        choices = []
        for index, choice in enumerate(answer.choices):
            reason = choice.reason
            assert choice.finished is not None
            ask = index // self._per_ask
            text, scores = ("", []) if self._is_silent else (choice.text, [*choice.scores, *choice.finished.scores])
            if self._echoed is not None:
                text = self._echoed[ask] + text
                scores = [*answer.prompt_scores.get(ask, ()), *scores]
            logprobs = self._logprobs(scores, 0)
            choices.append(
                CompletionChoice(index=index, text=text, logprobs=logprobs, finish_reason="length" if self._is_silent else reason)
            )
        stamp = self._stamp
        return Completion(id=stamp.id, created=stamp.created, model=stamp.model, choices=choices, usage=usage_of(self._told(answer.usage)))

    def opening(self, prompt_tokens: int) -> Iterator[bytes]:
        if self._echoed is not None and not self._is_scored:
            for place in range(len(self.asks)):
                yield from self._echo(place, ())

    def frames(self, event: Event) -> Iterator[bytes]:
        match event:
            case PromptScored(ask, scores):
                yield from self._echo(ask, scores)
            case TextDelta(choice, text, _, scores):
                if not self._is_silent:
                    yield self._piece(choice, text, scores)
            case Finished(choice, reason, _, _, scores):
                self._unfinished.discard(choice)
                yield self._piece(choice, "", () if self._is_silent else scores, "length" if self._is_silent else reason)
            case pipeline.Usage():
                self._usage = event
            case _:
                raise AssertionError(f"a plain prompt offers no tools, but its answer has {event}")

    def closing(self) -> Iterator[bytes]:
        assert not self._unfinished and self._usage is not None, "an answer ends with a reason for each choice, and its usage"
        if self._include_usage:
            yield self._chunk(usage=self._told(self._usage))
        yield DONE

    def failing(self, error: ApiError) -> Iterable[bytes]:
        return frame(ErrorResponse(error=error.body)), DONE

    def _echo(self, ask: int, scores: Sequence[Scored]) -> Iterator[bytes]:
        assert self._echoed is not None
        for choice in range(ask * self._per_ask, (ask + 1) * self._per_ask):
            yield self._piece(choice, self._echoed[ask], scores)

    def _piece(self, choice: int, text: str, scores: Sequence[Scored], reason: pipeline.FinishReason | None = None) -> bytes:
        logprobs = self._logprobs(scores, self._said[choice])
        self._said[choice] += len(text)
        return self._chunk(CompletionChunkChoice(index=choice, text=text, logprobs=logprobs, finish_reason=reason))  # pyright: ignore[reportArgumentType]

    def _chunk(self, *choices: CompletionChunkChoice, usage: pipeline.Usage | None = None) -> bytes:
        stamp, told = self._stamp, None if usage is None else usage_of(usage)
        chunk = CompletionChunk(id=stamp.id, created=stamp.created, model=stamp.model, choices=list(choices), usage=told)
        return frame(chunk.model_dump_json(exclude=None if self._include_usage else {"usage"}))

    def _told(self, usage: pipeline.Usage) -> pipeline.Usage:
        return pipeline.Usage(usage.prompt_tokens, 0, usage.cached_tokens) if self._is_silent else usage

    def _logprobs(self, scores: Sequence[Scored], start: int) -> CompletionLogprobs | None:
        """`start`: the place in the choice's text where the first of these tokens stands."""
        if not self._is_scored:
            return None
        offsets, at = [], start
        for score in scores:
            offsets.append(at)
            if score.id < self._tokenizer.special.base:
                at += len(score.data.decode(errors="replace"))
        return CompletionLogprobs(
            tokens=[shown(score.data) for score in scores],
            token_logprobs=[None if score.logprob is None else finite(score.logprob) for score in scores],
            top_logprobs=[None if score.logprob is None else best_of(score) for score in scores],
            text_offset=offsets,
        )
