"""From integers in a file to the layers that compute with them, without floats between."""

import torch
from torch import nn

from puna.checkpoint.stored import StoredModel
from puna.kernels.linear import PackedWeight, pack_int4, pack_int8
from puna.kernels.linear.packed import BLOCK
from puna.model import Model
from puna.model.packed import PackedExperts, PackedLinear


def pack_decoder(model: Model, stored: StoredModel) -> frozenset[str]:
    """Put packed layers in the places of the text decoder's whose weights are stored as integers; the names of what they took.

    Left alone: embedding and vision tower, which are looked up or seldom used, and matrices whose groups the kernels do not know, or an
    8-bit weight of theirs (-128, which other programs write).
    """
    taken: set[str] = set()
    for name in stored.matrices:
        owner, _, leaf = name.rpartition(".")
        if not name.startswith("text.") or not _suits(stored, name):
            continue
        module = model.get_submodule(owner)
        if leaf == "weight" and isinstance(module, nn.Linear):
            if packed := _packed(stored, name, 1):
                _replace(model, owner, PackedLinear(*packed))
                taken.add(name)
        elif leaf == "w_gate_up" and _suits(stored, down := f"{owner}.w_down"):
            sides = _packed(stored, name, 2), _packed(stored, down, 1)
            if all(sides):
                _replace(model, owner, PackedExperts(*sides[0], *sides[1]))
                taken |= {name, down}
    return frozenset(taken)


def _suits(stored: StoredModel, name: str) -> bool:
    found = stored.matrices.get(name, ())
    one_scheme = len({scheme for _, scheme in found}) == 1
    return one_scheme and all(
        scheme.group is None or scheme.group in (matrix.shape[1],) or scheme.group % BLOCK == 0 for matrix, scheme in found
    )


def _packed(stored: StoredModel, name: str, sides: int) -> list[PackedWeight]:
    """A linear layer's matrix; or experts', of which each has `sides` (gate and up) that follow each other in the file's order. None of
    them if there is a weight of -128.
    """
    matrices, is_linear = stored.matrices[name], len(stored.shapes[name]) == 2
    pack = pack_int8 if matrices[0][1].bits == 8 else pack_int4
    integers = list(stored.read_integers(name))
    if pack is pack_int8 and any(int(each.values.min()) == -128 for each in integers):
        return []
    if is_linear:
        return [pack(integers[0].values, integers[0].scales)]
    sets = [integers[side::sides] for side in range(sides)]
    return [pack(torch.stack([each.values for each in one]), torch.stack([each.scales for each in one])) for one in sets]


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, module)
