"""Codistillation: students learn from the data and from a teacher at once, and one teacher forward serves them all.

The loss of a student S under a teacher T, per token with gold next token y:

    (1 - w) * CE(S, y) + w * KL(T || S)        at temperature 1, over the whole vocabulary

Meta trained Maverick with Behemoth this way, with "a novel distillation loss function that dynamically weights the soft and hard targets
through training" [stated: Meta's post of 2025-04-05]; it paid for the teacher's forwards once for most of the students' data [stated].
The weights and their course were never published: the rule `Dynamic` below is [ours].

    w = clip(most * a(progress) * sigmoid(steepness * (log T(y) - log S(y))), 0, 1)

It trusts the teacher where the teacher finds the gold token likelier than the student does, and less as a stage goes on: `a` falls on a
line from 0.9 to 0.3, in a run of several stages anew in each. Early on the teacher knows more nearly everywhere; late, the data holds what
the teacher does not know. Temperature 1 is best for language [paper: Busbridge et al., arXiv:2502.08606]. A teacher that is trained for one
student only does not pay there; hence several students.

In the chunked loss (`puna.model.loss`) the teacher's logits of a chunk are made once and serve each student in turn. The gradient of a
student's logits is p_S - (1 - w) * onehot(y) - w * p_T: soft targets are just another target, at the price of one product with the
teacher's head and two passes over the chunk.

Letters: T tokens, R rows of one chunk, D model width, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.model import Model
from puna.model.loss import HeadLoss, SoftTargets, chunk_size, log_sum, scored_chunks
from puna.train.objective import Losses, hidden_states
from puna.train.packing import TrainingBatch


class DistillError(ValueError):
    """A teacher that cannot teach these students. The message says what differs and what to do."""


class Rule(Protocol):
    """How much soft targets count."""

    def __call__(self, logp_teacher_R: Tensor, logp_student_R: Tensor, progress: float) -> Tensor:
        """Weights in [0, 1] `[R]`, from both models' log-probabilities of the gold tokens `[R]` and the share of the stage done."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same weight for every token, all along. 0 is training on hard targets alone."""

    weight: float = 0.5

    def __post_init__(self) -> None:
        _check_share("weight", self.weight)

    def __call__(self, logp_teacher_R: Tensor, logp_student_R: Tensor, progress: float) -> Tensor:
        return torch.full_like(logp_student_R, self.weight)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Trust the teacher where it beats the student on the gold token, and less as the stage goes on (the formula stands above). [ours]

    `first` and `last` are the ends of `a(progress)`.
    """

    most: float = 1.0
    steepness: float = 1.0
    first: float = 0.9
    last: float = 0.3

    def __post_init__(self) -> None:
        for name in ("most", "first", "last"):
            _check_share(name, getattr(self, name))

    def __call__(self, logp_teacher_R: Tensor, logp_student_R: Tensor, progress: float) -> Tensor:
        course = self.first + (self.last - self.first) * progress
        return (self.most * course * torch.sigmoid(self.steepness * (logp_teacher_R - logp_student_R))).clamp_(0, 1)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise DistillError(f"{name}={value} lies outside [0, 1]: it is a share of the loss; 0 leaves the teacher out")


class Side(NamedTuple):
    """One model's end of the network: hidden states `[T, D]` and head `[V, D]`. Widths may differ between models, V may not."""

    hidden_TD: Tensor
    head_VD: Tensor


class Distilled(NamedTuple):
    """A student's loss. Per token, detached and 0 where not scored: `cross_entropy_T`, `divergence_T` = KL(T || S), and w as `trust_T`."""

    total: Tensor
    cross_entropy_T: Tensor
    divergence_T: Tensor
    trust_T: Tensor


def reference_codistillation(
    student: Side, teacher: Side, targets_T: Tensor, weights_T: Tensor, rule: Rule, progress: float, z_loss: float = 0.0
) -> Distilled:
    """The specification for one student: all logits at once, fp32. `weights_T` are 0 for tokens that are not scored."""
    logits_TV = student.hidden_TD.float() @ student.head_VD.float().T
    logp_TV = logits_TV.log_softmax(-1)
    soft_logp_TV = (teacher.hidden_TD.float() @ teacher.head_VD.float().T).log_softmax(-1).detach()
    gold_T, soft_gold_T = (logp.gather(1, targets_T[:, None]).squeeze(1) for logp in (logp_TV, soft_logp_TV))
    trust_T = rule(soft_gold_T, gold_T.detach(), progress)
    divergence_T = F.kl_div(logp_TV, soft_logp_TV, reduction="none", log_target=True).sum(-1)
    loss_T = (1 - trust_T) * -gold_T + trust_T * divergence_T + z_loss * logits_TV.logsumexp(-1).square()
    total = (loss_T * weights_T).sum() / weights_T.sum().clamp(min=1e-9)
    scored_T = weights_T > 0
    return Distilled(total, *((value * scored_T).detach() for value in (-gold_T, divergence_T, trust_T)))


