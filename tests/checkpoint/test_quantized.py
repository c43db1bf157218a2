from typing import Any

import pytest
import torch
from torch import Tensor

from puna.checkpoint import INT8, CheckpointError, Scheme
from puna.checkpoint.quantized import dequantize, pack, quantize, relative_error, unpack

SCHEMES = [INT8, Scheme(8, 16), Scheme(4), Scheme(4, 16)]
SHARES = {8: (1.0,), 4: (1.0, 0.95, 0.9, 0.875, 0.85, 0.8, 0.75, 0.7)}


def matrix(rows: int = 24, columns: int = 48, seed: int = 0) -> Tensor:
    """Rows of sizes that differ by a factor of a thousand."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) * torch.logspace(-3, 0, rows)[:, None]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_every_weight_is_within_a_step_of_what_the_definition_says(scheme: Scheme) -> None:
    """Word by word: scale = a share of largest magnitude / largest integer, within one bf16 step; w' = bf16(q * scale)."""
    weight = matrix()
    quantized = quantize(weight, scheme)
    restored = dequantize(quantized)
    group = scheme.group or weight.shape[1]
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], group):
            part = weight[row, start : start + group]
            scale = float(quantized.scales[row, start // group])
            full = float(part.abs().max()) / scheme.largest
            assert any(scale == pytest.approx(full * share, rel=2**-7) for share in SHARES[scheme.bits])
            for column, value in enumerate(part.tolist(), start):
                q = int(quantized.values[row, column])
                assert scheme.smallest <= q <= scheme.largest
                assert restored[row, column] == torch.tensor(q * scale).bfloat16()
                is_cut = q in (scheme.smallest, scheme.largest) and abs(value) > abs(q * scale)
                assert abs(q * scale - value) <= scale * 0.5 * 1.001 or is_cut


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_error_falls_with_bits_and_with_smaller_groups(dtype: torch.dtype) -> None:
    weight = matrix(columns=256).to(dtype)
    errors = [relative_error(weight, quantize(weight, scheme)) for scheme in (INT8, Scheme(8, 32), Scheme(4), Scheme(4, 32))]
    assert errors[1] < errors[0] < 0.01 < errors[3] < errors[2] < 0.15


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_what_came_out_of_integers_goes_back_without_error(scheme: Scheme, seed: int) -> None:
    once = dequantize(quantize(matrix(seed=seed), scheme))
    again = quantize(once, scheme)
    assert torch.equal(dequantize(again), once) and relative_error(once, again) == 0.0


@pytest.mark.parametrize("value", [1e-30, 1.0, 3e38])
def test_magnitudes_far_from_one_keep_their_integers(value: float) -> None:
    quantized = quantize(torch.tensor([[value, -value, 0.0, value / 2]]), INT8)
    assert quantized.values.tolist() == [[127, -127, 0, 64]]
    assert bool(dequantize(quantized).isfinite().all())


def test_weights_too_small_for_a_scale_become_zero_and_not_infinite() -> None:
    quantized = quantize(torch.tensor([[1e-40, -1e-40]]), INT8)
    assert quantized.values.tolist() == [[0, 0]] and bool(dequantize(quantized).eq(0).all())


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_blocks_of_rows_change_nothing(scheme: Scheme, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = matrix()
    whole = quantize(weight, scheme)
    words, restored, error = pack(whole.values, scheme.bits), dequantize(whole), relative_error(weight, whole)
    monkeypatch.setattr("puna.checkpoint.quantized._BLOCK", 5 * 48)  # 24 rows: 5, 5, 5, 5 and 4
    parts = quantize(weight, scheme)
    assert torch.equal(parts.values, whole.values) and torch.equal(parts.scales, whole.scales)
    assert torch.equal(pack(parts.values, scheme.bits), words) and torch.equal(dequantize(parts), restored)
    assert torch.equal(unpack(words, scheme.bits, 48), whole.values)
    assert relative_error(weight, parts) == pytest.approx(error, rel=1e-6)


def test_a_group_of_zeros_stays_zero() -> None:
    weight = torch.cat((torch.zeros(1, 16), torch.ones(1, 16)), dim=1)
    quantized = quantize(weight, Scheme(8, 16))
    assert torch.equal(dequantize(quantized).float(), weight) and bool((quantized.scales > 0).all())
    assert relative_error(torch.zeros(2, 8), quantize(torch.zeros(2, 8), INT8)) == 0.0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(wrong: float) -> None:
    weight = matrix()
    weight[3, 5] = wrong
    with pytest.raises(CheckpointError, match="a NaN or an infinity"):
        quantize(weight, INT8)


def test_groups_that_do_not_fill_a_row_are_refused() -> None:
    with pytest.raises(CheckpointError, match="rows of 48 weights cannot be cut into groups of 32"):
        quantize(matrix(), Scheme(8, 32))


@pytest.mark.parametrize(("bits", "group", "rule"), [(3, None, "only 4 and 8"), (16, 32, "only 4 and 8"), (8, 0, "at least 1")])
def test_a_scheme_that_nobody_computes_is_refused(bits: int, group: int | None, rule: str) -> None:
    with pytest.raises(CheckpointError, match=rule):
        Scheme(bits, group)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [1, 3, 4, 8, 9, 63, 64])
def test_words_give_back_their_integers(bits: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    values = torch.randint(-(1 << (bits - 1)), 1 << (bits - 1), (5, columns), dtype=torch.int8, generator=generator)
    words = pack(values, bits)
    assert words.dtype == torch.int32 and words.shape == (5, -(-columns * bits // 32))
    assert torch.equal(unpack(words, bits, columns), values)


def test_the_first_integer_lies_in_the_lowest_bits() -> None:
    assert pack(torch.tensor([[-128, -127, 0, 127]], dtype=torch.int8), 8).tolist() == [[0x0100 | 0x80 << 16 | (0xFF - 256) << 24]]
    assert pack(torch.tensor([[-8, -7, 0, 7]], dtype=torch.int8), 4).tolist() == [[0xF810]]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_compressed_tensors_packs_and_multiplies_alike(scheme: Scheme) -> None:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    weights = {"num_bits": scheme.bits, "strategy": "group" if scheme.group else "channel", "group_size": scheme.group}
    theirs = QuantizationScheme.model_validate({"targets": ["Linear"], "weights": weights})
    compressor: Any = BaseCompressor.get_value_from_registry("pack-quantized")
    quantized = quantize(matrix(columns=64), scheme)
    words = pack(quantized.values, scheme.bits)
    stored = {"weight_packed": words, "weight_scale": quantized.scales, "weight_shape": torch.tensor(quantized.values.shape)}
    assert torch.equal(compressor.decompress(stored, theirs)["weight"], dequantize(quantized))
    packed = compressor.compress({"weight": dequantize(quantized).float(), "weight_scale": quantized.scales.float()}, theirs)
    assert torch.equal(packed["weight_packed"], words)


def test_four_bits_use_minus_eight_and_cut_the_largest_where_that_leaves_less_error() -> None:
    reaches_minus_eight = torch.tensor([[-8.0, 5.0, 3.0, 1.0]])
    quantized = quantize(reaches_minus_eight, Scheme(4))
    assert quantized.values.tolist() == [[-8, 5, 3, 1]] and float(quantized.scales) == 1.0
    weight = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    widest = weight.abs().amax(dim=1, keepdim=True) / 7
    plain = (weight / widest).round() * widest
    assert relative_error(weight, quantize(weight, Scheme(4))) < 0.95 * float((plain - weight).norm() / weight.norm())
