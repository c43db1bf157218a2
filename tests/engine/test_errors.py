"""One request's mistake or misfortune ends that request alone, with an error that says what to do; its neighbours notice nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from puna.engine import (
    ContextError,
    Engine,
    Generation,
    Grammar,
    GrammarError,
    PromptError,
    Request,
    Sampling,
    SamplingError,
    Settings,
    Watch,
    generate,
)
from puna.model import Model
from puna.stream import Stream
from puna.testing.engines import assert_nothing_is_left, engine_with_pages, small_config, small_model, text, tile, with_pictures

PATCH = small_config().patch_id


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


def asked(length: int, seed: int = 0, max_tokens: int = 6) -> Request:
    return Request(prompt=text(length, seed), sampling=Sampling(max_tokens=max_tokens))


def alone(model: Model, request: Request) -> list[int]:
    return list(generate(model, request.prompt, request.sampling, request.stop_ids))


NEIGHBOURS = (asked(5, 1, 12), asked(19, 2, 12), replace(asked(1, max_tokens=12), prompt=with_pictures(text(3, 4), tile(5), text(2, 5))))


@pytest.fixture(scope="module")
def answers(model: Model) -> list[list[int]]:
    return [alone(model, request) for request in NEIGHBOURS]


class Street:
    """An engine with three healthy requests under way; `must_be_well` when the unhealthy one is done."""

    def __init__(self, model: Model, answers: list[list[int]], **options: Any) -> None:
        self.engine: Engine = engine_with_pages(model, 60, 20, max_streams=6, **options)
        self.answers = answers
        self.neighbours = [self.engine.submit(request) for request in NEIGHBOURS]
        for _ in range(4):
            self.engine.step()
        assert any(neighbour.token_ids for neighbour in self.neighbours)

    def ends(self, generation: Generation, error: type[Exception], match: str) -> None:
        while self.engine.has_work:
            self.engine.step()
        assert generation.finish_reason == "error"
        with pytest.raises(error, match=match):
            generation.result()
        self.must_be_well()

    def must_be_well(self) -> None:
        for neighbour, answer in zip(self.neighbours, self.answers, strict=True):
            self.engine.wait(neighbour)
            assert neighbour.error is None and neighbour.token_ids == answer
        again = self.engine.generate(NEIGHBOURS)  # from kept beginnings
        assert again == self.answers
        assert_nothing_is_left(self.engine)


@pytest.fixture
def street(model: Model, answers: list[list[int]]) -> Street:
    return Street(model, answers)


# Refused at the door


def picture_request(tiles: np.ndarray | None, patches: int = 4) -> Request:
    return Request(prompt=Stream(np.array([1, 2, *[PATCH] * patches, 3]), tiles), sampling=Sampling(max_tokens=3))


ONE_TILE = tile(1)[None]
REFUSED = {
    "an empty prompt": (Request(prompt=text(0)), "prompt is empty; give at least one token"),
    "an id above the vocabulary": (Request(prompt=Stream(np.array([1, 384]))), "token id 384; tiny knows ids 0 to 383"),
    "an id below zero": (Request(prompt=Stream(np.array([-1, 5]))), "token id -1; tiny knows ids 0 to 383"),
    "ids that are no whole numbers": (Request(prompt=Stream(np.array([1.5, 2.0]))), "float64.*whole numbers"),
    "ids in two rows": (Request(prompt=Stream(np.zeros((2, 3), np.int64))), r"shape \(2, 3\).*one row"),
    "a prompt as long as the context": (asked(4096), "4096 tokens, but tiny reads at most 4096.*shorten it"),
    "a stop id outside": (replace(asked(3), stop_ids=frozenset({5, 400})), "stop_ids holds 400"),
    "too many prompt log-probabilities": (replace(asked(3), prompt_logprobs=21), "prompt_logprobs=21 must lie between 0 and 20"),
    "a negative number of them": (replace(asked(3), prompt_logprobs=-1), "prompt_logprobs=-1 must lie"),
    "patches without a tile": (picture_request(None), "4 patch tokens for 0 tiles; every tile needs exactly 4"),
    "a tile without patches": (picture_request(ONE_TILE, 0), "0 patch tokens for 1 tiles; every tile needs exactly 4"),
    "too few patches": (picture_request(ONE_TILE, 3), "3 patch tokens for 1 tiles"),
    "too many patches": (picture_request(ONE_TILE, 5), "5 patch tokens for 1 tiles"),
    "a tile of another size": (picture_request(np.zeros((1, 3, 20, 16), np.float32)), r"\(1, 3, 20, 16\); tiny reads \[M, 3, 16, 16\]"),
    "a grey tile": (picture_request(np.zeros((1, 1, 16, 16), np.float32)), r"\(1, 1, 16, 16\)"),
    "a tile without an axis": (picture_request(np.zeros((1, 16, 16), np.float32)), r"\(1, 16, 16\)"),
    "no samples": (asked(3), "n=0 must be at least 1"),
}


@pytest.mark.parametrize(("request_", "match"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_never_be_answered_is_refused_before_it_enters(street: Street, request_: Request, match: str) -> None:
    with pytest.raises(PromptError, match=match):
        street.engine.submit_samples(request_, 0) if "n=0" in match else street.engine.submit(request_)
    with pytest.raises(PromptError, match=match):
        street.engine.submit_samples(request_, 0 if "n=0" in match else 3)
    assert len(street.engine._sequences) <= 3
    street.must_be_well()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(max_tokens=0), "max_tokens=0 must be at least 1"),
        (dict(max_tokens=-3), "max_tokens=-3"),
        (dict(max_tokens=2.5), "max_tokens=2.5 must be a whole number"),
        (dict(temperature=-0.1), "temperature"),
        (dict(temperature=float("nan")), "temperature"),
    ],
)
def test_negative_limits_are_refused_when_the_options_are_made(options: dict, match: str) -> None:
    with pytest.raises(SamplingError, match=match):
        Sampling(**options)


def test_a_bias_for_an_unknown_id_is_refused(street: Street) -> None:
    with pytest.raises(SamplingError, match="logit_bias names id 384"):
        street.engine.submit(replace(asked(3), sampling=Sampling(logit_bias={384: 1.0})))
    street.must_be_well()


def test_an_answer_ends_at_the_context(answers: list[list[int]]) -> None:
    model = small_model(max_positions=12)
    engine = engine_with_pages(model, 10, 4)
    generation = engine.submit(asked(9, max_tokens=50))
    engine.wait(generation)
    assert len(generation.token_ids) == 3 and generation.finish_reason == "length"
    with pytest.raises(ContextError, match="12"):
        engine.submit(asked(12))
    assert_nothing_is_left(engine)


def test_tiles_are_refused_by_a_model_without_a_tower() -> None:
    engine = engine_with_pages(small_model(vision=None), 10, 4)
    for request in (picture_request(ONE_TILE, 0), picture_request(ONE_TILE, 4), picture_request(None, 4)):
        with pytest.raises(PromptError, match="tiny has no vision tower"):
            engine.submit(request)
    assert engine.generate([asked(3)]) == [alone(engine.model, asked(3))]


def test_an_empty_array_of_tiles_is_no_tile(street: Street) -> None:
    request = asked(5)
    request = replace(request, prompt=replace(request.prompt, tiles=np.zeros((0, 3, 16, 16), np.float32)))
    assert street.engine.generate([request]) == [alone(street.engine.model, asked(5))]
    street.must_be_well()


def test_one_bad_request_of_several_leaves_none_of_them_in_line(street: Street) -> None:
    before = len(street.engine._sequences)
    with pytest.raises(PromptError):
        street.engine.generate([asked(3), asked(4), Request(prompt=text(0))])
    assert len(street.engine._sequences) == before
    street.must_be_well()


# Grammars


class Parser:
    """A grammar that allows everything, until it gives up at `mask` or `accept` number `after`; complete after `whole` tokens."""

    def __init__(self, mask_after: int = 999, accept_after: int = 999, whole: int = 999) -> None:
        self.mask_after, self.accept_after, self.whole, self.accepted = mask_after, accept_after, whole, 0

    def compile(self, grammar: Grammar) -> "Parser":
        if grammar.kind == "regex":
            raise GrammarError("the regular expression admits no answer at all")
        return Parser(self.mask_after, self.accept_after, self.whole)

    def mask_(self, logits_V: torch.Tensor) -> None:
        if self.accepted >= self.mask_after:
            raise GrammarError("the parser has given up at a mask")

    def accept(self, token: int) -> None:
        self.accepted += 1
        if self.accepted > self.accept_after:
            raise GrammarError("the parser has given up at a token")

    @property
    def finished(self) -> bool:
        return self.accepted >= self.whole


def with_parser(parser: Parser, drafter: Any = None) -> dict[str, Any]:
    return {"parts": {"grammars": lambda: parser, "drafter": drafter}}


class Known:
    """Drafts a known answer."""

    def __init__(self, prompt: Stream, answer: list[int]) -> None:
        self.whole = [*prompt.token_ids.tolist(), *answer]

    def draft(self, key: int, token_ids: np.ndarray, most: int) -> list[int]:
        known = self.whole[: len(token_ids)] == token_ids.tolist()
        return self.whole[len(token_ids) :][: min(most, 4)] if known else []

    def forget(self, key: int) -> None:
        pass


FORM = Grammar.choice(["a"])


def test_a_grammar_that_cannot_be_met_is_refused(model: Model, answers: list[list[int]]) -> None:
    street = Street(model, answers, **with_parser(Parser()))
    with pytest.raises(GrammarError, match="admits no answer"):
        street.engine.submit(replace(asked(4), grammar=Grammar.regex("x")))
    street.must_be_well()


def test_a_grammar_without_a_compiler_is_refused_with_a_way_out(street: Street) -> None:
    with pytest.raises(GrammarError, match="no grammar compiler.*puna.load"):
        street.engine.submit(replace(asked(4), grammar=FORM))
    street.must_be_well()


@pytest.mark.parametrize("drafts", [False, True], ids=["plain", "drafts"])
@pytest.mark.parametrize("where", ["mask", "accept"])
@pytest.mark.parametrize("after", [0, 3])
def test_a_parser_that_gives_up_ends_its_own_request(model: Model, answers: list[list[int]], where: str, after: int, drafts: bool) -> None:
    request = asked(6, 3, 10)
    answer = alone(model, request)
    drafter = Known(request.prompt, answer) if drafts else None
    street = Street(model, answers, **with_parser(Parser(**{f"{where}_after": after}), drafter))
    generation = street.engine.submit(replace(request, grammar=FORM))
    street.ends(generation, SamplingError, "the parser has given up at a")
    assert generation.token_ids == answer[:after] == [token.id for token in generation.pending]


@pytest.mark.parametrize("whole", [1, 2, 3, 4, 5, 9])
def test_drafts_lose_no_token_of_an_answer_that_its_grammar_ends(model: Model, whole: int) -> None:
    """The grammar is at its end after the last of several accepted drafts, not after the first."""
    request = asked(6, 3, 10)
    answer = alone(model, request)
    engine = engine_with_pages(model, 20, 8, **with_parser(Parser(whole=whole), Known(request.prompt, answer)))
    generation = engine.submit(replace(request, grammar=FORM))
    engine.wait(generation)
    assert generation.token_ids == answer[:whole] and generation.finish_reason == "stop"
    assert [token.finish_reason for token in generation.pending] == [None] * (whole - 1) + ["stop"]
    assert_nothing_is_left(engine)


def test_a_stop_id_among_drafts_ends_the_answer_there(model: Model) -> None:
    request = asked(6, 3, 10)
    answer = alone(model, request)
    for place in range(1, 9):
        request = replace(request, stop_ids=frozenset({answer[place]}))
        engine = engine_with_pages(model, 20, 8, parts={"drafter": Known(request.prompt, answer)})
        assert engine.generate([request]) == [answer[: answer.index(answer[place]) + 1]]
        assert_nothing_is_left(engine)


# Damage


def broken(value: float) -> np.ndarray:
    damaged = tile(1)
    damaged[2, 5, 5] = value
    return damaged


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("options", [{}, {"kv_dtype": "int8"}, {"batch_invariant": True}], ids=["plain", "int8", "invariant"])
def test_a_broken_picture_fails_alone(model: Model, answers: list[list[int]], value: float, options: dict) -> None:
    if options.get("kv_dtype"):
        answers = engine_with_pages(model, 60, 20, **options).generate(NEIGHBOURS)
    street = Street(model, answers, **options)
    prompt = with_pictures(text(9, 1), broken(value), text(22, 2))
    generations = [
        street.engine.submit(Request(prompt=prompt, sampling=sampling, **more))
        for sampling in (Sampling(), Sampling(temperature=1.0), Sampling(logprobs=2))
        for more in ({}, {"prompt_logprobs": 2})
    ]
    for generation in generations[1:]:
        street.engine.wait(generation)
        assert isinstance(generation.error, SamplingError) and "NaN" in str(generation.error) and not generation.token_ids
    street.ends(generations[0], SamplingError, "NaN: the weights or the input are damaged")


def test_a_broken_picture_reaches_nobody_who_begins_like_it_while_it_is_read(model: Model) -> None:
    """Its first tile is sound and comes in an earlier page. A masked product of a NaN is a NaN: in one piece, it reaches backwards."""
    sound = Request(prompt=with_pictures(tile(1), tile(2), text(5, 4)), sampling=Sampling(max_tokens=4))
    answer = alone(model, sound)
    for step_tokens in (4, 5, 8, 9, 12, 16):
        engine = engine_with_pages(model, 60, 20, step_tokens=step_tokens)
        damaged = engine.submit(Request(prompt=with_pictures(tile(1), broken(np.nan), text(30, 4))))
        later = []
        while not damaged.is_done:
            engine.step()
            later.append(engine.submit(sound))
        for generation in later:
            engine.wait(generation)
            assert generation.error is None and generation.token_ids == answer
        assert engine.generate([sound]) == [answer]
        assert isinstance(damaged.error, SamplingError)
        assert_nothing_is_left(engine)


def test_a_damaged_requests_pages_are_forgotten(model: Model) -> None:
    """A NaN in one weight row, mended later: what was computed with it must not come back."""
    model = small_model()
    embed = model.text.embed.weight
    request = asked(21, 3)
    bad = int(request.prompt.token_ids[2])
    kept = embed.data[bad].clone()
    engine = engine_with_pages(model, 60, 20, step_tokens=8)
    embed.data[bad, 0] = np.nan
    with pytest.raises(SamplingError, match="NaN"):
        engine.generate([request])
    assert engine.memory.prefixes.num_kept == {"global": 0, "local": 0}
    embed.data[bad] = kept
    generation = engine.submit(request)
    engine.wait(generation)
    assert generation.cached_tokens == 0 and generation.token_ids == alone(model, request)
    assert_nothing_is_left(engine)


def test_a_damaged_head_is_an_error_for_prompt_logprobs_too() -> None:
    model = small_model()
    model.text.head.weight.data[7] = np.nan
    engine = engine_with_pages(model, 20, 8)
    generations = [engine.submit(replace(asked(30), prompt_logprobs=top)) for top in (None, 0, 3)]
    for generation in generations:
        engine.wait(generation)
        with pytest.raises(SamplingError, match="logits contain NaN"):
            generation.result()
    assert engine.memory.prefixes.num_kept == {"global": 0, "local": 0}, "what was kept of it before is forgotten"
    assert_nothing_is_left(engine)


def test_a_weight_that_is_nan_for_one_token_fails_who_says_it() -> None:
    model = small_model()
    requests = [asked(5, seed, 8) for seed in range(4)]
    whole = [alone(model, request) for request in requests]
    bad = whole[0][3]
    model.text.embed.weight.data[bad] = np.nan
    engine = engine_with_pages(model, 60, 20)
    generations = [engine.submit(request) for request in requests]
    for generation, answer in zip(generations, whole, strict=True):
        engine.wait(generation)
        if bad in answer[:-1]:
            assert isinstance(generation.error, SamplingError) and generation.token_ids == answer[: answer.index(bad) + 1]
        else:
            assert generation.error is None and generation.token_ids == answer
    assert generations[0].error is not None and any(generation.error is None for generation in generations)
    assert_nothing_is_left(engine)


def test_an_exception_inside_the_model_ends_the_request_that_causes_it(
    street: Street, embedding: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = getattr(*embedding)

    def picky(self: Any, batch: Any) -> Any:
        if bool((batch.token_ids == 77).any()):
            raise RuntimeError("no 77 here")
        return embed(self, batch)

    assert all(77 not in answer and 77 not in r.prompt.token_ids for answer, r in zip(street.answers, NEIGHBOURS, strict=True))
    monkeypatch.setattr(*embedding, picky)
    prompt = Stream(np.concatenate([NEIGHBOURS[1].prompt.token_ids, [77, 1]]))  # begins like a neighbour
    generation = street.engine.submit(Request(prompt=prompt))
    street.ends(generation, RuntimeError, "no 77 here")
    assert street.engine.counters.steps > 0


def test_memory_that_runs_out_is_nobodys_fault_and_work_goes_on_later(
    street: Street, embedding: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError("full")

    with monkeypatch.context() as patch:
        patch.setattr(*embedding, full)
        with pytest.raises(MemoryError, match="full"):
            street.engine.generate([asked(3)])
    assert len(street.engine._sequences) == 3, "the one who asked is gone, the others wait"
    street.must_be_well()


# What drafters and watchers may do


class Wild:
    """Drafts what no answer may hold, and more than it was asked for."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def draft(self, key: int, token_ids: np.ndarray, most: int) -> list[int]:
        return self.ids

    def forget(self, key: int) -> None:
        pass


