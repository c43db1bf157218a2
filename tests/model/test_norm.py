import torch

from puna.model.norm import RMSNorm, rms_normalize


def test_the_norm_divides_by_the_root_of_the_mean_square() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1e-4, 1e-4]])
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(rms_normalize(x, 1e-5), expected)


def test_the_weight_is_applied_after_rounding_down_as_meta_does() -> None:
    generator = torch.Generator().manual_seed(0)
    norm = RMSNorm(64, 1e-5).bfloat16()
    norm.weight.data = torch.randn(64, generator=generator).bfloat16()
    x = (3 * torch.randn(50, 64, generator=generator)).bfloat16()
    normed = x.double() * torch.rsqrt(x.double().square().mean(-1, keepdim=True) + 1e-5)
    rounded_first = normed.float().bfloat16() * norm.weight
    rounded_last = (normed * norm.weight.double()).bfloat16()
    assert norm(x).dtype == torch.bfloat16
    assert torch.equal(norm(x), rounded_first)
    assert not torch.equal(rounded_first, rounded_last)


def test_large_bf16_rows_neither_overflow_nor_lose_their_scale() -> None:
    x = torch.full((1, 4), 3e38, dtype=torch.bfloat16)
    assert torch.isfinite(rms_normalize(x / 1e20, 1e-5)).all()
    torch.testing.assert_close(rms_normalize(x / 1e20, 1e-5), torch.ones(1, 4, dtype=torch.bfloat16))


def test_rows_are_normed_alone() -> None:
    x = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0))
    whole = rms_normalize(x, 1e-5)
    for row in range(3):
        for head in range(2):
            torch.testing.assert_close(whole[row, head], rms_normalize(x[row, head], 1e-5))
