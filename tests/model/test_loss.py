"""The chunked loss against all logits at once.

Letters: T tokens, D model width, V vocabulary.
"""

import math

import pytest
import torch
from torch import Tensor

from puna.model import loss as loss_module
from puna.model.loss import next_token_loss, reference_loss


def inputs(tokens: int, scored: str = "some", width: int = 16, vocab: int = 50) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, width, generator=generator)
    head = torch.randn(vocab, width, generator=generator)
    targets = torch.randint(vocab, (tokens,), generator=generator)
    weights = torch.rand(tokens, generator=generator) + 0.5
    if scored == "some":
        weights[torch.rand(tokens, generator=generator) < 0.4] = 0
    return hidden, head, targets, weights


def gradients(function, hidden: Tensor, head: Tensor, *rest: object) -> tuple[Tensor, Tensor, list[Tensor]]:
    leaves = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
    loss = function(*leaves, *rest)
    return loss.total.detach(), loss.cross_entropy_T, list(torch.autograd.grad(3 * loss.total, leaves))


@pytest.mark.parametrize("tokens", [1, 2, 255, 256, 257, 1000])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("scored", ["some", "all"])
def test_chunks_equal_all_logits_at_once_in_value_and_gradients(tokens: int, z_loss: float, scored: str, poisoned_memory: None) -> None:
    hidden, head, targets, weights = inputs(tokens, scored)
    total, each, grads = gradients(next_token_loss, hidden, head, targets, weights, z_loss)
    expected_total, expected_each, expected_grads = gradients(reference_loss, hidden, head, targets, weights, z_loss)
    torch.testing.assert_close(total, expected_total, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(each, expected_each, atol=1e-5, rtol=1e-5)
    for got, expected in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-4)


def test_the_loss_by_hand() -> None:
    hidden, head = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), torch.eye(2)
    loss = next_token_loss(hidden, head, torch.tensor([0, 0, 1]), torch.tensor([1.0, 3.0, 0.0]), 0.1)
    first, second = math.log(1 + math.exp(-1)), math.log(1 + math.exp(2))
    lse = [math.log(math.e + 1), math.log(1 + math.exp(2))]
    assert loss.cross_entropy_T.tolist() == pytest.approx([first, second, 0.0], rel=1e-6)
    assert float(loss.total) == pytest.approx((first + 0.1 * lse[0] ** 2 + 3 * (second + 0.1 * lse[1] ** 2)) / 4, rel=1e-6)


def test_rows_that_are_not_scored_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, targets, weights = inputs(600)
    weights[:590] = 0
    weights[590:] = 1
    hidden[:590] = float("nan")  # never read
    head.requires_grad_()
    hidden.requires_grad_()
    loss = next_token_loss(hidden, head, targets, weights)
    loss.total.backward()
    assert torch.isfinite(loss.total) and not loss.cross_entropy_T[:590].any()
    assert hidden.grad is not None and head.grad is not None
    assert not hidden.grad[:590].any() and torch.isfinite(head.grad).all()
    assert hidden.grad[590:].any(-1).all()


def test_no_more_than_a_chunk_of_logits_exists_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "_CHUNK_T", 10)
    monkeypatch.setattr(loss_module, "_ROW_STEP", 4)
    sizes = []
    log_sum = loss_module.log_sum

    def watched(logits: Tensor) -> Tensor:
        sizes.append(len(logits))
        return log_sum(logits)

    monkeypatch.setattr(loss_module, "log_sum", watched)
    hidden, head, targets, weights = inputs(95, "all")
    total, _, _ = gradients(next_token_loss, hidden, head, targets, weights)
    assert sizes == [12] * 9 + [8]  # chunks of 10, the last of 5, each filled up to a multiple of 4
    torch.testing.assert_close(total, reference_loss(hidden, head, targets, weights).total)


def test_nothing_scored_is_a_loss_of_zero_and_no_gradient() -> None:
    hidden, head, targets, _ = inputs(9)
    total, each, grads = gradients(next_token_loss, hidden, head, targets, torch.zeros(9))
    assert float(total) == 0 and not each.any() and not any(grad.any() for grad in grads)


def test_scaling_all_weights_changes_nothing() -> None:
    hidden, head, targets, weights = inputs(40)
    once, twice = (gradients(next_token_loss, hidden, head, targets, scale * weights, 1e-3) for scale in (1, 8))
    torch.testing.assert_close(once[0], twice[0])
    torch.testing.assert_close(once[2], twice[2])


def test_large_logits_do_not_overflow() -> None:
    hidden, head = torch.tensor([[1e4], [-1e4]]), torch.tensor([[1.0], [-1.0]])
    total, each, grads = gradients(next_token_loss, hidden, head, torch.tensor([0, 0]), torch.ones(2))
    assert each.tolist() == [0.0, 2e4]
    assert float(total) == 1e4
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_bf16_hidden_states_and_an_fp32_head_give_gradients_in_their_own_dtypes() -> None:
    hidden, head, targets, weights = inputs(300)
    low = hidden.bfloat16()
    total, _, grads = gradients(next_token_loss, low, head, targets, weights)
    expected, _, expected_grads = gradients(reference_loss, low, head, targets, weights)
    assert [grad.dtype for grad in grads] == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(total, expected, atol=0.02, rtol=0.01)
    for got, want in zip(grads, expected_grads, strict=True):
        assert float((got.float() - want.float()).abs().max()) < 0.02 * float(want.float().abs().max())
