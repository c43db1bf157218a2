import pytest
import torch

from puna.model.fusion import FusionError, fuse

PATCH = torch.tensor([False, True, True, False, True])


def test_vision_rows_take_the_patch_places_in_order_and_nothing_else_moves() -> None:
    text, rows = torch.arange(10.0).view(5, 2), -torch.arange(1.0, 7.0).view(3, 2)
    fused = fuse(text, PATCH, rows)
    assert fused.tolist() == [[0, 1], [-1, -2], [-3, -4], [6, 7], [-5, -6]]
    assert text.tolist() == torch.arange(10.0).view(5, 2).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 4, 6])
def test_too_few_or_too_many_rows_are_counted_in_the_error(count: int) -> None:
    with pytest.raises(FusionError, match=f"3 patch tokens.*{count} vision rows"):
        fuse(torch.zeros(5, 2), PATCH, torch.zeros(count, 2))


def test_patch_tokens_without_tiles_and_tiles_without_patch_tokens_are_errors() -> None:
    with pytest.raises(FusionError, match="3 patch tokens.*0 vision rows"):
        fuse(torch.zeros(5, 2), PATCH, None)
    with pytest.raises(FusionError, match="0 patch tokens.*4 vision rows"):
        fuse(torch.zeros(5, 2), torch.zeros(5, dtype=torch.bool), torch.zeros(4, 2))


def test_plain_text_passes_untouched() -> None:
    text = torch.randn(5, 2)
    assert torch.equal(fuse(text, torch.zeros(5, dtype=torch.bool), None), text)
    assert torch.equal(fuse(text, torch.zeros(5, dtype=torch.bool), torch.zeros(0, 2)), text)


def test_rows_take_the_embeddings_dtype() -> None:
    assert fuse(torch.zeros(5, 2, dtype=torch.bfloat16), PATCH, torch.ones(3, 2)).dtype == torch.bfloat16


def test_gradients_go_to_the_rows_that_are_read() -> None:
    text, rows = torch.zeros(5, 2, requires_grad=True), torch.zeros(3, 2, requires_grad=True)
    fuse(text, PATCH, rows).sum().backward()
    assert text.grad is not None and rows.grad is not None
    assert text.grad[:, 0].tolist() == [1, 0, 0, 1, 0]
    assert rows.grad.tolist() == [[1, 1]] * 3
