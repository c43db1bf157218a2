"""From logits to a token. Letters: B rows, T positions, V vocabulary."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from puna.engine import Chosen, Sampler, Sampling, SamplingError, choose_many, token_logprobs

LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.9, 0.0, -3.0])


def sampler(size: int = len(LOGITS), prompt: Sequence[int] = (), banned: Collection[int] = (), **options: Any) -> Sampler:
    return Sampler(Sampling(**options), np.array(prompt, dtype=np.int64), size, banned)


def draw(logits: Tensor, count: int, banned: Collection[int] = (), **options: Any) -> list[int]:
    one, drawn = sampler(len(logits), (), banned, **options), []
    for _ in range(count):
        drawn.append(one.choose(logits).token)
        one.accept(drawn[-1])
    return drawn


def test_temperature_zero_takes_the_largest() -> None:
    assert draw(LOGITS, 3) == [1, 1, 1]
    assert draw(-LOGITS, 1, top_p=0.5, seed=4) == [5]
    assert draw(torch.zeros(9), 1) == [0]  # the first of equals


def test_a_nucleus_of_one_token_is_greedy() -> None:
    assert set(draw(LOGITS, 50, temperature=2.0, top_p=1e-9, seed=0)) == {1}
    assert set(draw(LOGITS.bfloat16(), 50, temperature=1.0, top_p=0.3, seed=0)) == {1}


def test_one_likeliest_token_is_greedy() -> None:
    assert set(draw(LOGITS, 50, temperature=2.0, top_k=1, seed=0)) == {1}
    assert set(draw(LOGITS, 50, temperature=2.0, min_p=1.0, seed=0)) == {1}


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert set(draw(logits, 300, temperature=1.0, top_p=0.5, seed=1)) == {0}
    assert set(draw(logits, 300, temperature=1.0, top_p=0.51, seed=1)) == {0, 1}
    assert set(draw(logits, 300, temperature=1.0, top_p=0.79, seed=1)) == {0, 1}
    assert set(draw(logits, 300, temperature=1.0, top_p=0.94, seed=1)) == {0, 1, 2}
    assert set(draw(logits, 600, temperature=1.0, top_p=1.0, seed=1)) == {0, 1, 2, 3}


def test_the_nucleus_is_taken_after_the_temperature() -> None:
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    assert set(draw(logits, 300, temperature=0.5, top_p=0.75, seed=1)) == {0}  # 0.36 : 0.09 : 0.01 gives 0.78 to the first
    assert set(draw(logits, 300, temperature=1.0, top_p=0.75, seed=1)) == {0, 1}


def test_top_k_keeps_the_likeliest() -> None:
    assert set(draw(LOGITS, 300, temperature=2.0, top_k=3, seed=1)) == {0, 1, 3}
    assert set(draw(LOGITS, 2000, temperature=2.0, top_k=6, seed=1)) == set(range(6)) == set(draw(LOGITS, 2000, temperature=2.0, top_k=99))


def test_the_nucleus_is_of_what_top_k_left() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert set(draw(logits, 300, temperature=1.0, top_p=0.55, seed=1)) == {0, 1}
    assert set(draw(logits, 300, temperature=1.0, top_p=0.55, top_k=2, seed=1)) == {0}  # 0.4 of 0.7 is enough


def test_min_p_drops_what_is_far_below_the_best() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert set(draw(logits, 300, temperature=1.0, min_p=0.61, seed=1)) == {0}
    assert set(draw(logits, 300, temperature=1.0, min_p=0.59, seed=1)) == {0, 1}
    assert set(draw(logits, 600, temperature=1.0, min_p=0.09, seed=1)) == {0, 1, 2, 3}
    assert set(draw(logits, 600, temperature=2.0, min_p=0.5, seed=1)) == {0, 1, 2}  # after the temperature: 1 : 0.77 : 0.55 : 0.32


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (2.0, 1.0), (1.0, 0.9)])
def test_frequencies_follow_the_distribution(temperature: float, top_p: float) -> None:
    count = 5000
    p = torch.softmax(LOGITS.double() / temperature, -1)
    if top_p < 1:
        ordered, order = p.sort(descending=True)
        kept = order[: int((ordered.cumsum(0) < top_p).sum()) + 1]
        p = torch.zeros_like(p).index_copy_(0, kept, p[kept]) / p[kept].sum()
    drawn = torch.bincount(torch.tensor(draw(LOGITS, count, temperature=temperature, top_p=top_p, seed=7)), minlength=6)
    assert not drawn[p == 0].any()
    expected = count * p[p > 0]
    chi_squared = float(((drawn[p > 0] - expected) ** 2 / expected).sum())
    assert chi_squared < 20.5  # five degrees of freedom: one seed in a thousand exceeds it


def test_seeds_next_to_each_other_owe_each_other_nothing() -> None:
    """A server counts seeds up: the first tokens over many seeds must be as random as many tokens of one."""
    drawn = torch.bincount(torch.tensor([draw(LOGITS, 1, temperature=1.0, seed=seed)[0] for seed in range(4000)]), minlength=6)
    expected = 4000 * torch.softmax(LOGITS.double(), -1)
    assert float(((drawn - expected) ** 2 / expected).sum()) < 20.5


def test_a_seed_gives_the_same_tokens_and_another_gives_others() -> None:
    one, again, other = (draw(LOGITS, 40, temperature=1.0, seed=seed) for seed in (3, 3, 4))
    assert one == again != other
    assert draw(LOGITS, 40, temperature=1.0, seed=-1) == draw(LOGITS, 40, temperature=1.0, seed=2**64 - 1)


def test_without_a_seed_tokens_vary() -> None:
    assert len({tuple(draw(LOGITS, 20, temperature=1.0)) for _ in range(4)}) > 1


def test_chance_depends_on_the_seed_and_the_position_alone() -> None:
    """So a draft is verified by drawing, and a preempted request goes on as if nothing had happened."""
    logits = torch.randn(30, 50, generator=torch.Generator().manual_seed(0))
    plain = sampler(50, temperature=1.0, seed=5)
    tokens = []
    for row in logits:
        tokens.append(plain.choose(row).token)
        plain.accept(tokens[-1])
    busy, other = sampler(50, temperature=1.0, seed=5), sampler(50, temperature=1.0, seed=6)
    for place, row in enumerate(logits):
        np.random.default_rng(0).random()
        torch.manual_seed(place)
        other.accept(other.choose(row).token)
        for elsewhere in logits[:3]:
            busy.choose(elsewhere)  # a choice that is not accepted moves nothing
        assert busy.choose(row).token == tokens[place] == busy.choose(row).token
        busy.accept(tokens[place])
    forced = sampler(50, temperature=1.0, seed=5)
    for _ in range(10):
        forced.accept(0)  # whatever the tokens were
    assert forced.choose(logits[10]).token == tokens[10]


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 5e-324])
def test_a_temperature_near_zero_is_nearly_greedy(temperature: float) -> None:
    assert set(draw(LOGITS, 20, temperature=temperature, seed=0)) == {1}
    assert set(draw(LOGITS, 20, temperature=temperature, top_k=3, top_p=0.9, min_p=0.1, seed=0)) == {1}


def test_excluded_tokens_are_never_drawn() -> None:
    logits = LOGITS.clone()
    logits[[1, 3]] = -math.inf
    assert set(draw(logits, 500, temperature=2.0, seed=0)) == {0, 2, 4, 5}
    assert set(draw(LOGITS, 500, banned=[1, 3], temperature=2.0, seed=0)) == {0, 2, 4, 5}
    assert set(draw(logits, 500, temperature=2.0, top_k=5, seed=0)) == {0, 2, 4, 5}


def test_banned_tokens_are_never_the_greedy_choice_either() -> None:
    assert draw(LOGITS, 1, banned=[1]) == [3]
    assert draw(LOGITS, 1, banned=[1, 3], logit_bias={1: 100}) == [0]
    with pytest.raises(SamplingError, match="banned"):
        draw(LOGITS, 1, banned=range(6))


def test_equal_tokens_beyond_the_nucleus_are_not_all_let_in() -> None:
    assert set(draw(torch.zeros(10), 400, temperature=1.0, top_p=0.35, seed=0)) == {0, 1, 2, 3}
    assert set(draw(torch.zeros(4), 400, temperature=1.0, top_p=0.5, seed=0)) == {0, 1}  # two quarters are exactly enough
    assert set(draw(torch.zeros(10), 400, temperature=1.0, top_k=3, seed=0)) == {0, 1, 2}
    assert set(draw(torch.tensor([0.0, 1.0, 0.0, 0.0]), 400, temperature=1.0, top_k=3, seed=0)) == {0, 1, 2}


@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.5, 4.0])
@pytest.mark.parametrize("top_p", [0.2, 0.9, 0.999])
def test_a_nucleus_in_a_large_vocabulary_is_what_sorting_it_gives(scale: float, top_p: float) -> None:
    """The short ways past the sort, with many ties: rounded logits, and all equal ones at scale 0."""
    logits = (torch.randn(20_000, generator=torch.Generator().manual_seed(1)) * scale).bfloat16().float()
    order = np.lexsort((np.arange(20_000), -logits.numpy()))
    p = torch.softmax(logits.double(), -1).numpy()
    nucleus = order[: int((p[order].cumsum() < top_p).sum()) + 1]
    drawn = set(draw(logits, 150, temperature=1.0, top_p=top_p, seed=2))
    assert drawn <= set(nucleus.tolist())
    assert len(drawn) > 1
    cut = np.zeros(20_000)
    cut[nucleus] = p[nucleus]
    whole = sampler(20_000, temperature=1.0, seed=2)
    alone = sampler(20_000, temperature=1.0, seed=2, top_p=top_p)
    assert alone.choose(logits).token == whole.choose(torch.from_numpy(cut).log().float()).token


def test_logit_bias_bans_and_commands() -> None:
    assert draw(LOGITS, 3, logit_bias={5: 100}) == [5, 5, 5]
    assert set(draw(LOGITS, 300, temperature=2.0, seed=0, logit_bias={1: -100, 3: -100, 0: -100})) == {2, 4, 5}
    assert draw(LOGITS, 1, logit_bias={3: 0.25}) == [3]
    with pytest.raises(SamplingError, match="id 6, but the vocabulary ends at 5"):
        sampler(logit_bias={6: 1.0})


def test_the_repetition_penalty_reads_prompt_and_answer() -> None:
    """CTRL's rule: a positive logit is divided, a negative one multiplied, once however often the token came."""
    one = sampler(prompt=[1, 1, 1], repetition_penalty=2.0)
    assert one.choose(LOGITS).token == 3  # 2.0 became 1.0
    one.accept(3)  # 1.9 becomes 0.95
    assert one.choose(LOGITS).token == 1
    assert sampler(prompt=[3], repetition_penalty=2.0).choose(-LOGITS).token == 5
    assert sampler(prompt=[0], repetition_penalty=2.0).choose(torch.tensor([-1.0, -1.5])).token == 1
    assert sampler(prompt=[0], repetition_penalty=0.5).choose(torch.tensor([1.0, 1.5])).token == 0
    with pytest.raises(SamplingError, match="the prompt holds ids from 2 to 6"):
        sampler(prompt=[2, 6], repetition_penalty=2.0)


