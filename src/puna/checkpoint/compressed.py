"""Integers in a Hugging Face directory, as the compressed-tensors format lays them out: names, shapes and `quantization_config`.

Of a quantised matrix `x.weight` [O, I] the file holds `x.weight_packed` (words int32), `x.weight_scale` [O, G] and `x.weight_shape`.
Routed experts, one tensor for all of them in the bf16 form, are matrices of their own here: `experts.3.gate_proj`, `up_proj` and
`down_proj`, output-major as every linear layer's. The format is called "pack-quantized". [ct]

Integers: linear layers and, unless a `Mix` says otherwise, embedding and head. Floats: the routers and the patch embedding, whose few
weights decide much, norms, biases and the vision tower's tables. [ours]

One directory may mix schemes. transformers (5.23) has two ways to read integers: told to "dequantize", it undoes all of Llama 4's modules
by the one scheme; else it takes each module by its own, but no embedding in integers. [hf] So one scheme is written for the first way
and several for the second, in which products are rounded to the model's dtype: the weights are ours if that is bf16.

Letters: O outputs, I inputs, G groups of a row, E experts, D model width, F feed-forward width.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from puna.checkpoint.errors import CheckpointError
from puna.checkpoint.fields import Fields
from puna.checkpoint.quantized import BITS, Quantized, Scheme, pack, unpack

FORMAT = "pack-quantized"
_METHOD = "compressed-tensors"
_FLOATS = (".router.", ".patch_embed.")  # parts of our names
_FLOATS_HF = ["re:.*\\.router$", "re:.*\\.patch_embedding\\..*"]  # the same for compressed-tensors, which matches names of modules
_TARGETS = ["Linear", "Embedding"]
_ROUTED, _EMBEDDING, _HEAD = r".*\.experts\.\d+\..*", r"(.*\.)?embed_tokens$", r"(.*\.)?lm_head$"

# How the integers were found, or how a program may compute with them: they say nothing about what the weights are.
_BOOKKEEPING = frozenset(
    "dequantize quantization_status global_compression_ratio ignore version observer observer_kwargs scale_dtype zp_dtype".split()
)


@dataclass(frozen=True, slots=True)
class Mix:
    """Which matrices become integers, and how: the routed experts, embedding, head, and all others. None: floats."""

    experts: Scheme
    others: Scheme | None
    embedding: Scheme | None
    head: Scheme | None

    @classmethod
    def of_one(cls, scheme: Scheme) -> "Mix":
        return cls(scheme, scheme, scheme, scheme)

    @property
    def parts(self) -> tuple[tuple[str, Scheme | None], ...]:
        """Patterns of the modules that are named by themselves, and how they are stored."""
        return (_ROUTED, self.experts), (_EMBEDDING, self.embedding), (_HEAD, self.head)

    def of(self, module: str) -> Scheme | None:
        """How a module of the file is stored; None for floats."""
        return next((scheme for pattern, scheme in self.parts if re.fullmatch(pattern, module)), self.others)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        return tuple(dict.fromkeys(scheme for _, scheme in (*self.parts, ("", self.others)) if scheme is not None))

    @property
    def loads_in_transformers(self) -> bool:
        """Without a conversion: not an embedding in integers where there are several schemes (5.23)."""
        return len(self.schemes) == 1 or self.embedding is None


class Matrix(NamedTuple):
    """A matrix of the file. `view` finds it in our tensor: [O, I], sharing memory."""

    module: str
    shape: tuple[int, int]
    view: Callable[[Tensor], Tensor]

    @property
    def names(self) -> tuple[str, str, str]:
        """Words, scales and shape in the file."""
        return f"{self.module}.weight_packed", f"{self.module}.weight_scale", f"{self.module}.weight_shape"

    def stored(self, scheme: Scheme) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """The same with shapes and the dtypes in which they are written."""
        rows, columns = self.shape
        try:
            groups = scheme.num_groups(columns)
        except CheckpointError as error:
            raise CheckpointError(f"{self.module}: {error}") from error
        kinds = ((rows, -(-columns * scheme.bits // 32)), torch.int32), ((rows, groups), torch.bfloat16), ((2,), torch.int64)
        return dict(zip(self.names, kinds, strict=True))


def matrices(name: str, hf_name: str, shape: tuple[int, ...]) -> list[Matrix]:
    """The matrices that our tensor `name` becomes in the file; none if it stays in floats.

    >>> [m.module for m in matrices("text.layers.0.feed_forward.experts.w_down", "layers.0.experts.down_proj", (2, 24, 32))]
    ['layers.0.experts.0.down_proj', 'layers.0.experts.1.down_proj']
    """
    if any(part in name for part in _FLOATS):
        return []
    if len(shape) == 3:
        return list(_experts(hf_name, shape))
    if len(shape) == 2 and name.endswith(".weight"):
        return [Matrix(hf_name.removesuffix(".weight"), (shape[0], shape[1]), lambda whole: whole)]
    return []


def _experts(hf_name: str, shape: tuple[int, ...]) -> Iterator[Matrix]:
    """Ours are input-major: gate and up side by side [E, D, 2F], down [E, F, D]."""
    experts, _, leaf = hf_name.rpartition(".")
    num_experts, inputs, outputs = shape
    names = ("gate_proj", "up_proj") if leaf == "gate_up_proj" else (leaf,)
    rows = outputs // len(names)
    for expert in range(num_experts):
        for place, projection in enumerate(names):
            cut = slice(place * rows, (place + 1) * rows)
            yield Matrix(
                f"{experts}.{expert}.{projection}",
                (rows, inputs),
                lambda whole, expert=expert, cut=cut: whole[expert, :, cut].T,
            )


def packed(matrix: Matrix, quantized: Quantized, scheme: Scheme) -> dict[str, Tensor]:
    """The tensors of the file, by name."""
    tensors = pack(quantized.values, scheme.bits), quantized.scales, torch.tensor(matrix.shape)
    return dict(zip(matrix.names, tensors, strict=True))


def unpacked(matrix: Matrix, scheme: Scheme, load: Callable[[str], Tensor]) -> Quantized:
    """Integers [O, I] and scales out of the file's tensors, whose shapes and kinds are known to be right; values are checked here."""
    words, scales_OG, shape = (load(name) for name in matrix.names)
    if tuple(shape.tolist()) != matrix.shape:
        raise CheckpointError(f"{matrix.module}.weight_shape says {shape.tolist()}; the config asks for {list(matrix.shape)}")
    if not bool((scales_OG.isfinite() & (scales_OG >= 0)).all()):
        raise CheckpointError(f"{matrix.module}.weight_scale holds a NaN, an infinity or a negative number; the file is damaged")
    return Quantized(unpack(words, scheme.bits, matrix.shape[1]), scales_OG)


