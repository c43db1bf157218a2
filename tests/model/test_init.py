import math

import pytest
import torch

from puna.model import Model
from puna.model.init import initialize
from puna.testing.models import tiny_config

CONFIG = tiny_config(width=64, expert_width=64, dense_width=64, initializer_range=0.02)


@pytest.fixture(scope="module")
def model() -> Model:
    made = Model(CONFIG)
    for parameter in made.parameters():
        parameter.data.fill_(float("nan"))
    return initialize(made, torch.Generator().manual_seed(0))


def test_every_parameter_is_filled(model: Model) -> None:
    assert not [name for name, parameter in model.named_parameters() if torch.isnan(parameter).any()]


def test_norms_start_at_one_and_biases_at_zero(model: Model) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name


@pytest.mark.parametrize(
    ("part", "shrinks"),
    [
        ("text.embed.weight", False),
        ("text.head.weight", False),
        ("attention.wq.weight", False),
        ("attention.wv.weight", False),
        ("attention.wo.weight", True),
        ("feed_forward.w_gate.weight", False),
        ("feed_forward.w_down.weight", True),
        ("experts.w_gate_up", False),
        ("experts.w_down", True),
        ("shared.w_down.weight", True),
        ("router.weight", False),
        ("projector.weight", False),
        ("vision.position_embedding", False),
        ("feed_forward.fc1.weight", False),
        ("feed_forward.fc2.weight", True),
        ("adapter.fc2.weight", False),
    ],
)
def test_weights_spread_by_the_configs_range_and_residual_outputs_by_less(model: Model, part: str, shrinks: bool) -> None:
    assert CONFIG.vision is not None
    depth = CONFIG.vision.num_layers if "fc2" in part else CONFIG.num_layers
    expected = 0.02 / math.sqrt(2 * depth) if shrinks else 0.02
    tower = ("fc" in part) or ("vision" in part)
    values = torch.cat([p.flatten() for name, p in model.named_parameters() if name.endswith(part) and name.startswith("vision.") == tower])
    assert len(values) > 250
    spread = 4 * expected / math.sqrt(len(values))  # four standard errors, and twice that for the deviation
    values = values.detach()
    assert abs(float(values.mean())) < spread
    assert abs(float(values.std()) - expected) < spread


def test_a_seed_gives_the_same_weights_and_another_gives_others() -> None:
    def weights(seed: int) -> torch.Tensor:
        made = initialize(Model(CONFIG), torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in made.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
