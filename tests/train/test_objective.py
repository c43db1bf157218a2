"""The seam between loop and losses: several models on one batch, and an objective of one's own."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from puna.kernels.precision import fast_dtype
from puna.model import Model
from puna.model.loss import next_token_loss
from puna.testing.models import tiny_config, tiny_model
from puna.testing.training import Alphabets, tiny_run
from puna.train import Losses, NextToken, Outcome, Run, Stage, train
from puna.train.objective import hidden_states
from puna.train.packing import TrainingBatch, pack

PAIR = {
    "scout": tiny_config(vision=None, num_layers=4, moe_layers=(1, 3), nope_layers=(3,), initializer_range=0.05),
    "maverick": tiny_config(vision=None, num_layers=2, num_experts=8, moe_layers=(1,), nope_layers=(), initializer_range=0.05),
}


def trained(run: Run, out: Path, resume: bool = False) -> Outcome:
    return train(run, out, resume=resume, console=Console(file=io.StringIO()))


def weights(model: Model) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


def same(one: Model, other: Model) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@dataclass
class Watched:
    """Next tokens, and what it was called with."""

    calls: list[tuple[int, float, int]] = field(default_factory=list)

    def __call__(self, models: Mapping[str, Model], data: TrainingBatch, step: int, progress: float) -> Mapping[str, Losses]:
        self.calls.append((step, progress, len(data.batch)))
        losses = NextToken()(models, data, step, progress)
        return {name: loss._replace(extra={"progress": torch.tensor(progress)}) for name, loss in losses.items()}


def test_models_side_by_side_learn_what_each_would_learn_alone(tmp_path: Path) -> None:
    both = trained(tiny_run(config=PAIR), tmp_path / "both")
    assert both.finished and list(both.models) == ["scout", "maverick"]
    for name, config in PAIR.items():
        alone = trained(tiny_run(config=config), tmp_path / name)
        assert same(alone.model, both.models[name])
    with pytest.raises(ValueError, match="too many values"):
        _ = both.model


def test_a_run_of_two_resumes_bit_for_bit_and_says_of_each_what_it_did(tmp_path: Path) -> None:
    whole = trained(tiny_run(config=PAIR), tmp_path / "whole")
    stages = tiny_run().stages
    short = tiny_run(config=PAIR, stages=(replace(stages[0], steps=5),))
    trained(short, tmp_path / "cut")
    resumed = trained(tiny_run(config=PAIR), tmp_path / "cut", resume=True)
    assert all(same(whole.models[name], resumed.models[name]) for name in PAIR)
    record = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])
    assert set(record["models"]) == set(PAIR)
    assert record["models"]["scout"]["loss"] != record["models"]["maverick"]["loss"]


def test_an_objective_hears_of_step_and_progress_and_its_numbers_are_logged(tmp_path: Path) -> None:
    objective = Watched()
    trained(tiny_run(objective=objective), tmp_path)
    assert objective.calls == [(step, pytest.approx(step / 6 if step < 6 else (step - 6) / 2), 64) for step in range(8)]
    record = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert record["progress"] == 0.5


def test_a_stage_may_have_an_objective_of_its_own(tmp_path: Path) -> None:
    objective = Watched()
    stages = (
        Stage(name="plain", steps=3, source=Alphabets()),
        Stage(name="watched", steps=2, source=Alphabets(), objective=objective),
    )
    trained(tiny_run(stages=stages), tmp_path)
    assert [step for step, _, _ in objective.calls] == [3, 4]


def test_preparing_gets_every_model(tmp_path: Path) -> None:
    seen: list[tuple[Model, ...]] = []
    outcome = trained(tiny_run(config=PAIR, prepare=lambda *models: seen.append(models)), tmp_path)
    assert seen == [tuple(outcome.models.values())]


def test_a_share_scales_the_gradient_and_not_the_reported_loss() -> None:
    data = pack(Alphabets(), 0, 0, 64)
    gradients, totals = [], []
    for share in (1.0, 0.25):
        model = tiny_model(tiny_config(vision=None))
        losses = NextToken(z_loss=1e-3)({"tiny": model}, replace(data, share=share), 0, 0.0)["tiny"]
        totals.append(losses.total)
        assert model.text.embed.weight.grad is not None
        gradients.append(model.text.embed.weight.grad)
    torch.testing.assert_close(gradients[0] * 0.25, gradients[1], rtol=1e-3, atol=1e-6)
    assert torch.equal(*totals)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_training_computes_in_bf16_where_the_machine_has_products_in_it(has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without, torch's bf16 products on a CPU are scalar code: a hundred times slower than fp32."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bf16)
    fast_dtype.cache_clear()
    try:
        check_hidden_states(torch.bfloat16 if has_bf16 else torch.float32)
    finally:
        fast_dtype.cache_clear()


def check_hidden_states(dtype: torch.dtype) -> None:
    model = tiny_model(tiny_config(vision=None))
    data = pack(Alphabets(), 0, 0, 64)
    hidden = hidden_states(model, data.batch)
    assert hidden.dtype == dtype and hidden.shape == (64, model.config.width)
    loss = next_token_loss(hidden, model.text.head.weight, data.targets, data.weights, 0.0)
    assert torch.equal(loss.total.detach(), NextToken(z_loss=0.0)({"tiny": model}, data, 0, 0.0)["tiny"].total)