def test_presence_and_frequency_penalties_read_the_answer_alone() -> None:
    assert sampler(prompt=[1] * 9, presence_penalty=2.0, frequency_penalty=2.0).choose(LOGITS).token == 1
    assert draw(LOGITS, 6, presence_penalty=0.2) == [1, 3, 1, 1, 1, 1]  # 1.8, 1.7: once each
    assert draw(LOGITS, 6, frequency_penalty=0.2) == [1, 3, 1, 3, 1, 3]
    assert draw(LOGITS, 4, frequency_penalty=-2.0) == [1, 1, 1, 1]


def naive_logits(logits: Tensor, prompt: Sequence[int], answer: Sequence[int], options: Sampling) -> Tensor:
    """Penalties from the whole text, one token after the other."""
    out = logits.clone()
    for token in range(len(out)):
        out[token] += options.logit_bias.get(token, 0.0)
        if token in prompt or token in answer:
            out[token] = out[token] / options.repetition_penalty if out[token] > 0 else out[token] * options.repetition_penalty
        times = list(answer).count(token)
        out[token] -= options.presence_penalty * (times > 0) + options.frequency_penalty * times
    return out


def test_penalties_kept_up_to_date_are_those_of_the_whole_text() -> None:
    rng, size = np.random.default_rng(0), 200
    prompt = rng.integers(0, size, 30)
    options = Sampling(repetition_penalty=1.3, presence_penalty=0.4, frequency_penalty=0.3, logit_bias={3: 2.0, 9: -1.5})
    one, answer = Sampler(options, prompt, size), []
    for _ in range(150):  # more new ids than the lists begin with
        logits = torch.from_numpy(rng.normal(size=size).astype(np.float32))
        expected = naive_logits(logits, prompt.tolist(), answer, options)
        best, second = expected.topk(2).values.tolist()
        chosen = one.choose(logits)
        assert chosen.token == int(expected.argmax())
        assert chosen.margin == pytest.approx(best - second, abs=1e-5)
        answer.append(int(rng.integers(size)))
        one.accept(answer[-1])


