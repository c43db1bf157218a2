"""Fresh weights. [ours] Meta published only the standard deviation 0.02; the rest follows small-scale practice."""

import torch
from torch import Tensor, nn

from puna.model.model import Model


def initialize(model: Model, generator: torch.Generator) -> Model:
    """Fill every parameter in place: normal(0.02), norms at one, biases at zero.

    What is added to a residual stream is scaled down by sqrt(2 L), L the layers that add to it.
    """
    std = model.config.initializer_range
    vision = model.config.vision
    for name, parameter in model.named_parameters():
        depth = vision.num_layers if vision is not None and name.startswith("vision.") else model.config.num_layers
        _fill(name, parameter, std, std / (2 * depth) ** 0.5, generator)
    return model


def _fill(name: str, parameter: Tensor, std: float, residual_std: float, generator: torch.Generator) -> None:
    leaf = name.removesuffix(".weight").rsplit(".", 1)[-1]
    is_added = leaf in ("wo", "w_down", "fc2") and ".layers." in name
    with torch.no_grad():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif "norm" in leaf:
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=residual_std if is_added else std, generator=generator)
