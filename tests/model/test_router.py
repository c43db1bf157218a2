import pytest
import torch

from puna.model.router import Router


def router(weight: list[list[float]]) -> Router:
    made = Router(len(weight[0]), len(weight))
    made.weight.data = torch.tensor(weight)
    return made


IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_the_largest_logit_wins_and_its_sigmoid_is_the_score() -> None:
    routing = router(IDENTITY)(torch.tensor([[0.1, 2.0, -1.0], [-3.0, -2.0, -1.0], [5.0, 4.9, 4.8]]))
    assert routing.expert_ids_T.tolist() == [1, 2, 0]
    torch.testing.assert_close(routing.scores_T, torch.tensor([2.0, -1.0, 5.0]).sigmoid())
    assert routing.logits_TE.shape == (3, 3)


def test_a_saturated_sigmoid_makes_no_ties() -> None:
    """Both scores round to 1 in bf16; the larger logit must still win."""
    made = router(IDENTITY).bfloat16()
    routing = made(torch.tensor([[20.0, 21.0, 0.0], [22.0, 21.0, 0.0]]).bfloat16())
    assert routing.expert_ids_T.tolist() == [1, 0]
    assert routing.scores_T.tolist() == [1.0, 1.0]
    assert (routing.scores_T.dtype, routing.logits_TE.dtype) == (torch.bfloat16, torch.float32)


def test_the_sigmoid_is_taken_in_fp32() -> None:
    made = router([[1.0], [-1.0]]).bfloat16()
    x = torch.linspace(0.1, 6, 50).bfloat16()[:, None]
    assert torch.equal(made(x).scores_T, x[:, 0].float().sigmoid().bfloat16())


def test_a_balance_bias_steers_the_choice_and_never_the_score() -> None:
    made = router(IDENTITY)
    x = torch.tensor([[1.0, 0.9, 0.0], [3.0, 0.0, 0.0]])
    made.balance_bias[1] = 0.5
    routing = made(x)
    assert routing.expert_ids_T.tolist() == [1, 0]
    torch.testing.assert_close(routing.scores_T, torch.tensor([0.9, 3.0]).sigmoid())


def test_the_bias_is_not_part_of_a_checkpoint() -> None:
    assert list(router(IDENTITY).state_dict()) == ["weight"]


@pytest.mark.parametrize("counting", [True, False])
def test_tokens_are_counted_only_when_asked(counting: bool) -> None:
    made = router(IDENTITY)
    made.tokens_per_expert = torch.zeros(3, dtype=torch.int64) if counting else None
    for _ in range(2):
        made(torch.tensor([[0.0, 2.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]))
    assert made.tokens_per_expert is None if not counting else made.tokens_per_expert.tolist() == [0, 4, 2]


def test_the_gradient_reaches_the_chosen_row_through_the_score_alone() -> None:
    made = router(IDENTITY)
    made(torch.tensor([[0.1, 2.0, -1.0]])).scores_T.sum().backward()
    assert made.weight.grad is not None
    assert made.weight.grad.any(-1).tolist() == [False, True, False]
