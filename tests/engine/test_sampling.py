"""From logits to a token. Letters: V vocabulary."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from puna.engine import Sampling, SamplingError
from puna.engine.sampling import choose

LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.9, 0.0, -3.0])


def draw(logits: Tensor, count: int, **options: Any) -> list[int]:
    sampling = Sampling(**options)
    generator = None if sampling.seed is None else torch.Generator().manual_seed(sampling.seed)
    return [choose(logits, sampling, generator) for _ in range(count)]


def test_temperature_zero_takes_the_largest() -> None:
    assert draw(LOGITS, 3) == [1, 1, 1]
    assert draw(-LOGITS, 1, top_p=0.5, seed=4) == [5]


def test_a_nucleus_of_one_token_is_greedy() -> None:
    assert set(draw(LOGITS, 50, temperature=2.0, top_p=1e-9, seed=0)) == {1}
    assert set(draw(LOGITS.bfloat16(), 50, temperature=1.0, top_p=0.3, seed=0)) == {1}


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


def test_a_seed_gives_the_same_tokens_and_another_gives_others() -> None:
    one, again, other = (draw(LOGITS, 40, temperature=1.0, seed=seed) for seed in (3, 3, 4))
    assert one == again != other


def test_without_a_seed_tokens_vary() -> None:
    assert len({tuple(draw(LOGITS, 20, temperature=1.0)) for _ in range(4)}) > 1


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 5e-324])
def test_a_temperature_near_zero_is_nearly_greedy(temperature: float) -> None:
    assert set(draw(LOGITS, 20, temperature=temperature, seed=0)) == {1}


def test_excluded_tokens_are_never_drawn() -> None:
    logits = LOGITS.clone()
    logits[[1, 3]] = -math.inf
    assert set(draw(logits, 500, temperature=2.0, seed=0)) == {0, 2, 4, 5}


def test_equal_tokens_beyond_the_nucleus_are_not_all_let_in() -> None:
    assert len(set(draw(torch.zeros(10), 400, temperature=1.0, top_p=0.35, seed=0))) == 4
    assert len(set(draw(torch.zeros(4), 400, temperature=1.0, top_p=0.5, seed=0))) == 2  # two quarters are exactly enough


@pytest.mark.parametrize("bad", [[math.nan, 0.0, 1.0], [math.inf, 0.0, 1.0], [-math.inf] * 3])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_damaged_logits_are_an_error_and_never_a_token(bad: list[float], temperature: float) -> None:
    with pytest.raises(SamplingError, match="damaged"):
        choose(torch.tensor(bad), Sampling(temperature=temperature), None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(max_tokens=0), "max_tokens=0"),
        (dict(max_tokens=-5), "max_tokens=-5"),
        (dict(temperature=-0.1), "temperature=-0.1"),
        (dict(temperature=2.1), "temperature=2.1"),
        (dict(temperature=math.nan), "temperature=nan"),
        (dict(temperature=math.inf), "temperature=inf"),
        (dict(top_p=0.0), "top_p=0.0"),
        (dict(top_p=1.01), "top_p=1.01"),
        (dict(top_p=math.nan), "top_p=nan"),
        (dict(seed=2**64), "seed=18446744073709551616"),
        (dict(seed=-(2**63) - 1), "seed=-9223372036854775809"),
    ],
)
def test_options_outside_their_range_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SamplingError, match=words):
        Sampling(**options)
    assert issubclass(SamplingError, ValueError)


@pytest.mark.parametrize("seed", [0, -1, 2**64 - 1, -(2**63)])
def test_every_seed_in_range_works(seed: int) -> None:
    assert len(draw(LOGITS, 3, temperature=1.0, seed=seed)) == 3
