import math

import pytest
import torch

from puna.model import Model
from puna.testing.models import tiny_config, tiny_model
from puna.train.balance import Balancer, routers


@pytest.fixture
def model() -> Model:
    return tiny_model(tiny_config(vision=None, num_layers=4, moe_layers=(1, 3), nope_layers=(3,)))


def count(balancer: Balancer, *loads: list[int]) -> None:
    for router, load in zip(balancer.routers, loads, strict=True):
        router.tokens_per_expert = torch.tensor(load)


def test_the_bias_moves_to_the_idle_and_away_from_the_busy(model: Model) -> None:
    balancer = Balancer(model, rate=0.1)
    count(balancer, [10, 2, 0, 0], [3, 3, 3, 3])
    balancer.step(1.0)
    first, second = (router.balance_bias for router in balancer.routers)
    torch.testing.assert_close(first, torch.tensor([-0.15, 0.05, 0.05, 0.05]))  # -0.1, 0.1, 0.1, 0.1, centred
    assert not second.any()


def test_biases_stay_centred_and_add_up(model: Model) -> None:
    balancer = Balancer(model, rate=0.01)
    for _ in range(50):
        count(balancer, [5, 0, 0, 0], [0, 1, 4, 2])
        balancer.step(1.0)
    for router in balancer.routers:
        assert abs(float(router.balance_bias.sum())) < 1e-5
    assert balancer.routers[0].balance_bias[0] < -0.5 < 0.1 < balancer.routers[0].balance_bias[1]


def test_a_fade_shrinks_and_does_not_nudge(model: Model) -> None:
    balancer = Balancer(model, rate=0.1)
    for router in balancer.routers:
        router.balance_bias.copy_(torch.tensor([0.4, -0.4, 0.2, -0.2]))
    count(balancer, [9, 0, 0, 0], [0, 0, 0, 9])
    balancer.step(0.5)
    for router in balancer.routers:
        assert router.balance_bias.tolist() == pytest.approx([0.2, -0.2, 0.1, -0.1])


def test_fading_by_shares_of_what_is_left_is_a_line_to_exactly_zero(model: Model) -> None:
    balancer = Balancer(model, rate=0.1)
    bias = balancer.routers[0].balance_bias
    bias.fill_(0.7)
    steps = 7
    for left in range(steps, 0, -1):
        assert float(bias[0]) == pytest.approx(0.7 * left / steps, rel=1e-5)
        balancer.step((left - 1) / left)
    assert not bias.any()


def test_counts_are_gathered_by_the_model_and_cleared_by_the_step(model: Model) -> None:
    from puna.model import Batch
    from puna.stream import Stream

    balancer = Balancer(model, rate=0.1)
    batch = Batch.from_streams([Stream(torch.arange(50).numpy())])
    model(batch)
    model(batch)
    assert [int(router.tokens_per_expert.sum()) for router in balancer.routers] == [100, 100]
    balancer.step(1.0)
    assert [int(router.tokens_per_expert.sum()) for router in balancer.routers] == [0, 0]


def test_the_load_says_how_even_it_is(model: Model) -> None:
    balancer = Balancer(model, rate=0.0)
    count(balancer, [5, 5, 5, 5], [5, 5, 5, 5])
    balancer.step(1.0)
    assert balancer.load() == pytest.approx((1.0, 0.25, 0))
    count(balancer, [20, 0, 0, 0], [10, 10, 0, 0])
    balancer.step(1.0)
    assert balancer.load() == pytest.approx((0.25, 1.0, 5), abs=1e-6)  # entropies 0 and log 2 / log 4
    count(balancer, [0, 0, 0, 0], [0, 0, 0, 0])
    balancer.step(1.0)
    load = balancer.load()
    assert load.dead == 8 and not math.isnan(load.entropy)


def test_a_forgotten_step_counts_for_nothing_but_biases_go_on_fading(model: Model) -> None:
    balancer = Balancer(model, rate=0.1)
    count(balancer, [20, 0, 0, 0], [10, 10, 0, 0])
    balancer.step(1.0)
    biases = [router.balance_bias.clone() for router in balancer.routers]
    assert all(bias.any() for bias in biases)
    for fade in (1.0, 0.5, 0.0):
        count(balancer, [0, 0, 0, 9], [9, 0, 0, 0])
        balancer.forget(fade)
        biases = [bias * fade for bias in biases]
        for router, bias in zip(balancer.routers, biases, strict=True):
            assert router.tokens_per_expert is not None and not router.tokens_per_expert.any()
            assert torch.equal(router.balance_bias, bias)


def test_a_dense_model_has_nothing_to_balance() -> None:
    dense = tiny_model(tiny_config(vision=None, num_experts=0, moe_layers=()))
    assert routers(dense) == []
    balancer = Balancer(dense, 0.1)
    balancer.step(1.0)
    assert balancer.load() == (0.0, 0.0, 0)


def test_balancing_brings_idle_experts_to_work(model: Model) -> None:
    """Routers that send everything to one expert, and nothing but the bias to change that."""
    from puna.model.router import Router

    router = model.text.layers[1].feed_forward.router
    assert isinstance(router, Router)
    router.weight.data.zero_()
    router.weight.data[0] = 0.02
    balancer = Balancer(model, rate=0.05)
    x = torch.randn(200, 32, generator=torch.Generator().manual_seed(0)) + 1
    shares = []
    with torch.no_grad():
        for _ in range(60):
            router(x)
            assert router.tokens_per_expert is not None
            shares.append(float(router.tokens_per_expert.max()) / 200)
            balancer.step(1.0)
    assert shares[0] == 1.0 and sum(shares[-10:]) / 10 < 0.95
    assert len({int(router(x[i : i + 1]).expert_ids_T) for i in range(50)}) > 1