def mix_to_hf(mix: Mix) -> dict[str, Any]:
    """The `quantization_config` of a directory whose matrices are stored by `mix`."""
    named = [(f"re:{pattern}", scheme) for pattern, scheme in mix.parts if scheme != mix.others]
    floats = [*_FLOATS_HF, *(pattern for pattern, scheme in named if scheme is None)]
    # Modules that are named by themselves come first: some programs take the first group that matches, others the most exact.
    targets: dict[Scheme, list[str]] = {}
    for pattern, scheme in [*named, *((target, mix.others) for target in _TARGETS)]:
        if scheme is not None:
            targets.setdefault(scheme, []).append(pattern)
    groups = [_group_to_hf(names, scheme) for scheme, names in targets.items()]
    return {
        "quant_method": _METHOD,
        "format": FORMAT,
        "quantization_status": "compressed",
        **({"dequantize": True} if len(groups) == 1 else {}),
        "config_groups": {f"group_{i}": group for i, group in enumerate(groups)},
        "ignore": floats,
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }


def _group_to_hf(targets: list[str], scheme: Scheme) -> dict[str, Any]:
    weights = {"num_bits": scheme.bits, "type": "int", "symmetric": True, "dynamic": False}
    weights |= {"strategy": "channel" if scheme.group is None else "group", "group_size": scheme.group}
    return {"targets": targets, "weights": weights, "input_activations": None, "output_activations": None, "format": FORMAT}


def schemes_from_hf(config: Mapping[str, Any]) -> tuple[Scheme, ...]:
    """The schemes that a parsed `config.json` states; none if its weights are floats. Schemes that Puna cannot undo are refused by name.

    Which modules each covers is read from the shapes of the tensors themselves, so `targets` and `ignore` are not used.
    """
    if config.get("quantization_config") is None:
        return ()
    top = Fields("quantization_config", config["quantization_config"], _BOOKKEEPING)
    if top.get("quant_method") != _METHOD:
        raise top.error("quant_method", f"Puna reads integers of {_METHOD!r} only: take that form or the bfloat16 release")
    top.only("format", (FORMAT,), f"Puna reads {FORMAT!r} only: take that form or the bfloat16 release")
    top.only("kv_cache_scheme", (), "Puna keeps the cache as the model computes it")
    for other in ("sparsity_config", "transform_config", "moe_sparsity_config"):
        top.only(other, ({},), "weights must be nothing but quantised")
    groups = top.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        raise top.error("config_groups", "it must be an object with at least one group of quantised matrices")
    schemes = [_group_from_hf(Fields(top.label(f"config_groups.{name}"), group)) for name, group in groups.items()]
    top.finish()
    return tuple(dict.fromkeys(schemes))


def scheme_of(matrix: Matrix, schemes: Sequence[Scheme], found: Mapping[str, tuple[int, ...]]) -> Scheme:
    """By which of the schemes a matrix is stored: the one whose shapes the file has, or else the first, against which it is then judged."""

    def fits(scheme: Scheme) -> bool:
        if matrix.shape[1] % (scheme.group or 1):
            return False
        return all(found.get(name, shape) == shape for name, (shape, _) in matrix.stored(scheme).items())

    return next((scheme for scheme in schemes if fits(scheme)), schemes[0])


def _group_from_hf(group: Fields) -> Scheme:
    group.get("targets")
    group.only("format", (FORMAT,), f"Puna reads {FORMAT!r} only")
    for activations in ("input_activations", "output_activations"):
        group.only(activations, (), "activations are computed as they are; take a form in which only weights are quantised")
    scheme = _weights(Fields(group.label("weights"), group.get("weights"), _BOOKKEEPING))
    group.finish()
    return scheme


def _weights(weights: Fields) -> Scheme:
    weights.only("type", ("int",), "only integers are read")
    weights.only("symmetric", (True,), "integers with a zero point are not read")
    weights.only("dynamic", (False,), "stored weights are static")
    weights.only("actorder", ("weight", "static"), "columns in another order are not read")
    weights.only("block_structure", (), "scales of blocks are not read")
    bits, size = weights.whole("num_bits", 8), weights.get("group_size", None)
    if bits not in BITS:
        raise weights.error("num_bits", f"integers of {' or '.join(map(str, BITS))} bits are read")
    strategy = weights.get("strategy", None) or ("channel" if size == -1 else "group")
    if strategy not in ("channel", "group"):
        raise weights.error("strategy", "scales must be per 'channel' or per 'group'")
    group = weights.whole("group_size", least=1) if strategy == "group" else None
    weights.finish()
    return Scheme(bits, group)