def codistillation_losses(
    students: Mapping[str, Side], teacher: Side, targets_T: Tensor, weights_T: Tensor, rule: Rule, progress: float, z_loss: float = 0.0
) -> dict[str, Distilled]:
    """Same as `reference_codistillation` for each student, in chunks; the teacher's side of a chunk is made once for all of them.

    Products in the hidden states' dtype (bf16 in training), softmax and sums in fp32. Each total can be differentiated by itself.
    """
    for name, student in students.items():
        check_same_vocabulary(name, len(student.head_VD), len(teacher.head_VD))
    losses = {name: HeadLoss(*student, weights_T, z_loss) for name, student in students.items()}
    with torch.no_grad():
        hidden_TD, head_VD = teacher.hidden_TD, teacher.head_VD.to(teacher.hidden_TD.dtype)
        buffer_RV = hidden_TD.new_empty(chunk_size(hidden_TD), len(head_VD))  # one for all chunks, as in `HeadLoss`
        for chunk in scored_chunks(weights_T):
            targets_R = targets_T[chunk.rows]
            logits_RV = torch.mm(hidden_TD[chunk.rows], head_VD.T, out=buffer_RV[: len(chunk.rows)])
            lse_R = log_sum(logits_RV)
            logp_teacher_R = logits_RV.gather(1, targets_R[:, None]).squeeze(1) - lse_R

            def trust(logp_student_R: Tensor, logp_teacher_R: Tensor = logp_teacher_R) -> Tensor:
                return rule(logp_teacher_R, logp_student_R, progress)

            for loss in losses.values():
                loss.add(chunk, targets_R, SoftTargets(logits_RV, lse_R, trust))
    return {name: Distilled(*head.loss(), head.divergence_T, head.trust_T) for name, head in losses.items()}


def check_same_vocabulary(student: str, student_ids: int, teacher_ids: int) -> None:
    """Refuse a student whose head has another number of ids than the teacher's."""
    if student_ids != teacher_ids:
        raise DistillError(
            f"student {student!r} predicts {student_ids:,} ids and the teacher {teacher_ids:,}: KL needs the same distribution over the "
            "same ids; train both with one tokenizer"
        )


class Codistillation:
    """The objective of a run whose models are students of one frozen teacher.

    `teacher` is put into evaluation mode and takes no gradient; its tokenizer must be the students'. All models of the
    run are students. Logged beside the loss: mean KL(T || S) as `divergence` and mean w as `trust`.
    """

    def __init__(self, teacher: Model, rule: Rule | None = None, *, z_loss: float = 1e-4) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.rule: Rule = rule if rule is not None else Dynamic()
        self.z_loss = z_loss

    def __call__(self, models: Mapping[str, Model], data: TrainingBatch, step: int, progress: float) -> dict[str, Losses]:
        """One teacher forward and one forward and backward of each student. See `puna.train.objective.Objective`."""
        for name, model in models.items():
            check_same_ids(name, model, self.teacher)
        with torch.no_grad():
            teacher = Side(hidden_states(self.teacher, data.batch), self.teacher.text.head.weight)
        students = {name: Side(hidden_states(model, data.batch), model.text.head.weight) for name, model in models.items()}
        losses = codistillation_losses(students, teacher, data.targets, data.weights, self.rule, progress, self.z_loss)
        scored = (data.weights > 0).sum().clamp(min=1)
        logged: dict[str, Losses] = {}
        for name, loss in losses.items():
            (loss.total * data.share).backward()
            extra = {"divergence": loss.divergence_T.sum() / scored, "trust": loss.trust_T.sum() / scored}
            logged[name] = Losses(loss.total.detach(), loss.cross_entropy_T, extra)
        return logged


def check_same_ids(name: str, student: Model, teacher: Model) -> None:
    """Refuse a student whose configuration shows another tokenizer than the teacher's: another size, or other special ids."""
    check_same_vocabulary(name, student.config.vocab_size, teacher.config.vocab_size)
    for field in ("bos_id", "eos_ids", "patch_id", "image_start_id", "image_end_id"):
        ours, theirs = getattr(student.config, field), getattr(teacher.config, field)
        if ours != theirs:
            raise DistillError(
                f"student {name!r} has {field}={ours} and the teacher {theirs}: they were made for different tokenizers, "
                "so their ids mean different things; train both with one tokenizer"
            )
