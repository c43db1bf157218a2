"""Fused elementwise steps compute what the plain ones do. These tests compile: they need a C++ compiler and a few seconds."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from puna.kernels.attention import packed_attention, plan_packing, segments
from puna.kernels.experts import grouped_experts
from puna.kernels.fusion import fused_elementwise, fusible
from puna.model.feed_forward import swiglu
from puna.model.norm import rms_normalize
from puna.model.rope import rotate, rotate_fusible

FP32_TOLERANCE = 2e-6  # of the largest value: a fused step may contract a product and a sum

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "g++", "c++", "clang++")), reason="no C++ compiler found"
)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def both(function: Callable[..., Tensor], *leaves: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Output and gradients, plain and fused."""
    results = []
    for enabled in (False, True):
        with fused_elementwise(enabled):
            inputs = [leaf.clone().requires_grad_() for leaf in leaves]
            out = function(*inputs)
            results.append([out.detach(), *torch.autograd.grad(out, inputs, torch.cos(out.detach()))])
    return results[0], results[1]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return packed_attention(q, k, v, plan_packing(segments([21, 9], [0, 3], 8)), 0.3)


def experts(x: Tensor, w_gate_up: Tensor, w_down: Tensor) -> Tensor:
    return grouped_experts(x, torch.arange(len(x)) % 3, torch.linspace(0.1, 0.9, len(x)), w_gate_up, w_down)


CASES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "norm": (lambda x: rms_normalize(x, 1e-5), (randn(5, 32),)),
    "swiglu": (swiglu, (randn(5, 24), randn(5, 24))),
    "rope": (lambda x: rotate_fusible(x, *ANGLES), (randn(5, 2, 8),)),
    "attention": (attention, (randn(30, 2, 8), randn(30, 1, 8), randn(30, 1, 8))),
    "experts": (experts, (randn(30, 16), randn(3, 16, 16), randn(3, 8, 16))),
}
ANGLES = (randn(5, 4).cos(), randn(5, 4).sin())


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_fused_equals_plain_with_every_gradient(name: str) -> None:
    function, leaves = CASES[name]
    for plain, fused in zip(*both(function, *leaves), strict=True):
        torch.testing.assert_close(fused, plain, atol=FP32_TOLERANCE * float(plain.abs().max()), rtol=0)


@needs_compiler
def test_more_shapes_than_the_compilers_limit_are_compiled_too() -> None:
    """Torch stops at 8 variants of a function with an error: a few models trained in one process would reach that."""
    double = fusible(symbolic_shapes=False)(lambda x: 2 * x)
    with torch._dynamo.config.patch(recompile_limit=2), torch.no_grad(), fused_elementwise():
        for size in range(1, 5):
            assert torch.equal(double(torch.ones(size)), torch.full((size,), 2.0))


def test_nothing_is_compiled_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> Callable[..., None]:
        def compiled(*arguments: object) -> None:
            raise AssertionError("compiled code was called")

        return compiled

    monkeypatch.setattr(torch, "compile", refuse)
    double = fusible(symbolic_shapes=True)(lambda x: 2 * x)
    assert double(3) == 6
    with fused_elementwise(False):
        assert double(3) == 6
    with pytest.raises(AssertionError, match="compiled code was called"), fused_elementwise():
        double(3)
    assert double(3) == 6  # an error inside leaves nothing switched on


def test_a_marked_function_keeps_its_name_and_the_nesting_is_undone() -> None:
    assert rms_normalize.__name__ == "rms_normalize"
    assert torch.equal(rotate_fusible(randn(5, 2, 8), *ANGLES), rotate(randn(5, 2, 8), *ANGLES))
