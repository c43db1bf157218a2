"""Answers of a given form: a JSON schema, a regular expression, one of several texts, or rules, held to by masking logits.

`GrammarCompiler` turns a `Grammar` into a `Constraint`, one request's place in it; llguidance does the parsing. Whoever builds the compiler
tells it the bytes of every token, so that the engine itself goes on knowing ids only.

JSON is compact: no space or newline outside strings. A grammar that admits any amount of it lets a model that has lost its way write
spaces until its tokens run out (vllm-project/vllm#42110).

A grammar may come from anyone, so its size, its depth and the parser's work per token are bounded. Compiling still takes up to about a
second for the largest: do it where a request comes in, not where the batch waits. No reference leaves the schema: nothing is fetched.

Letters: V vocabulary.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from torch import Tensor

_MOST_BYTES = 64 << 10
_MOST_DEPTH = 100  # the parser below gives up at 128, some of which are its own
_MOST_CACHED = 64
# llguidance's defaults, stated because they are what stops a hostile grammar, but for fewer lexer states (1 to 2 kB each, and a request).
# Not verbose: its errors would otherwise quote the answer so far.
_LIMITS = LLParserLimits(
    max_items_in_row=2000,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=500_000,
    verbose_errors=False,
)

Kind = Literal["json_schema", "regex", "choice", "lark"]
_NAMES: dict[Kind, str] = {
    "json_schema": "the JSON schema",
    "regex": "the regular expression",
    "choice": "the choice",
    "lark": "the grammar",
}


class GrammarError(ValueError):
    """A grammar that cannot be read or cannot be met. Names the grammar, and says what the parser says."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The form of an answer. Made by `json_schema`, `regex`, `choice` or `lark`; equal ones are compiled once.

    source: the schema as JSON, the expression, the JSON list of texts, or the rules.
    Raises `GrammarError` if it is no JSON, too large, too deep or empty; whether it can be met is known when it is compiled.
    """

    kind: Kind
    source: str

    def __post_init__(self) -> None:
        if self.kind not in _NAMES:
            raise GrammarError(f"a grammar's kind is {self.kind!r}; it must be one of {', '.join(_NAMES)}")
        try:
            size = len(self.source.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise GrammarError(f"{_NAMES[self.kind]} holds half a surrogate pair, which is no character; remove it") from error
        if size > _MOST_BYTES:
            raise GrammarError(f"{self} has {size} bytes; at most {_MOST_BYTES} are read; make it smaller")

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str) -> Self:
        """JSON that satisfies the schema, keys in the order of its properties. `{}` allows any JSON."""
        what = "the JSON schema"
        read = _read_json(schema, what) if isinstance(schema, str) else schema
        if not isinstance(read, Mapping):
            raise GrammarError(f"{what} is {_clipped(repr(read))}; it must be an object, such as {{}} for any JSON")
        if "x-guidance" in read:
            # llguidance's own key: it could switch endless whitespace on, or let what is not understood pass in silence.
            raise GrammarError(f"{what} holds 'x-guidance', options that only the engine sets; leave it out")
        _check_depth(read, what)
        try:
            return cls("json_schema", json.dumps(dict(read), ensure_ascii=False, allow_nan=False))
        except (TypeError, ValueError) as error:
            if isinstance(error, GrammarError):
                raise
            raise GrammarError(f"{what} cannot be written as JSON: {error}") from error

    @classmethod
    def regex(cls, pattern: str) -> Self:
        """A text that the whole expression matches, in Rust's syntax: no look-around, no back references; `\\d` is any script's digit."""
        if not isinstance(pattern, str):
            raise GrammarError(f"the regular expression is {_clipped(repr(pattern))}; it must be a text")
        return cls("regex", pattern)

    @classmethod
    def choice(cls, texts: Sequence[str]) -> Self:
        """One of the texts, exactly."""
        if isinstance(texts, str) or not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise GrammarError(f"the choice is {_clipped(repr(texts))}; it must be a list of texts")
        if not texts:
            raise GrammarError("the choice names no text, so no answer can be one of them; give at least one")
        return cls("choice", json.dumps(list(texts), ensure_ascii=False))

    @classmethod
    def lark(cls, rules: str) -> Self:
        """A text that the rules derive, in llguidance's Lark. For rules of ours, such as `puna.tokens.call_grammar` writes."""
        return cls("lark", rules)

    def __str__(self) -> str:
        return f"{_NAMES[self.kind]} {_clipped(self.source)}"


