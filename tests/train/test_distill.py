"""The codistillation loss against all logits at once; its rules; students of one teacher in a run.

Letters: T tokens, D model width, V vocabulary.
"""

import io
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from puna.model import loss as loss_module
from puna.model.loss import next_token_loss
from puna.testing.models import tiny_config, tiny_model
from puna.testing.training import Alphabets, tiny_run
from puna.train import distill, train
from puna.train.distill import (
    Codistillation,
    Distilled,
    DistillError,
    Dynamic,
    Fixed,
    Rule,
    Side,
    check_same_ids,
    codistillation_losses,
    reference_codistillation,
)
from puna.train.packing import pack

VOCAB = 50
RULES: dict[str, Rule] = {"hard": Fixed(0.0), "fixed": Fixed(0.5), "soft": Fixed(1.0), "dynamic": Dynamic(steepness=2.0)}


def side(tokens: int, width: int, seed: int, vocab: int = VOCAB) -> Side:
    generator = torch.Generator().manual_seed(seed)
    return Side(torch.randn(tokens, width, generator=generator), torch.randn(vocab, width, generator=generator))


def gold(tokens: int) -> tuple[Tensor, Tensor]:
    """Targets, and weights of which two fifths are zero."""
    generator = torch.Generator().manual_seed(tokens)
    weights = torch.rand(tokens, generator=generator) + 0.5
    weights[torch.rand(tokens, generator=generator) < 0.4] = 0
    return torch.randint(VOCAB, (tokens,), generator=generator), weights


def leaf(plain: Side) -> Side:
    return Side(plain.hidden_TD.clone().requires_grad_(), plain.head_VD.clone().requires_grad_())


def differentiated(student: Side, function: Callable[[Side], Distilled]) -> tuple[Distilled, tuple[Tensor, ...]]:
    """The loss and the gradients of three times its total."""
    student = leaf(student)
    loss = function(student)
    return loss, torch.autograd.grad(3 * loss.total, student)


@pytest.mark.parametrize("tokens", [1, 63, 512, 513, 1100])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_chunks_equal_all_logits_at_once_in_values_and_gradients(tokens: int, rule: Rule, z_loss: float, poisoned_memory: None) -> None:
    student, teacher, (targets, weights) = side(tokens, 16, 1), side(tokens, 24, 2), gold(tokens)
    rest = teacher, targets, weights, rule, 0.4, z_loss
    got, grads = differentiated(student, lambda student: codistillation_losses({"s": student}, *rest)["s"])
    want, expected = differentiated(student, lambda student: reference_codistillation(student, *rest))
    for value, other in zip(got, want, strict=True):
        torch.testing.assert_close(value, other, atol=1e-5, rtol=1e-5)
    for value, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(value, other, atol=1e-6, rtol=1e-4)


def test_a_weight_of_zero_is_the_next_token_loss_to_the_last_bit() -> None:
    student, teacher, (targets, weights) = side(700, 16, 1), side(700, 24, 2), gold(700)
    loss, grads = differentiated(
        student, lambda student: codistillation_losses({"s": student}, teacher, targets, weights, Fixed(0.0), 0.5, 1e-3)["s"]
    )
    alone = leaf(student)
    plain = next_token_loss(*alone, targets, weights, 1e-3)
    assert torch.equal(loss.total, plain.total) and torch.equal(loss.cross_entropy_T, plain.cross_entropy_T)
    assert all(torch.equal(one, other) for one, other in zip(grads, torch.autograd.grad(3 * plain.total, alone), strict=True))


def test_students_of_one_teacher_learn_what_each_would_learn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, (targets, weights) = side(1100, 24, 2), gold(1100)
    students = {"scout": side(1100, 16, 3), "maverick": side(1100, 8, 4)}
    sums = 0
    log_sum = distill.log_sum

    def counted(logits: Tensor) -> Tensor:
        nonlocal sums
        sums += 1
        return log_sum(logits)

    monkeypatch.setattr(distill, "log_sum", counted)
    leaves = {name: leaf(student) for name, student in students.items()}
    together = codistillation_losses(leaves, teacher, targets, weights, Dynamic(), 0.2)
    assert sums == math.ceil(
        int((weights > 0).sum()) / loss_module.chunk_size(weights)
    )  # the teacher's side: once a chunk, not once a student
    for name, student in students.items():
        alone, grads = differentiated(
            student, lambda student: codistillation_losses({"alone": student}, teacher, targets, weights, Dynamic(), 0.2)["alone"]
        )
        assert all(torch.equal(one, other) for one, other in zip(together[name], alone, strict=True))
        mine = torch.autograd.grad(3 * together[name].total, leaves[name])  # each total by itself, in any order
        assert all(torch.equal(one, other) for one, other in zip(mine, grads, strict=True))


def test_the_loss_by_hand() -> None:
    student = Side(torch.tensor([[0.0, 0.0]]), torch.eye(2))
    teacher = Side(torch.tensor([[math.log(3.0), 0.0]]), torch.eye(2))
    loss = codistillation_losses({"s": student}, teacher, torch.tensor([1]), torch.tensor([2.0]), Fixed(0.25), 0.0)["s"]
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert loss.divergence_T.tolist() == pytest.approx([divergence])
    assert float(loss.total) == pytest.approx(0.75 * math.log(2) + 0.25 * divergence)
    assert loss.trust_T.tolist() == [0.25]


