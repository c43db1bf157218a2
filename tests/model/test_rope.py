"""Rotary angles and temperature against the numbers of the fact sheet and formulae in double precision.

Letters: T tokens, N heads, H head width.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from puna.config import RopeScaling
from puna.model.rope import frequencies, rotate, rotation, temperature
from puna.presets import preset
from puna.testing.models import tiny_config

SCOUT, MAVERICK, GUARD = preset("scout"), preset("maverick"), preset("guard")
LAST = 10_485_759  # Scout's last position


def test_exactly_pairs_35_to_63_of_scout_turn_16_times_slower() -> None:
    slower = frequencies(MAVERICK) / frequencies(SCOUT)
    assert slower.tolist() == [1.0] * 35 + [16.0] * 29


def test_plain_frequencies_are_powers_of_theta() -> None:
    for j, got in enumerate(frequencies(MAVERICK).tolist()):
        assert got == pytest.approx(500000.0 ** (-2 * j / 128), rel=1e-14)


@pytest.mark.parametrize("factor", [1.0, 2.0, 4.0])
def test_a_hard_switch_divides_by_zero_nowhere(factor: float) -> None:
    scaling = RopeScaling(low_freq_factor=factor, high_freq_factor=factor)
    scaled = frequencies(replace(SCOUT, rope_scaling=scaling))
    plain = frequencies(MAVERICK)
    too_long = 2 * math.pi / plain > 8192 / factor
    assert torch.isfinite(scaled).all()
    assert torch.equal(scaled, torch.where(too_long, plain / 16, plain))


def test_a_smooth_band_blends_as_llama_3_1_does() -> None:
    scaling = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    scaled = frequencies(replace(SCOUT, rope_scaling=scaling)).tolist()
    in_band = 0
    for plain, got in zip(frequencies(MAVERICK).tolist(), scaled, strict=True):
        wavelength = 2 * math.pi / plain
        if wavelength < 8192 / 4:
            expected = plain
        elif wavelength > 8192:
            expected = plain / 8
        else:
            smooth = (8192 / wavelength - 1) / 3
            expected = (1 - smooth) * plain / 8 + smooth * plain
            in_band += 1
        assert got == pytest.approx(expected, rel=1e-12)
    assert in_band > 3


def test_pairs_are_neighbours_turned_as_complex_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    x_TNH = torch.randn(5, 3, 8, generator=generator)
    angles = torch.randn(5, 4, generator=generator)
    turned = torch.view_as_complex(x_TNH.unflatten(-1, (4, 2))) * torch.polar(torch.ones(5, 4), angles)[:, None]
    torch.testing.assert_close(rotate(x_TNH, angles.cos(), angles.sin()), torch.view_as_real(turned).flatten(-2))


def test_rotation_is_computed_in_fp32_and_returned_in_the_inputs_dtype() -> None:
    x = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    cos, sin = rotation(torch.arange(4), tiny_config())
    assert cos.dtype == sin.dtype == torch.float32
    out = rotate(x, cos, sin)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, rotate(x.float(), cos, sin).bfloat16())


def scores(q: Tensor, k: Tensor, angles_q: Tensor, angles_k: Tensor) -> Tensor:
    """q . k of one query and many keys, each turned by its angles, in double precision."""

    def turned(x: Tensor, angles: Tensor) -> Tensor:
        return torch.view_as_complex(x.double().unflatten(-1, (-1, 2))) * torch.polar(torch.ones_like(angles), angles)

    return (turned(q, angles_q) * turned(k, angles_k).conj()).real.sum(-1)


@pytest.mark.parametrize("query", [8191, 8192, 262_143, LAST])
def test_angles_modulo_the_chunk_give_the_scores_of_absolute_positions_in_double_precision(query: int) -> None:
    generator = torch.Generator().manual_seed(query)
    q, k = torch.randn(1, 1, 128, generator=generator), torch.randn(6, 1, 128, generator=generator)
    start = query // 8192 * 8192
    keys = torch.tensor(sorted({start, start + 1, (start + query) // 2, max(start, query - 1), query, max(start, query - 4000)}))
    k = k[: len(keys)]
    positions = torch.tensor([query])
    turned_q, turned_k = (rotate(x, *rotation(at, SCOUT)) for x, at in ((q, positions), (k, keys)))
    assert torch.isfinite(turned_q).all()
    got = (turned_q[:, 0] * turned_k[:, 0]).sum(-1)
    freq = frequencies(SCOUT)
    expected = scores(q[:, 0], k[:, 0], positions.double()[:, None] * freq, keys.double()[:, None] * freq)
    torch.testing.assert_close(got.double(), expected, atol=5e-5, rtol=0)


def test_absolute_angles_in_fp32_are_the_references_and_lose_their_phase_far_out() -> None:
    positions = torch.tensor([0, 1, 5000, 8191])
    for modulo, absolute in zip(rotation(positions, SCOUT), rotation(positions, SCOUT, "absolute"), strict=True):
        torch.testing.assert_close(modulo, absolute, atol=1e-3, rtol=0)
    exact = (LAST * frequencies(SCOUT)).cos().float()
    assert (rotation(torch.tensor([LAST]), SCOUT, "absolute")[0] - exact).abs().max() > 0.05


def test_a_model_without_chunks_turns_by_its_whole_position() -> None:
    cos, sin = rotation(torch.tensor([150_000]), GUARD)
    angles = 150_000 * frequencies(GUARD)
    torch.testing.assert_close(cos[0], angles.cos().float())
    torch.testing.assert_close(sin[0], angles.sin().float())


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (0, 1.0),
        (8190, 1.0),
        (8191, 1.0693),
        (16382, 1.0693),
        (16383, 1.1099),
        (32767, 1.1609),
        (131071, 1.2833),
        (262143, 1.3497),
        (1048575, 1.4860),
        (LAST, 1.7155),
    ],
)
def test_temperature_has_the_values_of_the_fact_sheet(position: int, expected: float) -> None:
    scale = temperature(torch.tensor([position]), SCOUT)
    assert scale.dtype == torch.float32
    assert round(float(scale), 4) == expected
    assert float(scale) == pytest.approx(1 + 0.1 * math.log((position + 1) // 8192 + 1), rel=1e-7)


def test_rotating_halves_of_permuted_heads_gives_the_same_scores() -> None:
    """Checkpoints for half-split RoPE have their q and k rows permuted; the scores must not notice."""
    generator = torch.Generator().manual_seed(3)
    config = tiny_config()
    q, k = torch.randn(6, 2, 8, generator=generator), torch.randn(6, 2, 8, generator=generator)
    cos, sin = rotation(torch.arange(1, 7), config)
    permutation = [0, 2, 4, 6, 1, 3, 5, 7]

    def rotate_halves(x: Tensor) -> Tensor:
        first, second = x[..., permutation].chunk(2, dim=-1)
        c, s = cos[:, None], sin[:, None]
        return torch.cat((first * c - second * s, second * c + first * s), dim=-1)

    interleaved = torch.einsum("tnh,snh->nts", rotate(q, cos, sin), rotate(k, cos, sin))
    halves = torch.einsum("tnh,snh->nts", rotate_halves(q), rotate_halves(k))
    torch.testing.assert_close(halves, interleaved)
    assert torch.equal(rotate(q, cos, sin)[..., permutation], rotate_halves(q))