def test_choosing_changes_neither_the_logits_nor_the_sampler() -> None:
    one = sampler(
        prompt=[1], banned=[2], temperature=1.0, top_k=4, top_p=0.9, min_p=0.01, repetition_penalty=1.5, presence_penalty=1.0,
        logit_bias={0: 1.0}, seed=1, logprobs=2,
    )  # fmt: skip
    logits = LOGITS.clone()
    assert one.choose(logits) == one.choose(logits)
    assert torch.equal(logits, LOGITS)


def test_logprobs_are_the_models_own() -> None:
    """Of the raw logits: bans, biases, penalties and temperature are ours, not the model's."""
    expected = LOGITS.log_softmax(-1).tolist()
    chosen = sampler(banned=[1], logit_bias={5: 100}, repetition_penalty=2.0, prompt=[0], logprobs=3).choose(LOGITS)
    assert chosen.token == 5
    assert chosen.logprob == pytest.approx(expected[5])
    assert [token for token, _ in chosen.top] == [1, 3, 0]
    assert [logprob for _, logprob in chosen.top] == pytest.approx([expected[1], expected[3], expected[0]])
    alone = sampler(temperature=1.7, seed=0, logprobs=0).choose(LOGITS)
    assert alone.top == () and alone.logprob == pytest.approx(expected[alone.token])
    assert len(sampler(logprobs=20).choose(LOGITS).top) == 6  # no more than there are
    assert sampler().choose(LOGITS)[1:3] == (None, ())


