"""What each part of a model takes in a directory: parameters, bytes, and how far its integers are from the weights that they came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from puna.checkpoint.compressed import matrices
from puna.checkpoint.names_hf import to_hf_name
from puna.checkpoint.stored import StoredModel

# Parts of our names, the first that is found decides.
_PARTS = (
    ("text.embed.", "embedding"),
    ("text.head.", "head"),
    (".experts.", "routed experts"),
    (".shared.", "shared experts"),
    ("text.", "dense feed-forward"),
)
FLOATS = "routers, norms, tables"


@dataclass(slots=True)
class Part:
    """One kind of weights. `kinds`: how they are stored, "int4 / 32" with a scale for 32 weights. `errors`: relative error of each
    matrix that became integers, by its module in the file.
    """

    name: str
    kinds: dict[str, None] = field(default_factory=dict)
    parameters: int = 0
    quantised: int = 0
    num_bytes: int = 0
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def bits_per_weight(self) -> float:
        """With scales and shapes."""
        return 8 * self.num_bytes / self.parameters

    @property
    def mean_error(self) -> float | None:
        return sum(self.errors.values()) / len(self.errors) if self.errors else None


def part_of(name: str, shape: tuple[int, ...]) -> str:
    """The kind of a tensor of ours, by its name.

    >>> part_of("text.layers.0.feed_forward.experts.w_down", (2, 24, 32))
    'routed experts'
    """
    if not matrices(name, "-.-", shape):
        return FLOATS
    if ".attention." in name and name.startswith("text."):
        return "attention"
    return next((part for word, part in _PARTS if word in name), "vision, projector")


def tally(stored: StoredModel, errors: Mapping[str, float]) -> list[Part]:
    """The parts of an open directory, in the model's order; `errors` as `convert_model` returns them."""
    parts: dict[str, Part] = {}
    text_only = stored.config.vision is None
    for name, shape in stored.shapes.items():
        title = part_of(name, shape)
        part = parts.setdefault(title, Part(title))
        part.parameters += torch.Size(shape).numel()
        for matrix, scheme in stored.matrices.get(name, ()):
            part.kinds[f"int{scheme.bits} / {scheme.group or 'row'}"] = None
            part.quantised += torch.Size(matrix.shape).numel()
            part.num_bytes += sum(stored.files.tensors[each].num_bytes for each in matrix.names)
            if matrix.module in errors:
                part.errors[matrix.module] = errors[matrix.module]
        if name not in stored.matrices:
            info = stored.files.tensors[to_hf_name(name, text_only=text_only)]
            part.kinds[info.kind.lower()] = None
            part.num_bytes += info.num_bytes
    return list(parts.values())