@pytest.mark.parametrize("ids", [[PATCH], [5, PATCH, 6], [384], [-1], [3] * 50, [100_000, PATCH]])
def test_no_draft_can_harm_a_request(model: Model, answers: list[list[int]], ids: list[int]) -> None:
    Street(model, answers, parts={"drafter": Wild(ids)}).must_be_well()


def test_a_draft_looked_up_beside_a_picture_is_no_picture(model: Model) -> None:
    """The words before a picture come again: what followed them was a patch."""
    from puna.engine import PromptLookup

    prompt = with_pictures(Stream(np.array([5, 6])), tile(1), Stream(np.array([9, 5, 6])))
    request = Request(prompt=prompt, sampling=Sampling(max_tokens=6))
    engine = engine_with_pages(model, 20, 8, step_tokens=8, parts={"drafter": PromptLookup()})
    assert engine.generate([request, request]) == [alone(model, request)] * 2


def test_a_model_without_experts_has_none_to_watch() -> None:
    engine = engine_with_pages(small_model(moe_layers=()), 20, 8)
    generation = engine.submit(replace(asked(9), watch=Watch(expert_ids=True)))
    engine.wait(generation)
    assert generation.expert_ids is not None and generation.expert_ids.shape == (9 + 5, 0)


def test_watched_positions_that_never_come_are_no_error(street: Street) -> None:
    generation = street.engine.submit(replace(asked(9), watch=Watch(attention_rows=frozenset({-1, 4, 11, 500}))))
    street.engine.wait(generation)
    assert set(generation.attention) == {4, 11}
    for position, layers in generation.attention.items():
        for layer, row_NS in layers.items():
            seen = position + 1 if layer == 3 else position % 8 + 1
            assert row_NS.shape == (2, seen)
            torch.testing.assert_close(row_NS.sum(-1), torch.ones(2))
    street.must_be_well()


def test_a_drafter_that_fails_costs_nobody_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def draft(self, key: int, token_ids: np.ndarray, most: int) -> list[int]:
            raise RuntimeError("boom")

        def forget(self, key: int) -> None:
            pass

    model = small_model()
    requests = [Request(prompt=text(length), sampling=Sampling(max_tokens=6)) for length in (5, 9)]
    plain = Engine(model, Settings(kv_bytes=1 << 20)).generate(requests)
    assert Engine(model, Settings(kv_bytes=1 << 20), drafter=Broken()).generate(requests) == plain
    assert len([record for record in caplog.records if "drafter failed" in record.message]) == 2
