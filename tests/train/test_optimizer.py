import pytest
import torch
from torch import nn

from puna.testing.models import tiny_model
from puna.train.optimizer import Muon, build_optimizers, is_matrix, orthogonalize


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", [(32, 32), (16, 64), (64, 16), (4, 24, 48), (4, 48, 24), (2, 3, 16, 16), (192, 256), (1, 8)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_singular_values_come_near_one(shape: tuple[int, ...], size: float) -> None:
    out = orthogonalize(size * randn(*shape))
    assert out.shape == shape and out.dtype == torch.float32
    values = torch.linalg.svdvals(out)
    assert 0.5 < float(values.min()) and float(values.max()) < 1.3


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_the_result_points_where_the_nearest_orthogonal_matrix_does(shape: tuple[int, int]) -> None:
    x = randn(*shape)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    nearest, out = u @ v, orthogonalize(x)
    assert float((nearest * out).sum() / (nearest.norm() * out.norm())) > 0.97


def test_experts_are_orthogonalised_one_by_one() -> None:
    x = randn(3, 16, 32)
    x[1] *= 1000
    together = orthogonalize(x)
    for i in range(3):
        torch.testing.assert_close(together[i], orthogonalize(x[i]), atol=0.02, rtol=0.02)


def test_nothing_stays_nothing() -> None:
    assert not orthogonalize(torch.zeros(4, 8, 8)).any()


def test_a_first_muon_step_by_hand() -> None:
    parameter = nn.Parameter(randn(8, 16))
    before, gradient = parameter.detach().clone(), randn(16, 8).T.contiguous()
    parameter.grad = gradient.clone()
    Muon([parameter], lr=0.1, weight_decay=0.5).step()
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 4 * orthogonalize(gradient)
    torch.testing.assert_close(parameter.detach(), expected, atol=2e-3, rtol=0)
    update = (before * 0.95 - parameter.detach()) / 0.1
    assert 0.1 < float(update.square().mean().sqrt()) < 0.25  # near AdamW's 0.2, whatever the shape


def test_momentum_carries_an_old_gradient_on() -> None:
    parameter = nn.Parameter(torch.zeros(8, 8))
    muon = Muon([parameter], lr=0.1)
    parameter.grad = 100 * torch.eye(8)
    muon.step()
    moved = parameter.detach().clone()
    parameter.grad = torch.zeros(8, 8)
    muon.step()
    assert ((parameter.detach() - moved).diagonal() < -0.01).all()


def test_a_parameter_without_gradient_is_left_alone() -> None:
    parameter = nn.Parameter(randn(8, 8))
    before = parameter.detach().clone()
    Muon([parameter], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(parameter.detach(), before)


def test_every_parameter_belongs_to_exactly_one_group() -> None:
    model = tiny_model()
    grouped = [parameter for opt in build_optimizers(model, 1e-2, 0.1) for group in opt.param_groups for parameter in group["params"]]
    assert len(grouped) == len({id(parameter) for parameter in grouped}) == len(list(model.parameters()))
    assert {id(parameter) for parameter in grouped} == {id(parameter) for parameter in model.parameters()}


def test_muon_takes_the_hidden_matrices_and_nothing_else() -> None:
    model = tiny_model()
    hidden = ("wq", "wk", "wv", "wo", "w_gate", "w_up", "w_down", "w_gate_up", "fc1", "fc2", "projector")
    for name, parameter in model.named_parameters():
        leaf = name.removesuffix(".weight").rsplit(".", 1)[-1]
        assert is_matrix(name, parameter) == (leaf in hidden), name
    muon, _ = build_optimizers(model, 1e-2, 0.1)
    taken = {id(parameter) for group in muon.param_groups for parameter in group["params"]}
    assert taken == {id(parameter) for name, parameter in model.named_parameters() if is_matrix(name, parameter)}


def test_routers_learn_slower_and_only_muon_decays() -> None:
    model = tiny_model()
    muon, adamw = build_optimizers(model, 1e-2, 0.1)
    others, slow = adamw.param_groups
    assert (muon.param_groups[0]["peak_lr"], others["peak_lr"], slow["peak_lr"]) == (1e-2, 1e-2, 2.5e-3)
    assert {id(parameter) for parameter in slow["params"]} == {id(p) for name, p in model.named_parameters() if "router" in name}
    assert muon.param_groups[0]["weight_decay"] == 0.1 and others["weight_decay"] == slow["weight_decay"] == 0


def test_a_dense_model_has_no_group_of_routers() -> None:
    from puna.testing.models import tiny_config

    dense = tiny_model(tiny_config(num_experts=0, moe_layers=()))
    _, adamw = build_optimizers(dense, 1e-2, 0.0)
    assert len(adamw.param_groups) == 1
