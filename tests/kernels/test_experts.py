"""Grouped experts against running every expert on every row.

Letters: T tokens, D model width, F expert width, E experts.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from puna.kernels.experts import grouped_experts, reference_experts

FP32_TOLERANCE = 1e-5  # sums in another order, as a share of the largest value
BF16_TOLERANCE = 3e-2  # products, activation and output are each rounded to 8 bits


def inputs(tokens: int, width: int, hidden: int, experts: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """x, scores, w_gate_up, w_down and an output gradient."""
    generator = torch.Generator().manual_seed(tokens)
    x, scores, grad = (torch.randn(shape, generator=generator) for shape in ((tokens, width), (tokens,), (tokens, width)))
    w_gate_up = torch.randn(experts, width, 2 * hidden, generator=generator) / width**0.5
    w_down = torch.randn(experts, hidden, width, generator=generator) / hidden**0.5
    return [tensor.to(dtype) for tensor in (x, scores.sigmoid(), w_gate_up, w_down, grad)]


def routed(kind: str, tokens: int, experts: int) -> Tensor:
    if kind == "all to one":
        return torch.full((tokens,), experts - 2)
    if kind == "one each":  # and the first expert takes the rest
        return torch.cat((torch.arange(1, experts), torch.zeros(tokens, dtype=torch.int64)))[:tokens]
    generator = torch.Generator().manual_seed(1)
    if kind == "half are idle":
        return torch.randint(experts // 2, (tokens,), generator=generator) * 2
    return torch.randint(experts, (tokens,), generator=generator)


def assert_same(got: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    assert got.shape == expected.shape and got.dtype == expected.dtype, what
    largest = float(expected.float().abs().max()) if expected.numel() else 0.0
    difference = float((got.float() - expected.float()).abs().max()) if expected.numel() else 0.0
    assert difference <= tolerance * max(1.0, largest), f"{what} differs by {difference} of {largest}"


def compare(kind: str, tokens: int, shape: tuple[int, int, int], dtype: torch.dtype, tolerance: float) -> None:
    x, scores, w_gate_up, w_down, grad = inputs(tokens, *shape, dtype)
    ids = routed(kind, tokens, shape[2])
    with torch.no_grad():
        plain = reference_experts(x, ids, scores, w_gate_up, w_down)
        assert_same(grouped_experts(x, ids, scores, w_gate_up, w_down), plain, tolerance, "output without gradients")
    leaves = [tensor.requires_grad_() for tensor in (x, scores, w_gate_up, w_down)]
    ours, theirs = (function(x, ids, scores, w_gate_up, w_down) for function in (grouped_experts, reference_experts))
    assert_same(ours.detach(), plain, tolerance, "output")
    names = ("x gradient", "scores gradient", "w_gate_up gradient", "w_down gradient")
    for name, got, expected in zip(names, *(torch.autograd.grad(out, leaves, grad) for out in (ours, theirs)), strict=True):
        assert_same(got, expected, tolerance, name)


@pytest.mark.parametrize("kind", ["spread", "all to one", "one each", "half are idle"])
@pytest.mark.parametrize("tokens", [1, 7, 8, 9, 63, 64, 65, 1000])
def test_grouped_equals_running_every_expert_with_every_gradient(kind: str, tokens: int, poisoned_memory: None) -> None:
    compare(kind, tokens, (32, 24, 8), torch.float32, FP32_TOLERANCE)


@pytest.mark.parametrize("shape", [(30, 22, 3), (5, 3, 2), (33, 64, 4), (16, 20, 2), (8, 4, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_widths_need_not_be_multiples_of_anything(shape: tuple[int, int, int], dtype: torch.dtype, poisoned_memory: None) -> None:
    compare("spread", 20, shape, dtype, FP32_TOLERANCE if dtype == torch.float32 else BF16_TOLERANCE)


@pytest.mark.parametrize("tokens", [3, 200])
def test_grouped_in_bf16_stays_within_its_rounding(tokens: int, poisoned_memory: None) -> None:
    compare("spread", tokens, (64, 48, 4), torch.bfloat16, BF16_TOLERANCE)


def test_one_expert_is_a_scaled_swiglu() -> None:
    compare("spread", 20, (32, 24, 1), torch.float32, FP32_TOLERANCE)


def test_no_tokens_give_no_rows_and_no_gradient() -> None:
    x, scores, w_gate_up, w_down, _ = inputs(0, 8, 8, 3)
    ids = torch.zeros(0, dtype=torch.int64)
    with torch.no_grad():
        assert grouped_experts(x, ids, scores, w_gate_up, w_down).shape == (0, 8)
    w_down.requires_grad_()
    (grad,) = torch.autograd.grad(grouped_experts(x, ids, scores, w_gate_up, w_down).sum(), [w_down])
    assert not grad.any()


@pytest.mark.parametrize("tokens", [5, 70])
def test_idle_experts_get_a_gradient_of_exactly_zero(tokens: int, poisoned_memory: None) -> None:
    x, scores, w_gate_up, w_down, grad = inputs(tokens, 16, 8, 4)
    leaves = [w_gate_up.requires_grad_(), w_down.requires_grad_()]
    for gradient in torch.autograd.grad(grouped_experts(x, torch.full((tokens,), 2), scores, w_gate_up, w_down), leaves, grad):
        assert [bool(expert.any()) for expert in gradient] == [False, False, True, False]


@pytest.mark.parametrize("tokens", [6, 130])
def test_a_row_depends_on_nothing_but_itself(tokens: int, poisoned_memory: None) -> None:
    x, scores, w_gate_up, w_down, _ = inputs(tokens, 16, 8, 4)
    ids = routed("spread", tokens, 4)
    for grad_mode in (torch.no_grad(), torch.enable_grad()):
        with grad_mode:
            before = grouped_experts(x, ids, scores, w_gate_up, w_down)
            other = x.clone()
            other[3] += 1
            changed = (grouped_experts(other, ids, scores, w_gate_up, w_down) != before).any(-1)
        assert changed.nonzero().flatten().tolist() == [3]


def test_the_score_scales_the_input_and_not_the_output() -> None:
    x, _, w_gate_up, w_down, _ = inputs(4, 16, 8, 2)
    ids, half = torch.tensor([0, 1, 0, 1]), torch.full((4,), 0.5)
    out = reference_experts(x, ids, half, w_gate_up, w_down)
    torch.testing.assert_close(out, reference_experts(0.5 * x, ids, torch.ones(4), w_gate_up, w_down))
    assert not torch.allclose(out, 0.5 * reference_experts(x, ids, torch.ones(4), w_gate_up, w_down), atol=1e-2)


def test_the_reference_puts_gate_columns_before_up_columns() -> None:
    x, scores, w_gate_up, w_down, _ = inputs(6, 16, 8, 3)
    ids = torch.tensor([2, 0, 1, 1, 2, 0])
    out = reference_experts(x, ids, scores, w_gate_up, w_down)
    for row, expert, score, got in zip(x, ids, scores, out, strict=True):
        gate, up = (score * row) @ w_gate_up[expert][:, :8], (score * row) @ w_gate_up[expert][:, 8:]
        torch.testing.assert_close(got, (F.silu(gate) * up) @ w_down[expert], atol=1e-5, rtol=1e-5)