def test_a_student_that_equals_its_teacher_is_moved_by_hard_targets_alone() -> None:
    student, (targets, weights) = side(90, 16, 1), gold(90)
    loss, grads = differentiated(
        student, lambda side: codistillation_losses({"s": side}, Side(*student), targets, weights, Fixed(1.0), 0.0)["s"]
    )
    assert float(loss.total.detach()) == pytest.approx(0, abs=1e-5)
    assert all(float(grad.abs().max()) < 1e-6 for grad in grads)


def test_no_gradient_reaches_the_teacher_and_unscored_tokens_are_not_read() -> None:
    student, teacher, (targets, weights) = leaf(side(300, 16, 1)), leaf(side(300, 24, 2)), gold(300)
    with torch.no_grad():
        student.hidden_TD[weights == 0] = float("nan")
        teacher.hidden_TD[weights == 0] = float("nan")
    loss = codistillation_losses({"s": student}, teacher, targets, weights, Dynamic(), 0.5)["s"]
    loss.total.backward()
    assert torch.isfinite(loss.total) and student.hidden_TD.grad is not None and torch.isfinite(student.hidden_TD.grad).all()
    assert teacher.hidden_TD.grad is None and teacher.head_VD.grad is None
    assert not loss.divergence_T[weights == 0].any() and not loss.trust_T[weights == 0].any()


def test_bf16_hidden_states_keep_softmax_and_sums_in_fp32() -> None:
    student, teacher, (targets, weights) = side(600, 16, 1), side(600, 24, 2), gold(600)
    low = [Side(hidden.bfloat16(), head / 4) for hidden, head in (student, teacher)]
    got, grads = differentiated(low[0], lambda s: codistillation_losses({"s": s}, low[1], targets, weights, Fixed(0.5), 0.0)["s"])
    want, expected = differentiated(low[0], lambda s: reference_codistillation(s, low[1], targets, weights, Fixed(0.5), 0.0))
    assert [grad.dtype for grad in grads] == [torch.bfloat16, torch.float32] and got.divergence_T.dtype == torch.float32
    assert float(got.total.detach()) == pytest.approx(float(want.total.detach()), rel=5e-3)
    for value, other in zip(grads, expected, strict=True):
        assert float((value.float() - other.float()).abs().max()) < 0.03 * float(other.float().abs().max())


def test_the_dynamic_rule_trusts_a_better_teacher_and_less_as_training_goes_on() -> None:
    equal, better, worse = (torch.tensor([value]) for value in (-2.0, -1.0, -9.0))
    rule = Dynamic()
    assert rule(equal, equal, 0.0).tolist() == pytest.approx([0.45])
    assert rule(equal, equal, 1.0).tolist() == pytest.approx([0.15])
    assert rule(better, equal, 0.5).tolist() == pytest.approx([0.6 / (1 + math.exp(-1))])
    assert float(rule(better, equal, 0.5)) > float(rule(equal, equal, 0.5)) > float(rule(worse, equal, 0.5)) > 0
    assert Dynamic(steepness=4)(better, equal, 0.5) > rule(better, equal, 0.5)


@pytest.mark.parametrize("make", [lambda: Fixed(1.5), lambda: Fixed(-0.1), lambda: Dynamic(most=2), lambda: Dynamic(first=float("nan"))])
def test_a_weight_that_is_no_share_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(DistillError, match=r"outside \[0, 1\]"):
        make()


def test_another_vocabulary_is_refused_by_name() -> None:
    targets, weights = gold(4)
    with pytest.raises(DistillError, match="student 'small' predicts 50 ids and the teacher 60"):
        codistillation_losses({"small": side(4, 8, 1)}, side(4, 8, 2, vocab=60), targets, weights, Fixed(), 0.0)
    student, teacher = tiny_model(tiny_config(vision=None)), tiny_model(tiny_config(vision=None, bos_id=300))
    with pytest.raises(DistillError, match="student 'scout' has bos_id=256 and the teacher 300"):
        check_same_ids("scout", student, teacher)


SHAPE = dict(vision=None, num_layers=2, moe_layers=(1,), nope_layers=(1,), initializer_range=0.05)
STUDENTS = {"scout": tiny_config(**SHAPE), "maverick": tiny_config(**SHAPE, num_experts=8)}


def test_a_run_of_two_students_follows_a_teacher_that_stays_as_it_was(tmp_path: Path) -> None:
    teacher = tiny_model(tiny_config(**SHAPE, width=48), seed=5)
    before = [parameter.clone() for parameter in teacher.parameters()]
    data = pack(Alphabets(), 0, 0, 64)

    def divergences(models) -> dict[str, float]:
        objective = Codistillation(teacher, Fixed(1.0))
        return {name: float(losses.extra["divergence"]) for name, losses in objective(models, data, 0, 0.0).items()}

    quiet = Console(file=io.StringIO())
    fresh = {name: tiny_model(config) for name, config in STUDENTS.items()}
    run = tiny_run(config=STUDENTS, objective=Codistillation(teacher, Fixed(1.0)))
    after = divergences(train(run, tmp_path, console=quiet).models)
    start = divergences(fresh)
    assert all(after[name] < start[name] for name in STUDENTS), (start, after)
    assert all(torch.equal(one, other) for one, other in zip(before, teacher.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in teacher.parameters()) and not teacher.training
    assert '"divergence"' in (tmp_path / "log.jsonl").read_text()
