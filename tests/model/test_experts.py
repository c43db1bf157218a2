"""One mixture-of-experts layer: the shared expert reads x, the routed one reads its score times x."""

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.model.experts import MoE
from puna.testing.models import tiny_config


def moe() -> MoE:
    made = MoE(tiny_config())
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return made


def tokens(count: int) -> Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(count))


def test_the_layer_is_its_formula_token_by_token() -> None:
    layer = moe()
    used = set()
    with torch.no_grad():
        for x, out in zip(tokens(40), layer(tokens(40)), strict=True):
            logits = layer.router.weight @ x
            expert = int(logits.argmax())
            used.add(expert)
            gate, up = (logits[expert].sigmoid() * x @ layer.experts.w_gate_up[expert]).chunk(2)
            routed = (F.silu(gate) * up) @ layer.experts.w_down[expert]
            shared = layer.shared.w_down(F.silu(layer.shared.w_gate(x)) * layer.shared.w_up(x))
            torch.testing.assert_close(out, shared + routed, atol=1e-5, rtol=1e-5)
    assert len(used) > 1


def test_training_and_inference_agree() -> None:
    layer, x = moe(), tokens(40)
    with torch.no_grad():
        inference = layer(x)
    torch.testing.assert_close(layer(x).detach(), inference, atol=1e-6, rtol=1e-5)


def test_autocast_computes_in_bf16_and_leaves_gradients_in_fp32() -> None:
    layer, x = moe(), tokens(40)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in layer.parameters())
    torch.testing.assert_close(out.float(), layer(x).detach(), atol=0.1, rtol=0.05)


def test_gradients_are_the_slopes_of_the_layer() -> None:
    layer, x = moe(), tokens(6).requires_grad_()
    generator = torch.Generator().manual_seed(5)
    for name, leaf in [("x", x), *layer.named_parameters()]:
        (gradient,) = torch.autograd.grad(layer(x).cos().sum(), [leaf])
        direction = torch.randn(leaf.shape, generator=generator)
        ends = []
        for step in (5e-3, -5e-3):
            leaf.data.add_(direction, alpha=step)
            ends.append(float(layer(x).detach().cos().double().sum()))
            leaf.data.sub_(direction, alpha=step)
        slope = (ends[0] - ends[1]) / 1e-2
        assert abs(slope - float((gradient * direction).sum())) < 0.02 * float(gradient.norm()), name