def test_logprobs_of_equals_come_in_the_order_of_ids() -> None:
    chosen = sampler(50, logprobs=3).choose(torch.zeros(50))
    assert [token for token, _ in chosen.top] == [0, 1, 2] and chosen.token == 0


def test_logprobs_of_given_tokens() -> None:
    logits = torch.randn(7, 40, generator=torch.Generator().manual_seed(2))
    ids = np.arange(7) * 5
    found = token_logprobs(logits, ids, 4)
    for row, token, (logprob, top) in zip(logits, ids.tolist(), found, strict=True):
        one = sampler(40, logit_bias={token: 100}, logprobs=4).choose(row)
        assert one.token == token
        assert logprob == pytest.approx(one.logprob) == pytest.approx(float(row.log_softmax(-1)[token]))
        assert top == one.top
    assert token_logprobs(logits, ids, 0)[3].top == () and token_logprobs(logits[:0], ids[:0], 2) == []
    logits[4, 2] = math.nan
    with pytest.raises(SamplingError, match="NaN"):
        token_logprobs(logits, ids, 1)


def test_the_margin_says_how_near_another_token_was() -> None:
    assert sampler().choose(LOGITS).margin == pytest.approx(0.1)
    assert sampler(banned=[3]).choose(LOGITS).margin == pytest.approx(1.5)
    assert sampler(logit_bias={1: 1.0}).choose(LOGITS).margin == pytest.approx(1.1)
    assert sampler(banned=[0, 2, 3, 4, 5]).choose(LOGITS).margin == math.inf
    assert sampler(temperature=1.0, seed=0).choose(LOGITS).margin == math.inf
    assert sampler(1).choose(torch.zeros(1)).margin == math.inf


def mixed_samplers() -> list[Sampler]:
    return [
        sampler(),
        sampler(banned=[1]),
        sampler(banned=[3]),
        sampler(temperature=1.0, seed=3),
        sampler(logit_bias={2: 50}),
        sampler(prompt=[1], repetition_penalty=3.0),
        sampler(logprobs=2),
        sampler(temperature=0.5, top_p=0.8, seed=4, logprobs=1),
        sampler(banned=[0]),
    ]


@pytest.mark.parametrize("want_margin", [True, False])
def test_many_rows_at_once_are_each_row_alone(want_margin: bool) -> None:
    logits = torch.randn(9, 6, generator=torch.Generator().manual_seed(3))
    logits[1, 1] = logits[2, 3] = 9.0  # where it is banned
    logits[8, 1] = logits[8, 2] = logits[8].max() + 1  # equals
    samplers = mixed_samplers()
    for _ in range(5):
        together = choose_many(samplers, logits, want_margin)
        alone = [one.choose(row) for one, row in zip(samplers, logits, strict=True)]
        assert together == (alone if want_margin else [chosen._replace(margin=math.inf) for chosen in alone])
        for one, chosen in zip(samplers, alone, strict=True):
            one.accept(chosen.token)
    assert choose_many(samplers[:1], logits[:1], want_margin) == choose_many([sampler()], logits[:1], want_margin)
    assert choose_many([], logits[:0], want_margin) == []


