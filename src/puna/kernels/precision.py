"""Which precision this machine multiplies fast in.

Training computes in bf16 where the device has products in it. A CPU without (AVX2 alone: most laptops) falls back to scalar code, measured
at 0.6 GFLOP/s against 100 in fp32: there everything runs in fp32, at half the tokens a second that memory would allow in bf16 and with
nothing lost in precision.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch


@cache
def fast_dtype(device: str) -> torch.dtype:
    """bf16 on a GPU, and on a CPU for which torch has bf16 products; else fp32. `device` is a type: "cpu", "cuda"."""
    if device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return torch.bfloat16


def training_precision(device: str) -> AbstractContextManager[object]:
    """Autocast to `fast_dtype(device)`: the context that every training forward runs in."""
    dtype = fast_dtype(device)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype)
