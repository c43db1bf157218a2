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
from puna.model import Batch, Model
from puna.model.attention import PositionTerms
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

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
    "attention": (attention, (randn(30, 2, 8), randn(30, 1, 8), randn(30, 1, 8))),
    "experts": (experts, (randn(30, 16), randn(3, 16, 16), randn(3, 8, 16))),
}


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_fused_equals_plain_with_every_gradient(name: str) -> None:
    function, leaves = CASES[name]
    for plain, fused in zip(*both(function, *leaves), strict=True):
        torch.testing.assert_close(fused, plain, atol=FP32_TOLERANCE * float(plain.abs().max()), rtol=0)


def block_and_gradients(model: Model, place: int, is_fused: bool, low: bool) -> list[Tensor]:
    """Output of one decoder layer, gradients of its input and of all its parameters."""
    batch = Batch.from_streams([Stream(torch.arange(21).numpy()), Stream(torch.arange(9).numpy())])
    terms = PositionTerms.of(batch.positions, model.config, "modulo")
    x = randn(30, model.config.width).requires_grad_()
    block = model.text.layers[place]
    with fused_elementwise(is_fused), torch.autocast("cpu", torch.bfloat16, enabled=low):
        out = block(x, terms, batch, None)
        return [out.detach(), *torch.autograd.grad(out, [x, *block.parameters()], torch.cos(out.detach()))]


@needs_compiler
@pytest.mark.parametrize("low", [False, True], ids=["fp32", "bf16"])
def test_every_kind_of_layer_is_the_same_fused(low: bool) -> None:
    """RoPE with QK norm and experts, dense, and NoPE with temperature."""
    model = tiny_model(tiny_config(vision=None, moe_layers=(0, 3)))
    kinds = [(layer.rope, layer.feed_forward) for layer in model.config.layers()]
    assert [kinds[place] for place in (0, 1, 3)] == [(True, "moe"), (True, "dense"), (False, "moe")]
    for place in (0, 1, 3):
        names = ["out", "x", *(name for name, _ in model.text.layers[place].named_parameters())]
        results = (block_and_gradients(model, place, is_fused, low) for is_fused in (False, True))
        for name, plain, fused in zip(names, *results, strict=True):
            tolerance = (2e-2 if low else 1e-5) * float(plain.abs().max())
            torch.testing.assert_close(
                fused, plain, atol=tolerance, rtol=0, msg=lambda text, place=place, name=name: f"layer {place}, {name}: {text}"
            )


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
    def twice(x: Tensor) -> Tensor:
        return 2 * x

    assert fusible(symbolic_shapes=False)(twice).__name__ == "twice"
    with fused_elementwise():
        with fused_elementwise(False):
            assert fusible(symbolic_shapes=False)(twice)(4) == 8  # a number: nothing to compile