def test_a_damaged_row_is_its_own_error_and_no_other_rows() -> None:
    logits = LOGITS.repeat(9, 1)
    logits[0, 2], logits[3, 0], logits[4, 5], logits[8] = math.nan, math.nan, math.inf, -math.inf
    found = choose_many(mixed_samplers(), logits)
    assert [row for row, chosen in enumerate(found) if isinstance(chosen, SamplingError)] == [0, 3, 4, 8]
    assert all("damaged" in str(found[row]) for row in (0, 3, 4, 8))
    assert isinstance(found[1], Chosen) and found[1].token == 3
    everything = choose_many([sampler(banned=range(6)), sampler()], LOGITS.repeat(2, 1))
    assert isinstance(everything[0], SamplingError) and isinstance(everything[1], Chosen)


@pytest.mark.parametrize("bad", [[math.nan, 0.0, 1.0], [math.inf, 0.0, 1.0], [-math.inf] * 3])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_damaged_logits_are_an_error_and_never_a_token(bad: list[float], temperature: float) -> None:
    with pytest.raises(SamplingError, match="damaged"):
        sampler(3, temperature=temperature).choose(torch.tensor(bad))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(max_tokens=0), "max_tokens=0"),
        (dict(max_tokens=-5), "max_tokens=-5"),
        (dict(max_tokens=1.5), "max_tokens=1.5 must be a whole number"),
        (dict(max_tokens=True), "max_tokens=True"),
        (dict(temperature=-0.1), "temperature=-0.1"),
        (dict(temperature=2.1), "temperature=2.1"),
        (dict(temperature=math.nan), "temperature=nan"),
        (dict(temperature=math.inf), "temperature=inf"),
        (dict(temperature="hot"), "temperature='hot'"),
        (dict(top_k=0), "top_k=0"),
        (dict(top_k=-1), "top_k=-1 must be at least 1; leave it out to keep every token"),
        (dict(top_k=2.5), "top_k=2.5"),
        (dict(top_p=0.0), "top_p=0.0"),
        (dict(top_p=1.01), "top_p=1.01"),
        (dict(top_p=math.nan), "top_p=nan"),
        (dict(min_p=-0.1), "min_p=-0.1"),
        (dict(min_p=1.1), "min_p=1.1"),
        (dict(min_p=math.nan), "min_p=nan"),
        (dict(repetition_penalty=0.0), "repetition_penalty=0.0"),
        (dict(repetition_penalty=10.5), "repetition_penalty=10.5"),
        (dict(repetition_penalty=math.nan), "repetition_penalty=nan"),
        (dict(presence_penalty=2.1), "presence_penalty=2.1"),
        (dict(presence_penalty=math.nan), "presence_penalty=nan"),
        (dict(frequency_penalty=-2.1), "frequency_penalty=-2.1"),
        (dict(logit_bias={3: 101}), r"logit_bias\[3\]=101"),
        (dict(logit_bias={3: math.nan}), r"logit_bias\[3\]=nan"),
        (dict(logit_bias={-1: 1}), "logit_bias names -1"),
        (dict(logit_bias={"3": 1}), "logit_bias names '3'"),
        (dict(logit_bias=[3]), r"logit_bias=\[3\] must map"),
        (dict(seed=2**64), "seed=18446744073709551616"),
        (dict(seed=-(2**63) - 1), "seed=-9223372036854775809"),
        (dict(seed=1.0), "seed=1.0"),
        (dict(logprobs=-1), "logprobs=-1"),
        (dict(logprobs=21), "logprobs=21 must lie between 0 and 20"),
    ],
)
def test_options_outside_their_range_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SamplingError, match=words):
        Sampling(**options)
    assert issubclass(SamplingError, ValueError)


def test_options_are_values() -> None:
    bias = {1: 2.0}
    one = Sampling(logit_bias=bias, top_k=3)
    bias[1] = 500.0
    assert one.logit_bias == {1: 2.0}
    assert one == Sampling(logit_bias={1: 2.0}, top_k=3) and hash(one) == hash(replace(one))
    assert one != Sampling(top_k=3)


@pytest.mark.parametrize("seed", [0, -1, 2**64 - 1, -(2**63)])
def test_every_seed_in_range_works(seed: int) -> None:
    assert len(draw(LOGITS, 3, temperature=1.0, seed=seed)) == 3
