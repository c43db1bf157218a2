"""Beginning from another model's weights: what must stay equal does, what cannot stays near, what does not fit is refused."""

import pytest
import torch

from puna.config import every_nth_layer
from puna.model import Batch, Model
from puna.model.experts import MoE
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model
from puna.train.inherit import InheritError, inherit

EVERY = every_nth_layer(1, 8)


def sample() -> Batch:
    generator = torch.Generator().manual_seed(3)
    return Batch.from_streams([Stream(torch.randint(0, 256, (length,), generator=generator).numpy()) for length in (40, 7, 1)])


@torch.no_grad()
def logits(model: Model) -> torch.Tensor:
    return model.logits(model(sample()))


def inherited(given: Model, **changes: object) -> Model:
    model = tiny_model(tiny_config(**changes), seed=9)
    inherit(model, given, sample())
    return model


def test_the_same_shape_is_the_same_model() -> None:
    given = tiny_model()
    model = inherited(given)
    torch.testing.assert_close(logits(model), logits(given), rtol=0, atol=0)
    for name, tensor in model.state_dict().items():  # what the sample does not reach, the tower above all, too
        assert torch.equal(tensor, given.state_dict()[name]), name


def test_a_tower_is_carried_over_whole_whatever_the_decoder_is_like() -> None:
    given = tiny_model(tiny_config(moe_layers=EVERY))
    model = inherited(given, moe_layers=EVERY, num_experts=10)
    tiles = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.embed_tiles(tiles), given.embed_tiles(tiles))


def test_twins_of_experts_compute_what_the_experts_did() -> None:
    given = tiny_model(tiny_config(moe_layers=EVERY))
    model = inherited(given, moe_layers=EVERY, num_experts=10)  # not a multiple of four
    before, after = logits(given), logits(model)
    # Twins differ in the router by a fiftieth, so scores and seldom choices do.
    assert float((after - before).norm() / before.norm()) < 0.1
    router = model.text.layers[0].feed_forward.router
    assert len(torch.unique(router.weight, dim=0)) == 10


def test_a_dense_layer_gets_the_shared_and_the_busiest_experts() -> None:
    given = tiny_model(tiny_config(moe_layers=EVERY, num_experts=2))
    for layer in given.text.layers:
        assert isinstance(layer.feed_forward, MoE)
        with torch.no_grad():  # all choose the first expert, with one score: then the dense layer is exactly the MoE layer
            layer.feed_forward.router.weight.zero_()
    torch.testing.assert_close(logits(inherited(given, moe_layers=(), num_experts=0)), logits(given), rtol=1e-4, atol=1e-4)


def test_without_norm_queries_and_keys_have_the_size_that_the_norm_gave_them() -> None:
    given = tiny_model(tiny_config(moe_layers=EVERY))
    model = inherited(given, moe_layers=EVERY, qk_norm=False)
    seen = []
    model.text.layers[0].attention_norm.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        model(sample())
        for projection in (model.text.layers[0].attention.wq, model.text.layers[0].attention.wk):
            heads = projection(seen[0]).unflatten(-1, (-1, model.config.head_width))
            torch.testing.assert_close(heads.square().mean((0, 2)), torch.ones(heads.shape[1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 40}, "tiny has width=32, tiny 40: its weights cannot be carried over"),
        ({"moe_layers": EVERY}, "an MoE layer cannot begin from a dense one"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InheritError, match=message):
        inherited(tiny_model(tiny_config(moe_layers=(), num_experts=0)), **changes)