class Constraint:
    """One request's place in its grammar. Made by `GrammarCompiler.compile`; belongs to one request and one thread at a time."""

    def __init__(self, grammar: Grammar, matcher: LLMatcher, vocab_size: int) -> None:
        self._grammar = grammar
        self._matcher = matcher
        self._vocab_size = vocab_size

    def mask_(self, logits_V: Tensor) -> None:
        """Set the logits of all ids that may not come next to minus infinity, in place; fp32 [V] on the CPU.

        Ids beyond those that the compiler knows are forbidden. Raises `GrammarError` if the parser has given up.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()  # now: after an error llguidance's mask asks for the end of the text
        known = min(self._vocab_size, len(logits_V))
        allowed = torch.from_numpy(np.unpackbits(bits, count=known, bitorder="little"))
        logits_V[:known].masked_fill_(allowed == 0, -torch.inf)
        logits_V[known:] = -torch.inf

    def accept(self, token: int) -> None:
        """Move on by one token, which may be an end-of-text id where the grammar can end. `GrammarError` if it may not come next."""
        if token >= self._vocab_size or not self._matcher.consume_token(token):
            raise GrammarError(f"token {token} may not come next under {self._grammar}{_said(self._matcher)}")

    @property
    def finished(self) -> bool:
        """Whether the answer is whole and nothing can be added to it: only an end-of-text id may follow, or one has come."""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarError(f"{self._grammar} cannot be followed any further{_said(self._matcher)}")


class GrammarCompiler:
    """Grammars over one vocabulary. May be shared by threads.

    token_bytes: what each id stands for; b"" for ids that stand for no text, which no grammar lets through.
    special_ids: ids that are never text, whatever their bytes. eos_ids: any of them may end an answer where the grammar can end.
    encode: a plain text's ids. Takes about a third of a second for 200,000 ids.
    """

    def __init__(
        self,
        token_bytes: Sequence[bytes],
        special_ids: Collection[int],
        eos_ids: Sequence[int],
        encode: Callable[[str], list[int]],
    ) -> None:
        outside = [token for token in eos_ids if not 0 <= token < len(token_bytes)]
        if not eos_ids or outside:
            what = f"eos_ids names {outside[0]}, outside the {len(token_bytes)} ids of token_bytes" if outside else "eos_ids is empty"
            raise GrammarError(f"{what}; an answer under a grammar could not end")
        self._vocab_size = len(token_bytes)
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Vocabulary(token_bytes, special_ids, eos_ids, encode)), eos_token=list(eos_ids))
        self._compiled: OrderedDict[Grammar, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, grammar: Grammar) -> Constraint:
        """A new place at the grammar's beginning. `GrammarError` if it cannot be read, uses what is unknown, or admits no answer."""
        with self._lock:
            if grammar in self._compiled:
                self._compiled.move_to_end(grammar)
                return Constraint(grammar, self._compiled[grammar].deep_copy(), self._vocab_size)
        matcher = self._read(grammar)  # outside the lock: a slow grammar holds nobody up, and two of the same are rare
        with self._lock:
            self._compiled[grammar] = matcher
            if len(self._compiled) > _MOST_CACHED:
                self._compiled.popitem(last=False)
            return Constraint(grammar, matcher.deep_copy(), self._vocab_size)

    def _read(self, grammar: Grammar) -> LLMatcher:
        try:
            matcher = LLMatcher(self._tokenizer, _parsers_form(grammar), log_level=0, limits=_LIMITS)
        except ValueError as error:
            raise GrammarError(f"{grammar} cannot be read: {error}") from error
        if matcher.is_error():
            raise GrammarError(f"{grammar} cannot be used{_said(matcher)}")
        matcher.compute_bitmask()  # an empty language shows in its first mask
        if matcher.is_error():
            raise GrammarError(f"{grammar} admits no answer at all{_said(matcher)}")
        return matcher


class _Vocabulary:
    """What `TokenizerWrapper` reads."""

    def __init__(
        self, token_bytes: Sequence[bytes], special_ids: Collection[int], eos_ids: Sequence[int], encode: Callable[[str], list[int]]
    ) -> None:
        special = {*special_ids, *eos_ids}
        self.eos_token_id = eos_ids[0]
        self.bos_token_id = None
        self.tokens = [b"" if token in special else text for token, text in enumerate(token_bytes)]
        self.special_token_ids = sorted(special)
        self._encode = encode

    def __call__(self, text: bytes) -> list[int]:
        return self._encode(text.decode("utf-8", "replace"))


def _parsers_form(grammar: Grammar) -> str:
    if grammar.kind == "json_schema":
        return LLMatcher.grammar_from_json_schema(grammar.source, overrides={"whitespace_flexible": False})
    if grammar.kind == "regex":
        return LLMatcher.grammar_from_regex(grammar.source)
    if grammar.kind == "lark":
        return LLMatcher.grammar_from_lark(grammar.source)
    texts: list[str] = json.loads(grammar.source)
    return LLMatcher.grammar_from_regex("|".join(re.sub(r"[\\.+*?()|\[\]{}^$#&\-~]", r"\\\g<0>", text) for text in texts))


def _read_json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise GrammarError(f"{what} is nested too deep; at most {_MOST_DEPTH} levels are read") from error
    except ValueError as error:
        raise GrammarError(f"{what} {_clipped(repr(text))} is no JSON: {error}") from error


def _check_depth(schema: Any, what: str) -> None:
    """Not by recursion: the very thing is to find out whether that would go too deep, or never end."""
    level, depth = [schema], 0
    while level:
        depth += 1
        if depth > _MOST_DEPTH:
            raise GrammarError(f"{what} is nested more than {_MOST_DEPTH} levels deep; name its parts under $defs and refer to them")
        inner = (node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else () for node in level)
        level = [node for nodes in inner for node in nodes if isinstance(node, Mapping | list | tuple)]


def _said(matcher: LLMatcher) -> str:
    """The parser's own words, on one line, as the end of a message."""
    words = " ".join(matcher.get_error().replace("<non-verbose/>", "").split())
    return f": {_clipped(words, 300)}" if words else ""


def _clipped(text: str, most: int = 80) -> str:
    text = text.replace("\n", "\\n")  # a message is one line
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
