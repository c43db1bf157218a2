"""Answers held to a form: whatever the logits say, what comes out has it."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from puna.engine import Chosen, Constraint, Grammar, GrammarCompiler, GrammarError, Sampler, Sampling, SamplingError, choose_many
from puna.engine import grammar as grammar_module
from puna.pipeline import shipped_models
from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.bpe import Tokenizer

PADDED = 40  # ids that a model has beyond its tokenizer's


def compiler_of(tokenizer: Tokenizer) -> GrammarCompiler:
    special = range(tokenizer.special.base, tokenizer.vocab_size)
    token_bytes = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)] + [b""] * PADDED
    return GrammarCompiler(token_bytes, special, eos_of(tokenizer), tokenizer.encode)


def eos_of(tokenizer: Tokenizer) -> list[int]:
    return [tokenizer.special.eot, tokenizer.special.end_of_text, tokenizer.special.eom]


BYTES = byte_tokenizer()
COMPILER = compiler_of(BYTES)


@pytest.fixture(scope="module")
def nano() -> Tokenizer:
    return Tokenizer.from_hf(shipped_models()["scout-nano"])


def allowed(constraint: Constraint, size: int = BYTES.vocab_size + PADDED) -> list[int]:
    logits = torch.zeros(size)
    constraint.mask_(logits)
    assert set(logits.tolist()) <= {0.0, -np.inf}
    return (logits == 0).nonzero()[:, 0].tolist()


def fed(grammar: Grammar, text: str) -> Constraint:
    constraint = COMPILER.compile(grammar)
    for byte in text.encode():
        constraint.accept(byte)
    return constraint


def accepts(grammar: Grammar, text: str) -> bool:
    """Whether the whole text is an answer."""
    try:
        constraint = fed(grammar, text)
    except GrammarError:
        return False
    return BYTES.special.eot in allowed(constraint)


def answer(
    tokenizer: Tokenizer,
    compiler: GrammarCompiler,
    grammar: Grammar,
    seed: int,
    most: int,
    lean: Callable[[int], float] | None = None,
    **options: Any,
) -> str:
    """What random logits write under the grammar; it must end, by itself, within `most` tokens, and never be without a choice."""
    eos, size = eos_of(tokenizer), tokenizer.vocab_size + PADDED
    constraint = compiler.compile(grammar)
    sampler = Sampler(Sampling(**(dict(temperature=1.0, seed=seed) | options)), np.zeros(0, np.int64), size, constraint=constraint)
    rng, ids = np.random.default_rng(seed), []
    bias = np.array([lean(token) if lean else 0.0 for token in range(size)], dtype=np.float32)
    for _ in range(most):
        logits = torch.from_numpy(2 * rng.normal(size=size).astype(np.float32) + bias)
        token = sampler.choose(logits).token
        if sampler.finished:
            assert token in eos
        sampler.accept(token)
        if token in eos:
            assert sampler.finished
            return tokenizer.decode_bytes(ids).decode("utf-8")  # strictly: an answer never ends inside a character
        ids.append(token)
    pytest.fail(f"no end within {most} tokens: {tokenizer.decode(ids)!r}")


def closing(tokenizer: Tokenizer) -> Callable[[int], float]:
    """Random logits alone would go on with a string for ever: make what closes things likelier, as a model does."""
    return lambda token: 6.0 * (token in eos_of(tokenizer) or token < tokenizer.special.base and tokenizer.token_bytes(token) in b'"]},')


def is_person(value: Any) -> None:
    assert set(value) == {"name", "age", "tags"} and list(value) == ["name", "age", "tags"]
    assert isinstance(value["name"], str) and 1 <= len(value["name"]) <= 12
    assert isinstance(value["age"], int) and 0 <= value["age"] <= 150
    assert len(value["tags"]) <= 3 and all(tag in ("é", "日本", 'a"b\\') for tag in value["tags"])


def is_tree(value: Any) -> None:
    assert set(value) <= {"value", "left"} and isinstance(value["value"], bool)
    if "left" in value:
        is_tree(value["left"])


def is_union(value: Any) -> None:
    assert value is None or isinstance(value, int) or value in ("ja", "nein") or value == {"k": [1, None]}


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["é", "日本", 'a"b\\']}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"value": {"type": "boolean"}, "left": {"$ref": "#/$defs/node"}},
            "required": ["value"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
UNION = {"anyOf": [{"type": "null"}, {"type": "integer"}, {"enum": ["ja", "nein"]}, {"const": {"k": [1, None]}}]}
SCHEMAS = [(PERSON, is_person), (TREE, is_tree), (UNION, is_union), ({}, lambda value: None)]


@pytest.mark.parametrize(("schema", "check"), SCHEMAS)
def test_random_logits_write_json_of_the_schema_in_bytes(schema: dict[str, Any], check: Callable[[Any], None]) -> None:
    for seed in range(25):
        text = answer(BYTES, COMPILER, Grammar.json_schema(schema), seed, 600, closing(BYTES))
        check(json.loads(text))


def test_random_logits_write_json_of_the_schema_in_the_shipped_models_tokens(nano: Tokenizer) -> None:
    compiler = compiler_of(nano)
    for schema, check in SCHEMAS:
        for seed in range(8):
            check(json.loads(answer(nano, compiler, Grammar.json_schema(schema), seed, 300, closing(nano))))


@pytest.mark.parametrize("options", [dict(temperature=0.0), dict(temperature=2.0), dict(top_k=3), dict(top_p=0.5), dict(min_p=0.3)])
def test_other_options_choose_among_what_the_grammar_allows(options: dict[str, Any]) -> None:
    """The grammar comes first: top_k of what it allows, not what it allows of the top_k."""
    for seed in range(5):
        is_person(json.loads(answer(BYTES, COMPILER, Grammar.json_schema(PERSON), seed, 600, closing(BYTES), **options)))


def test_penalties_and_biases_do_not_break_the_grammar() -> None:
    options = dict(repetition_penalty=2.0, presence_penalty=2.0, frequency_penalty=2.0, logit_bias={ord(" "): 100, ord("{"): -100})
    for seed in range(5):
        is_person(json.loads(answer(BYTES, COMPILER, Grammar.json_schema(PERSON), seed, 600, closing(BYTES), **options)))


@pytest.mark.parametrize(
    "pattern", [r"[a-c]{2,5}", r"(\d{3}-)?\d{4}", r"^(red|green)( (red|green)){0,2}$", r"[à-ü]{1,4}!", r"a/b\n?", r"[^/ -y]{3}"]
)
def test_the_whole_answer_matches_the_expression(pattern: str) -> None:
    answers = {answer(BYTES, COMPILER, Grammar.regex(pattern), seed, 60) for seed in range(20)}
    assert all(re.fullmatch(pattern, text) for text in answers)
    assert len(answers) > 1


def test_an_expression_is_met_by_its_texts_and_no_others() -> None:
    for pattern, yes, no in [
        ("a|bc", ["a", "bc"], ["ab", "", "b", "abc"]),
        ("x*", ["", "xxx"], ["y", "xy"]),
        ("/ | /x", ["/ ", " /x"], ["/", "/x"]),
        ("a\nb", ["a\nb"], ["ab"]),
        (".", ["日", "/"], ["\n", "ab"]),
    ]:
        assert [text for text in yes + no if accepts(Grammar.regex(pattern), text)] == yes


def test_a_choice_is_one_of_its_texts_exactly() -> None:
    texts = ["yes", "yes, but", "no", "", "a.b", "(x|y)*", "back\\slash/", 'quo"te', "new\nline", "日本 é", "<|eot|>", "a-z&&~#^$ {2}[b]+?"]
    for text in texts:
        assert accepts(Grammar.choice(texts), text), text
    for text in ["ye", "yes, ", "axb", "x", "yesno", "new line", " ", "back\\slash", "é"]:
        assert not accepts(Grammar.choice(texts), text), text
    assert {answer(BYTES, COMPILER, Grammar.choice(texts[:5]), seed, 20) for seed in range(200)} == set(texts[:5])


def test_a_text_that_looks_like_a_special_token_is_written_as_text() -> None:
    constraint = fed(Grammar.choice(["<|eot|>"]), "<|eot|")
    assert allowed(constraint) == [ord(">")]
    assert not set(allowed(COMPILER.compile(Grammar.regex("(?s).{5}")))) & set(range(256, 256 + 128 + PADDED))


@pytest.mark.parametrize("grammar", [Grammar.regex("ab*"), Grammar.json_schema({"type": "integer"}), Grammar.choice(["1", "12"])], ids=str)
def test_every_end_token_may_end_an_answer_where_it_can_end_and_nowhere_else(grammar: Grammar) -> None:
    start = "a" if grammar.kind == "regex" else "1"
    assert not set(eos_of(BYTES)) & set(allowed(COMPILER.compile(grammar)))
    assert set(eos_of(BYTES)) < set(allowed(fed(grammar, start)))
    for eos in eos_of(BYTES):
        constraint = fed(grammar, start)
        assert not constraint.finished
        constraint.accept(eos)
        assert constraint.finished
        assert sorted(allowed(constraint)) == sorted(eos_of(BYTES))
        with pytest.raises(GrammarError, match="may not come next"):
            COMPILER.compile(grammar).accept(eos)


def test_an_answer_that_can_only_end_is_finished_before_its_end_token() -> None:
    for grammar, text in [
        (Grammar.choice(["on", "off"]), "on"),
        (Grammar.regex("a{3}"), "aaa"),
        (Grammar.json_schema(PERSON), PERSON_TEXT),
    ]:
        assert not fed(grammar, text[:-1]).finished
        constraint = fed(grammar, text)
        assert constraint.finished
        assert sorted(allowed(constraint)) == sorted(eos_of(BYTES))
        with pytest.raises(GrammarError):
            constraint.accept(ord("x"))
        assert not constraint.finished  # an answer that broke its grammar is not a whole one


PERSON_TEXT = '{"name":"é","age":7,"tags":["é","日本"]}'


@pytest.mark.parametrize("schema", [PERSON, {}, {"type": "array", "items": {"type": "array"}}, {"type": "object"}])
def test_json_has_no_space_outside_strings(schema: dict[str, Any]) -> None:
    """Where spaces may go on for ever, a model that has lost its way writes them until its tokens run out."""
    text, spaces = (
        PERSON_TEXT if schema in (PERSON, {}) else '[[1,{"a":[2]}]]' if schema.get("type") == "array" else '{"a":{"b":[1]}}',
        set(b" \t\n\r"),
    )
    constraint, inside = COMPILER.compile(Grammar.json_schema(schema)), False
    for byte in text.encode():
        assert inside or not spaces & set(allowed(constraint))
        constraint.accept(byte)
        inside ^= byte == ord('"')
    assert not spaces & set(allowed(constraint))


def test_two_answers_under_one_grammar_owe_each_other_nothing() -> None:
    one, two = COMPILER.compile(Grammar.regex("ab|cd")), COMPILER.compile(Grammar.regex("ab|cd"))
    one.accept(ord("a"))
    assert allowed(two) == [ord("a"), ord("c")]
    two.accept(ord("c"))
    assert (allowed(one), allowed(two)) == ([ord("b")], [ord("d")])
    with pytest.raises(GrammarError):
        one.accept(ord("x"))
    two.accept(ord("d"))
    assert two.finished and allowed(COMPILER.compile(Grammar.regex("ab|cd"))) == [ord("a"), ord("c")]


def test_equal_grammars_are_compiled_once_and_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, read = compiler_of(BYTES), []
    plain = GrammarCompiler._read
    monkeypatch.setattr(GrammarCompiler, "_read", lambda self, grammar: read.append(grammar.source) or plain(self, grammar))
    monkeypatch.setattr(grammar_module, "_MOST_CACHED", 2)
    for pattern in "ababcab":  # c pushes a out, a pushes b out, b pushes c out
        compiler.compile(Grammar.regex(pattern))
    assert read == ["a", "b", "c", "a", "b"]
    assert Grammar.json_schema('{"type":  "null"}') == Grammar.json_schema({"type": "null"}) != Grammar.json_schema({})
    assert Grammar.regex("a") != Grammar.choice(["a"])


def test_logits_of_another_width_are_masked_whole() -> None:
    """A model may have more ids than the compiler was told of; those are never text."""
    for size in (BYTES.vocab_size, 1000):
        assert allowed(COMPILER.compile(Grammar.regex("[ab]")), size) == [97, 98]


def test_masking_is_independent_of_how_often_it_is_asked() -> None:
    constraint = fed(Grammar.json_schema(PERSON), '{"na')
    assert allowed(constraint) == allowed(constraint) == [ord("m")]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Grammar.json_schema("{nope"), "the JSON schema '{nope' is no JSON"),
        (lambda: Grammar.json_schema("[1]"), r"the JSON schema is \[1\]; it must be an object"),
        (lambda: Grammar.json_schema("true"), "must be an object"),
        (lambda: Grammar.json_schema({"const": float("nan")}), "cannot be written as JSON"),
        (lambda: Grammar.json_schema({"const": object()}), "cannot be written as JSON"),
        (lambda: Grammar.json_schema({"x-guidance": {"whitespace_pattern": " *"}}), "x-guidance"),
        (lambda: Grammar.json_schema({"title": "\ud800"}), "surrogate"),
        (lambda: Grammar.json_schema('{"items":' * 5000 + "{}" + "}" * 5000), "too deep|levels deep"),
        (lambda: Grammar.json_schema('{"items":' * 101 + "{}" + "}" * 101), "more than 100 levels deep"),
        (lambda: Grammar.json_schema({"description": "x" * 70_000}), r"has \d+ bytes; at most 65536 are read"),
        (lambda: Grammar.regex("x" * 70_000), "the regular expression x+.* has 70000 bytes"),
        (lambda: Grammar.regex(3), "must be a text"),  # type: ignore[arg-type]
        (lambda: Grammar.choice([]), "no text"),
        (lambda: Grammar.choice("yes"), "must be a list of texts"),
        (lambda: Grammar.choice(["yes", 3]), "must be a list of texts"),  # type: ignore[list-item]
        (lambda: Grammar.choice(["\udc00"]), "surrogate"),
        (lambda: Grammar("ebnf", "x"), "kind is 'ebnf'"),  # type: ignore[arg-type]
    ],
)
def test_grammars_that_are_none_are_refused_when_made(make: Callable[[], Grammar], words: str) -> None:
    with pytest.raises(GrammarError, match=words) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    str(caught.value).encode()  # it can be sent to whoever asked
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_a_schema_that_holds_itself_is_refused() -> None:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    with pytest.raises(GrammarError, match="levels deep"):
        Grammar.json_schema(schema)


def test_a_schema_of_the_greatest_depth_is_read() -> None:
    assert accepts(Grammar.json_schema('{"items":' * 99 + "{}" + "}" * 99), "[[[]]]")


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        (Grammar.regex("[a-c"), r"regular expression \[a-c cannot be used.*unclosed character class"),
        (Grammar.regex("(?=a)b"), "look-around"),
        (Grammar.regex(r"(a)\1"), "backreferences"),
        (Grammar.regex(r"a^b"), "lookarounds"),
        (Grammar.regex(r"[^\x00-\U0010FFFF]"), "admits no answer"),
        (Grammar.json_schema({"not": {}}), r'JSON schema \{"not": \{\}\} cannot be used.*Unimplemented keys: \["not"\]'),
        (Grammar.json_schema({"type": "strng"}), "strng"),
        (Grammar.json_schema({"enum": []}), "Unsatisfiable"),
        (Grammar.json_schema({"allOf": [{"type": "string"}, {"type": "integer"}]}), "Unsatisfiable"),
        (Grammar.json_schema({"type": "string", "minLength": 5, "maxLength": 2}), "minLength"),
        (Grammar.json_schema({"$ref": "#"}), "admits no answer"),
        (Grammar.json_schema({"$ref": "#/$defs/nowhere"}), "does not exist"),
        (Grammar.json_schema({"type": "string", "format": "zip code"}), "zip code"),
        (Grammar.json_schema({"type": "array", "uniqueItems": True}), "uniqueItems"),  # what cannot be kept is not promised
        (Grammar.json_schema({"minimum": -(10**300)}), "the JSON schema"),
    ],
)
def test_grammars_that_cannot_be_met_are_refused_when_compiled(grammar: Grammar, words: str) -> None:
    for _ in range(2):  # also the second time
        with pytest.raises(GrammarError, match=words) as caught:
            COMPILER.compile(grammar)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


@pytest.mark.parametrize("ref", ["http://127.0.0.1:9/schema.json", "file:///etc/passwd", "other.json"])
def test_a_reference_out_of_the_schema_is_refused_and_never_followed(ref: str) -> None:
    with pytest.raises(GrammarError, match="cannot be used"):
        COMPILER.compile(Grammar.json_schema({"type": "array", "items": {"$ref": ref}}))


def doubling() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(8):
        schema = {"anyOf": [schema, {"type": "array", "items": schema}]}
    return {"allOf": [schema] * 2}


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar.json_schema({"allOf": [{"anyOf": [{"properties": {f"a{i}": {}}}, {"properties": {f"b{i}": {}}}]} for i in range(18)]}),
        Grammar.json_schema(doubling()),
        Grammar.json_schema({"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(1200)}}),
        Grammar.regex("(.*a.{30}){50}"),
        Grammar.regex(r"(\p{L}{1,50}[^x]*){1,50}y"),
        Grammar.regex("((((a{1,100}){1,100}){1,100}){1,100}){1,100}"),
    ],
    ids=range(6),
)
def test_a_hostile_grammar_is_an_error_or_an_answer_but_never_a_wait(grammar: Grammar) -> None:
    """Each step's work is bounded, so this test ends; a grammar that needs more is its own request's error."""
    try:
        sampler = Sampler(
            Sampling(temperature=1.0, seed=0), np.zeros(0, np.int64), BYTES.vocab_size + PADDED, constraint=COMPILER.compile(grammar)
        )
        for _ in range(60):
            sampler.accept(sampler.choose(torch.zeros(BYTES.vocab_size + PADDED)).token)
    except (GrammarError, SamplingError) as error:
        assert str(grammar)[:20] in str(error)


def test_a_row_without_a_token_left_is_its_own_error() -> None:
    """The grammar wants an "a", and "a" is banned: that request fails, and its neighbours do not."""
    size = BYTES.vocab_size + PADDED
    stuck = Sampler(Sampling(), np.zeros(0, np.int64), size, banned=[97], constraint=COMPILER.compile(Grammar.regex("a")))
    well = Sampler(Sampling(), np.zeros(0, np.int64), size, constraint=COMPILER.compile(Grammar.regex("a")))
    with pytest.raises(SamplingError, match="no token is left"):
        stuck.choose(torch.zeros(size))
    found = choose_many([stuck, well], torch.zeros(2, size))
    assert isinstance(found[0], SamplingError)
    assert found[1] == Chosen(97)
    with pytest.raises(SamplingError, match="token 98 may not come next under the regular expression a"):
        well.accept(98)
    with pytest.raises(SamplingError, match="cannot be followed"):
        well.choose(torch.zeros(size))


def test_masks_leave_a_choice_until_the_answer_is_finished() -> None:
    """Checked by walking at random, through the many states of a schema with optional parts."""
    optional = {"type": "object", "properties": {name: {"type": ["null", "boolean"]} for name in "abcd"}, "additionalProperties": False}
    rng = np.random.default_rng(0)
    for _ in range(30):
        constraint = COMPILER.compile(Grammar.json_schema(optional))
        while not constraint.finished:
            constraint.accept(int(rng.choice(allowed(constraint))))


def test_a_compiler_needs_a_way_to_end() -> None:
    with pytest.raises(GrammarError, match="eos_ids is empty"):
        GrammarCompiler([b"a", b""], [1], [], lambda text: [0])
    with pytest.raises(GrammarError, match="eos_ids names 7, outside the 2 ids"):
        GrammarCompiler([b"a", b""], [1], [1, 7], lambda text: [0])
