"""Fresh weights. [ours] Meta published only the standard deviation 0.02; the rest follows small-scale practice."""

import torch
from torch import Tensor, nn

from puna.model.model import Model


def initialize(model: Model, generator: torch.Generator) -> Model:
    """Fill every parameter in place: normal(0.02), residual outputs scaled down by sqrt(2 L), norms at one, biases at zero."""
    std = model.config.initializer_range
    residual_std = std / (2 * model.config.num_layers) ** 0.5
    for name, parameter in model.named_parameters():
        _fill(name, parameter, std, residual_std, generator)
    return model


def _fill(name: str, parameter: Tensor, std: float, residual_std: float, generator: torch.Generator) -> None:
    leaf = name.removesuffix(".weight").rsplit(".", 1)[-1]
    with torch.no_grad():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif "norm" in leaf:
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=residual_std if leaf in ("wo", "w_down", "fc2") else std, generator=generator)
