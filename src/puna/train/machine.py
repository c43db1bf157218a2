"""What this machine could do: its matrix limit, measured once, and the products that a training token costs."""

import time

import torch

from puna.config import ModelConfig
from puna.kernels.precision import fast_dtype
from puna.model.count import count_parameters

_MEASURE_S = 0.1


def matmul_limit(device: str) -> float:
    """FLOP/s of one large product on `device`, in the precision that training takes there.

    The best of those that a tenth of a second holds, after one to wake it up.
    """
    rows, width = (2048, 1024) if device == "cpu" else (8192, 8192)
    a, b = (torch.randn(shape, device=device).to(fast_dtype(torch.device(device).type)) for shape in ((rows, width), (width, width)))
    float((a @ b)[0, 0])
    best = float("inf")
    started = time.perf_counter()
    while time.perf_counter() - started < _MEASURE_S:
        before = time.perf_counter()
        float((a @ b)[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - before)
    return 2 * rows * width * width / best


def flops_per_token(config: ModelConfig) -> float:
    """Of forward and backward: six for each weight that a text token meets. Attention's own products are left out."""
    return 6.0 * count_parameters(config).active_without_embedding


def flops_per_tile(config: ModelConfig) -> float:
    """Of forward and backward: six for each of the tower's weights and patch, and of the adapter's and projector's and row."""
    if config.vision is None:
        return 0.0
    parts, vision = count_parameters(config).parts, config.vision
    patches = vision.patches_per_side**2 + 1
    return 6.0 * (parts["vision"] * patches + (parts["adapter"] + parts["projector"]) * vision.tokens_per_tile)
