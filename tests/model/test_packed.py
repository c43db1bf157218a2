"""Layers of packed integers against the plain layers with the weights that these stand for.

Letters: T tokens, D model width, F expert width, E experts.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.kernels.linear import PackedWeight, dequantize, pack_int4, pack_int8
from puna.model import Batch
from puna.model.experts import Experts
from puna.model.feed_forward import FeedForward
from puna.model.joined import joined_linear
from puna.model.packed import PackedExperts, PackedLinear, packed_names, weight_bytes
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

TOLERANCE = 1e-5  # fp32 sums in another order


def quantized(bits: int, *shape: int, groups: int = 1, seed: int = 0) -> PackedWeight:
    generator = torch.Generator().manual_seed(seed)
    largest = 127 if bits == 8 else 7
    integers = torch.randint(-largest, largest + 1, shape, dtype=torch.int8, generator=generator)
    scales = (1 + torch.rand(*shape[:-1], groups, generator=generator)) / largest
    return (pack_int8 if bits == 8 else pack_int4)(integers, scales.bfloat16())


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(9))


def near(got: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> bool:
    return got.shape == expected.shape and bool(((got - expected).abs() <= tolerance * expected.abs().max()).all())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("shape", [(64,), (3, 64), (2, 5, 64), (0, 64)])
def test_a_packed_layer_is_a_linear_one_for_any_leading_axes(bits: int, shape: tuple[int, ...]) -> None:
    weight = quantized(bits, 37, 64, groups=2)
    x = random(*shape)
    expected = F.linear(x, dequantize(weight))
    got = PackedLinear(weight)(x)
    assert got.shape == expected.shape and (not expected.numel() or near(got, expected))


def test_it_computes_in_fp32_and_answers_in_the_dtype_of_its_input() -> None:
    weight = quantized(8, 37, 64)
    x = random(3, 64).bfloat16()
    got = PackedLinear(weight)(x)
    assert got.dtype == torch.bfloat16 and torch.equal(got, PackedLinear(weight)(x.float()).bfloat16())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("ids", [[], [2], [1, 1, 1], [3, 0, 2, 0, 3, 3, 1]])
def test_packed_experts_are_the_plain_ones_with_some_left_alone(bits: int, ids: list[int]) -> None:
    config = tiny_config()
    plain = Experts(config)
    D, width, E = config.width, config.expert_width, config.num_experts
    gate, up, down = (quantized(bits, E, *shape, seed=i) for i, shape in enumerate([(width, D), (width, D), (D, width)]))
    with torch.no_grad():
        plain.w_gate_up.copy_(torch.cat((dequantize(gate), dequantize(up)), dim=1).transpose(1, 2))
        plain.w_down.copy_(dequantize(down).transpose(1, 2))
        x_TD, ids_T = random(len(ids), D), torch.tensor(ids, dtype=torch.int64)
        got = PackedExperts(gate, up, down)(x_TD, ids_T)
        expected = plain(x_TD, ids_T)
    assert got.shape == expected.shape and (not ids or near(got, expected))
    for t, expert in enumerate(ids):  # word by word
        h = F.silu(x_TD[t] @ dequantize(gate)[expert].T) * (x_TD[t] @ dequantize(up)[expert].T)
        assert near(got[t], h @ dequantize(down)[expert].T, 1e-4)


@pytest.mark.parametrize("has_gradients", [False, True])
def test_packed_layers_are_not_joined(has_gradients: bool) -> None:
    """They have no weights to lay side by side, under `no_grad` or not."""
    feed_forward = FeedForward(32, 48)
    for name, shape in (("w_gate", (48, 32)), ("w_up", (48, 32)), ("w_down", (32, 48))):
        setattr(feed_forward, name, PackedLinear(quantized(8, *shape)))
    with torch.set_grad_enabled(has_gradients):
        assert feed_forward(random(3, 32)).shape == (3, 32)
        mixed = joined_linear(random(3, 32), nn.Linear(32, 8, bias=False), PackedLinear(quantized(8, 48, 32)))
    assert [y.shape[1] for y in mixed] == [8, 48]


def test_a_gradient_is_refused_and_not_dropped() -> None:
    with pytest.raises(ValueError, match="x wants a gradient: the native kernels have none"):
        PackedLinear(quantized(8, 37, 64))(random(3, 64).requires_grad_())


def test_bytes_and_names_of_packed_layers_are_counted_beside_those_of_parameters() -> None:
    model = tiny_model(tiny_config(vision=None))
    floats = sum(parameter.nbytes for parameter in model.parameters())
    assert weight_bytes(model) == floats and not packed_names(model)
    head, experts = model.text.head.weight, model.text.layers[1].feed_forward.experts
    model.text.head = PackedLinear(quantized(4, *head.shape))  # type: ignore[assignment]
    E, D, width = model.config.num_experts, model.config.width, model.config.expert_width
    packed = PackedExperts(quantized(8, E, width, D), quantized(8, E, width, D), quantized(8, E, D, width))
    model.text.layers[1].feed_forward.experts = packed  # type: ignore[union-attr]
    gone = head.nbytes + experts.w_gate_up.nbytes + experts.w_down.nbytes
    rows, inner = 32, 32  # 24 wide: filled up to whole panels and blocks
    held = head.numel() // 2 + 2 * len(head) + 2 * E * (rows * D + 2 * rows) + E * (D * inner + 2 * D)
    assert weight_bytes(model) == floats - gone + held
    assert packed_names(model) == {
        "text.head.weight",
        "text.layers.1.feed_forward.experts.w_gate_up",
        "text.layers.1.feed_forward.experts.w_down",
    }
    with torch.no_grad():
        assert model.logits(model(Batch.from_streams([Stream(list(range(9)))]))).isfinite().all()
