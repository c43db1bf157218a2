"""A request in no API's words, and the events of its answer: plain data between whoever speaks HTTP and whoever has the model.

One `Ask` is one prompt with `n` answers, its choices. Several asks may be answered as one: choices are numbered through all of them, so
that the second of two asks with n=3 has choices 3 to 5. Events of choices come mixed; of one choice they come in order: text, calls, and
`Finished`. `Usage` is the last of all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from puna.engine import Grammar, Sampling
from puna.stream import Message, ToolCall

# "content_filter" comes from a guard, never from the pipeline.
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class NamedTool:
    """The answer must call this tool."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool

# The fields of `Ask` that go to `puna.engine.Sampling` as they are; None leaves each to its default there.
SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "seed",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A prompt and how to answer it.

    Either `messages`, written in the chat format, or `prompt_ids`, read as they stand. `tools` are JSON definitions, OpenAI's wrapping
    allowed; with the choice "none" the model never hears of them. `max_tokens` None: what the context and the server's own limit leave;
    more than the context has room for is a mistake, or, with `shortens_to_fit`, taken for what it has. `stop`: texts that end the
    answer and are not part of it. `grammar`: the form that the answer must have, unless it is tool calls: with tools on offer it is the one
    or the other, and where a call must come the form says nothing. `logprobs`: score every token, with so many alternatives (0 to 20);
    `prompt_logprobs`: the same for the prompt. `priority`: smaller goes first.
    """

    messages: tuple[Message, ...] = ()
    prompt_ids: tuple[int, ...] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    n: int = 1
    max_tokens: int | None = None
    shortens_to_fit: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    grammar: Grammar | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    priority: int = 0

    @property
    def offered_tools(self) -> tuple[Mapping[str, Any], ...]:
        return () if self.tool_choice == "none" else self.tools

    @property
    def must_call(self) -> bool:
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)

    @property
    def has_form_or_calls(self) -> bool:
        """The answer is either of the form that `grammar` says, or nothing but calls."""
        return self.grammar is not None and bool(self.offered_tools) and not self.must_call

    def sampling(self, max_tokens: int) -> Sampling:
        """Raises `puna.engine.SamplingError` for a value outside its range."""
        given = {name: value for name in SAMPLING if (value := getattr(self, name)) is not None}
        return Sampling(max_tokens=max_tokens, logprobs=self.logprobs, **given)


# --- The answer ----------------------------------------------------------------------------------------------------------


class Scored(NamedTuple):
    """A token as the model weighed it, before any sampling option: natural logarithms. `data`: its bytes, which may be half a character.

    `top`: id, bytes and log-probability of the likeliest, best first. The first token of a prompt has neither.
    """

    id: int
    data: bytes
    logprob: float | None
    top: tuple[tuple[int, bytes, float], ...]


@dataclass(frozen=True, slots=True)
class PromptScored:
    """The tokens of an ask's prompt, before anything of its answers. `ask`: which one it is, counted from 0."""

    ask: int
    scores: tuple[Scored, ...]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of text. `scores`, if asked for, are those of the tokens that end in it; the text may be empty.

    `tokens`: how many its choice has had so far.
    """

    choice: int
    text: str
    tokens: int
    scores: tuple[Scored, ...] = ()


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A tool call has begun, the `index`th of its choice."""

    choice: int
    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """More of a call's arguments: all pieces joined are their JSON, unless the answer was cut short."""

    choice: int
    index: int
    json: str


@dataclass(frozen=True, slots=True)
class CallDone:
    """A call is whole."""

    choice: int
    index: int
    call: ToolCall


@dataclass(frozen=True, slots=True)
class CallBroken:
    """A call that has begun never ends: the answer was cut short, or went wrong. `source`: what the model wrote."""

    choice: int
    index: int
    source: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A choice is whole. `stop`: the stop string that ended it. `scores`: of tokens that show as no text, such as the closing one.

    "tool_calls" is the reason where it made whole calls. `failures`: how often what looked like a call could not be read as one.
    """

    choice: int
    reason: FinishReason
    completion_tokens: int
    stop: str | None = None
    scores: tuple[Scored, ...] = ()
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model saw them, of all choices. `cached_tokens` of the prompt needed no computing.

    `started_s`: when the first step of any of them began, by `time.perf_counter`.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    started_s: float | None = None


ChoiceEvent = TextDelta | CallBegun | CallPiece | CallDone | CallBroken | Finished
Event = PromptScored | ChoiceEvent | Usage


@dataclass(slots=True)
class SaidCall:
    """A call as it was told. `json`: its arguments, cut if `call` is None: such a call never ended. `source`: what the model wrote."""

    id: str
    name: str
    json: str = ""
    call: ToolCall | None = None
    source: str = ""


@dataclass(slots=True)
class ChoiceAnswer:
    """All that one choice said."""

    text: str = ""
    calls: list[SaidCall] = field(default_factory=list)
    scores: list[Scored] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def reason(self) -> FinishReason:
        assert self.finished is not None, "the last event of a choice says why it ended"
        return self.finished.reason

    def add(self, event: ChoiceEvent) -> None:
        match event:
            case TextDelta():
                self.text += event.text
                self.scores += event.scores
            case CallBegun():
                self.calls.append(SaidCall(event.id, event.name))
            case CallPiece():
                self.calls[event.index].json += event.json
            case CallDone():
                self.calls[event.index].call = event.call
            case CallBroken():
                self.calls[event.index].source = event.source  # its arguments stay cut
            case Finished():
                self.finished = event


@dataclass(slots=True)
class Answer:
    """A whole answer, gathered from its events."""

    choices: list[ChoiceAnswer]
    prompt_scores: dict[int, tuple[Scored, ...]] = field(default_factory=dict)
    usage: Usage = Usage(0, 0)

    @classmethod
    def of(cls, events: Iterable[Event], count: int = 1) -> "Answer":
        answer = cls([ChoiceAnswer() for _ in range(count)])
        for event in events:
            answer.add(event)
        return answer

    def add(self, event: Event) -> None:
        if isinstance(event, PromptScored):
            self.prompt_scores[event.ask] = event.scores
        elif isinstance(event, Usage):
            self.usage = event
        else:
            self.choices[event.choice].add(event)
