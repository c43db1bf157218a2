"""What a step asks of the models it trains: the seam between the loop and the mathematics of pretraining, distillation or tuning.

An `Objective` is called once a batch. It computes its losses, backpropagates them, and says what they were; clipping, updates, balancing
and the log are the loop's. It may train several models on the same batch, so that a teacher's forward is paid for once.

Letters: T tokens, D model width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor

from puna.kernels.precision import fast_dtype, training_precision
from puna.model import Batch, Model
from puna.model.loss import next_token_loss
from puna.train.packing import TrainingBatch


class Losses(NamedTuple):
    """What one batch cost one model, all detached.

    `total`: a number, what was differentiated. `cross_entropy_T`: per token `[T]`, 0 where not scored; the log sorts it by kind of row.
    `extra`: further numbers to log by name (means over the batch). Leave tensors on their device: the loop reads them when it logs.
    """

    total: Tensor
    cross_entropy_T: Tensor
    extra: Mapping[str, Tensor] = {}


class Objective(Protocol):
    """Computes and backpropagates one batch's losses; returns them by the models' names.

    `models` are in training mode, on the batch's device, and their gradients are added to. Each loss is multiplied by `data.share` before
    its backward: 1, or this batch's share of a step of several batches. `step` counts the run's steps, `progress` in [0, 1) is the share
    of the *stage* that is done, by steps or by the clock.
    """

    def __call__(self, models: Mapping[str, Model], data: TrainingBatch, step: int, progress: float) -> Mapping[str, Losses]: ...


@dataclass(frozen=True, slots=True)
class NextToken:
    """Next-token cross-entropy and z-loss, each model by itself: pretraining and supervised tuning."""

    z_loss: float = field(default=1e-4)

    def __call__(self, models: Mapping[str, Model], data: TrainingBatch, step: int, progress: float) -> Mapping[str, Losses]:
        return {name: self._one(model, data) for name, model in models.items()}

    def _one(self, model: Model, data: TrainingBatch) -> Losses:
        hidden_TD = hidden_states(model, data.batch)
        loss = next_token_loss(hidden_TD, model.text.head.weight, data.targets, data.weights, self.z_loss)
        (loss.total * data.share).backward()
        return Losses(loss.total.detach(), loss.cross_entropy_T)


def hidden_states(model: Model, batch: Batch) -> Tensor:
    """`[T, D]` in the machine's fast precision: what a head's chunked loss reads. Differentiable unless called under `no_grad`."""
    device = batch.token_ids.device.type
    with training_precision(device):
        return model(batch).to(fast_dtype(device))
