"""Attention inside tiles, written out for training and fused for the rest: the same numbers both ways.

Letters: M tiles, N heads, X patches and the class token, H head width.
"""

import pytest
import torch
from torch import Tensor

from puna.kernels.attention import tile_attention

FP32_TOLERANCE = 5e-6  # of the largest value: sums in another order
BF16_TOLERANCE = 2e-2  # 8 bits of mantissa, rounded at scores, probabilities and outputs


def inputs(shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(4)]


def in_double_precision(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = q.double(), k.double(), v.double()
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (2, 3, 17, 8), (3, 2, 65, 32), (1, 2, 577, 88)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, FP32_TOLERANCE), (torch.bfloat16, BF16_TOLERANCE)])
def test_tiles_attend_as_the_formula_says_with_and_without_gradients(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, poisoned_memory: None
) -> None:
    *qkv, grad = inputs(shape, dtype)
    leaves = [x.requires_grad_() for x in qkv]
    expected = in_double_precision(*leaves)
    with torch.no_grad():
        fused = tile_attention(*qkv)
    written_out = tile_attention(*leaves)
    pairs = [(fused, expected), (written_out, expected)]
    pairs += list(zip(torch.autograd.grad(written_out, leaves, grad), torch.autograd.grad(expected, leaves, grad.double()), strict=True))
    for got, want in pairs:
        assert got.dtype == dtype and got.shape == shape
        assert float((got.double() - want.double()).detach().abs().max()) <= tolerance * max(1.0, float(want.detach().abs().max()))


def test_large_scores_do_not_overflow() -> None:
    q, k, v, _ = inputs((1, 1, 9, 8), torch.float32)
    out = tile_attention((100 * q).requires_grad_(), 100 * k, v)
    torch.testing.assert_close(out.detach(), in_double_precision(100 * q, 100 * k, v).float().detach(), atol=1e-3, rtol=1e-3)
