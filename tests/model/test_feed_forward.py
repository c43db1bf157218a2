import torch
import torch.nn.functional as F

from puna.model.feed_forward import FeedForward


def test_the_gate_goes_through_silu_and_the_up_projection_does_not() -> None:
    torch.manual_seed(0)
    layer = FeedForward(8, 12)
    x = torch.randn(3, 8)
    expected = (F.silu(x @ layer.w_gate.weight.T) * (x @ layer.w_up.weight.T)) @ layer.w_down.weight.T
    torch.testing.assert_close(layer(x), expected)
    assert not any(name.endswith("bias") for name, _ in layer.named_parameters())


def test_zero_in_is_zero_out() -> None:
    assert not FeedForward(8, 12)(torch.zeros(2, 8)).any()
