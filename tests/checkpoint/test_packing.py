"""Integers of a file as packed layers: the same weights, the bytes of the file, and floats where the kernels can't follow.

Letters: T tokens, V vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from puna.checkpoint import INT8, CheckpointError, Mix, Scheme, load_model, open_model, save_model
from puna.checkpoint.shards import SINGLE_FILE
from puna.kernels.linear import dequantize
from puna.model import Batch, Model
from puna.model.packed import PackedExperts, PackedLinear, weight_bytes
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

WIDE = dict(width=64, expert_width=32, dense_width=96)  # rows in whole groups of 32


def saved(path: Path, storage: Scheme | Mix, wide: bool = True, vision: bool = False) -> Path:
    changes = dict(WIDE if wide else {}, **({} if vision else {"vision": None}))
    return save_model(tiny_model(tiny_config(**changes)), path, storage=storage)


def packed_layers(model: Model) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, (PackedLinear, PackedExperts))}


def logits(model: Model, ids: Sequence[int] = tuple(range(30))) -> Tensor:
    with torch.no_grad():
        return model.logits(model(Batch.from_streams([Stream(list(ids))])))


def floats_of(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """The parameters that a packed layer stands for, by name and in fp32."""
    if isinstance(layer, PackedLinear):
        return [("weight", dequantize(layer.packed))]
    assert isinstance(layer, PackedExperts)
    gate_up = torch.cat((dequantize(layer.gate), dequantize(layer.up)), dim=1)
    return [("w_gate_up", gate_up.transpose(1, 2)), ("w_down", dequantize(layer.down).transpose(1, 2))]


def unrounded(packed: Model, plain: Model) -> Model:
    """The plain model with the packed one's weights: integer times scale in fp32, of which the file's definition is the bf16 number."""
    parameters = dict(plain.named_parameters())
    with torch.no_grad():
        for name, layer in packed_layers(packed).items():
            for leaf, floats in floats_of(layer):
                parameters[f"{name}.{leaf}"].copy_(floats)
    return plain


def near(got: Tensor, expected: Tensor) -> bool:
    return bool(((got - expected).abs() <= 1e-4 * expected.abs().max()).all())


@pytest.mark.parametrize(
    ("scheme", "vision"), [(INT8, False), (INT8, True), (Scheme(8, 32), False), (Scheme(4), True), (Scheme(4, 32), False)], ids=str
)
def test_packed_weights_are_those_of_the_file(scheme: Scheme, vision: bool, tmp_path: Path) -> None:
    """Integer times scale, of which the bf16 model has the rounded product."""
    path = saved(tmp_path, scheme, vision=vision)
    packed, plain = load_model(path, "float32", packed=True), load_model(path, "float32")
    layers, expected = packed_layers(packed), dict(plain.named_parameters())
    text = {name for name, module in plain.text.named_modules() if isinstance(module, nn.Linear)}
    experts = {name for name, _ in plain.text.named_modules() if name.endswith(".experts")}
    assert layers.keys() == {f"text.{name}" for name in text | experts}
    for name, layer in layers.items():
        for leaf, floats in floats_of(layer):
            assert torch.equal(floats.bfloat16().float(), expected.pop(f"{name}.{leaf}"))
    rest = dict(packed.named_parameters())
    assert rest.keys() == expected.keys() and all(torch.equal(rest[name], expected[name]) for name in rest)
    assert not packed.training


@pytest.mark.parametrize("scheme", [INT8, Scheme(4, 32)], ids=str)
def test_they_take_the_bytes_that_they_take_in_the_file(scheme: Scheme, tmp_path: Path) -> None:
    """Rows here are whole panels and blocks: nothing is filled up."""
    path = saved(tmp_path, scheme)
    model = load_model(path, "bfloat16", packed=True)
    with open_model(path) as stored:
        words_and_scales = 0
        for name in stored.matrices:
            if name != "text.embed.weight":
                names = [part for matrix, _ in stored.matrices[name] for part in matrix.names[:2]]
                words_and_scales += sum(stored.files.tensors[part].num_bytes for part in names)
    floats = sum(parameter.nbytes for parameter in model.parameters())
    assert weight_bytes(model) - floats == words_and_scales


@pytest.mark.parametrize("scheme", [INT8, Scheme(8, 32), Scheme(4, 32)], ids=str)
def test_the_packed_model_answers_as_the_dequantized_one(scheme: Scheme, tmp_path: Path) -> None:
    """But for the rounding of each weight to bf16 there, which these keep whole."""
    path = saved(tmp_path, scheme)
    packed, plain = load_model(path, "float32", packed=True), load_model(path, "float32")
    got, expected = logits(packed), logits(plain)
    divergence = (expected.softmax(-1) * (expected.log_softmax(-1) - got.log_softmax(-1))).sum(-1)
    assert 0 < float(divergence.median()) < 1e-3  # at a token or two another expert wins by a hair
    assert near(got, logits(unrounded(packed, plain)))


def test_groups_that_the_kernels_do_not_know_stay_floats(tmp_path: Path) -> None:
    """Groups of 16 in rows of 32 or more; nothing is lost, some matrices take more memory."""
    path = saved(tmp_path, Scheme(8, 16))
    model = load_model(path, "float32", packed=True)
    assert not packed_layers(model)
    assert torch.equal(logits(model), logits(load_model(path, "float32")))


def test_each_matrix_goes_its_own_way(tmp_path: Path) -> None:
    """Experts in groups of 8 stay floats, rows of 24 in one group are packed, so are those of 32; the head is told by itself."""
    path = saved(tmp_path, Mix(experts=Scheme(4, 8), others=INT8, embedding=None, head=Scheme(4, 32)), wide=False)
    model = load_model(path, "float32", packed=True)
    layers = packed_layers(model)
    assert not any(isinstance(layer, PackedExperts) for layer in layers.values())
    head, down = layers["text.head"], layers["text.layers.1.feed_forward.shared.w_down"]
    assert isinstance(head, PackedLinear) and (head.packed.bits, head.packed.group) == (4, 32)
    assert isinstance(down, PackedLinear) and (down.packed.bits, down.packed.group) == (8, 24)
    assert near(logits(model), logits(unrounded(model, load_model(path, "float32"))))


def test_gate_up_and_down_are_packed_together_or_not_at_all(tmp_path: Path) -> None:
    """Groups of 24 are the whole row of `down`, and half a row of gate and up."""
    mix = Mix(experts=Scheme(8, 24), others=INT8, embedding=None, head=None)
    path = save_model(tiny_model(tiny_config(vision=None, width=48)), tmp_path, storage=mix)
    layers = packed_layers(load_model(path, "float32", packed=True))
    assert not any(isinstance(layer, PackedExperts) for layer in layers.values())
    assert isinstance(layers["text.layers.1.feed_forward.shared.w_down"], PackedLinear)


def edited(path: Path, module: str, value: int) -> None:
    """Put a value in the first place of a matrix of 8 bits."""
    tensors = load_file(path / SINGLE_FILE)
    words = tensors[f"{module}.weight_packed"]
    words.view(torch.uint8).view(words.shape[0], -1)[0, 0] = value + 128
    save_file(tensors, path / SINGLE_FILE)


@pytest.mark.parametrize("module", ["self_attn.q_proj", "feed_forward.experts.2.up_proj", "feed_forward.experts.1.down_proj"])
def test_the_smallest_integer_of_other_programs_is_read_as_floats(module: str, tmp_path: Path) -> None:
    """Ours run from -127; compressed-tensors writes -128, too, which no kernel takes: that tensor alone stays floats."""
    path = saved(tmp_path, INT8)
    edited(path, f"model.layers.1.{module}", -128)
    model, plain = load_model(path, "float32", packed=True), load_model(path, "float32")
    ours = "attention.wq" if "q_proj" in module else "feed_forward.experts"
    layers = packed_layers(model)
    assert f"text.layers.1.{ours}" not in layers and f"text.layers.3.{ours}" in layers
    assert near(logits(model), logits(unrounded(model, plain)))


def test_damaged_scales_are_refused_as_ever(tmp_path: Path) -> None:
    path = saved(tmp_path, INT8)
    tensors = load_file(path / SINGLE_FILE)
    tensors["model.layers.0.self_attn.q_proj.weight_scale"][0, 0] = float("nan")
    save_file(tensors, path / SINGLE_FILE)
    with pytest.raises(CheckpointError, match="q_proj.weight_scale holds a NaN"):
        load_model(path, "float32", packed=True)


def test_floats_of_a_file_stay_floats(tmp_path: Path) -> None:
    path = save_model(tiny_model(tiny_config(vision=None)), tmp_path, storage="bf16")
    assert not packed_layers(load_model(path, "bfloat16", packed=True))
