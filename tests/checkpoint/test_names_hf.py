import pytest
import torch

from puna.checkpoint import CheckpointError
from puna.checkpoint.names_hf import TEXT_NAMES, VISION_NAMES, to_hf_name
from puna.model import Model
from puna.presets import preset
from puna.testing.hf_models import hf_text_model, hf_vision_model
from puna.testing.models import tiny_config


def test_no_name_stands_twice_on_either_side() -> None:
    for column in zip(*(TEXT_NAMES + VISION_NAMES), strict=True):
        assert len(set(column)) == len(column)


@pytest.mark.parametrize("name", ["scout", "maverick", "guard"])
def test_every_tensor_of_the_releases_has_a_name_of_its_own(name: str) -> None:
    with torch.device("meta"):
        names = list(Model(preset(name)).state_dict())
    theirs = [to_hf_name(n, text_only=False) for n in names]
    assert len(set(theirs)) == len(names)


@pytest.mark.parametrize("text_only", [True, False])
def test_the_names_are_those_of_transformers(text_only: bool) -> None:
    hf = hf_text_model(interleave_moe_layer_step=2) if text_only else hf_vision_model(interleave_moe_layer_step=2)
    with torch.device("meta"):
        model = Model(tiny_config(vision=None) if text_only else tiny_config())  # 8 layers as theirs; 2 layers of vision, theirs 3
    ours = {to_hf_name(n, text_only=text_only) for n in model.state_dict()}
    assert ours == {n for n in hf.state_dict() if not n.startswith("vision_model.model.layers.2.")}


def test_layout_examples_of_the_release() -> None:
    assert to_hf_name("text.head.weight", text_only=False) == "language_model.lm_head.weight"
    assert (
        to_hf_name("text.layers.47.feed_forward.experts.w_gate_up", text_only=False)
        == "language_model.model.layers.47.feed_forward.experts.gate_up_proj"
    )
    assert to_hf_name("projector.weight", text_only=False) == "multi_modal_projector.linear_1.weight"
    assert to_hf_name("vision.layers.0.attention.wo.bias", text_only=False) == "vision_model.model.layers.0.self_attn.o_proj.bias"


def test_forms_are_not_mixed() -> None:
    assert to_hf_name("text.norm.weight", text_only=True) == "model.norm.weight"
    with pytest.raises(CheckpointError, match="vision.class_embedding has no Hugging Face name in the text-only form"):
        to_hf_name("vision.class_embedding", text_only=True)


def test_an_unknown_tensor_of_ours_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="text.layers.0.attention.wz.weight"):
        to_hf_name("text.layers.0.attention.wz.weight", text_only=False)
