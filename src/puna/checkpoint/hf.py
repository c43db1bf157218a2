"""A model from a Hugging Face directory, and a Hugging Face directory from a model or from another directory.

Weights are kept as floats or as integers (`storage`); `stored.py` reads both. Knows nothing of training state.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from puna.checkpoint.compressed import Matrix, Mix, matrices, mix_to_hf, packed
from puna.checkpoint.config_hf import config_to_hf
from puna.checkpoint.errors import CheckpointError
from puna.checkpoint.names_hf import to_hf_name
from puna.checkpoint.packing import pack_decoder
from puna.checkpoint.processor_hf import generation_config, processor_configs
from puna.checkpoint.quantized import INT8, Scheme, quantize, relative_error
from puna.checkpoint.shards import Planned, write_json, write_shards
from puna.checkpoint.stored import FLOATS, open_model
from puna.config import ModelConfig
from puna.model import Model

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
STORAGES = (*FLOATS, "int8")
MAX_SHARD_BYTES = 5_000_000_000


class SavesAsHF(Protocol):
    """A tokenizer that can write its own files (`puna.tokens.bpe.Tokenizer`)."""

    def save_hf(self, directory: Path) -> object: ...


class Written(NamedTuple):
    """A directory that was written. `errors`: of each matrix that became integers, by its name in the file, |w - w'| / |w|."""

    directory: Path
    errors: dict[str, float]


def load_model(path: str | Path, dtype: torch.dtype | str, device: torch.device | str = "cpu", packed: bool = False) -> Model:
    """The model of a Hugging Face directory, in evaluation mode.

    On a CPU, weights already stored in `dtype` stay backed by the mapped file; others are converted one at a time. Integers become the
    bf16 weights that they stand for, and then `dtype`; with `packed` those of the text decoder stay integers (`puna.model.packed`): for
    inference on a CPU with native kernels.
    """
    wanted = _dtype(dtype)
    with open_model(path) as stored:
        with torch.device("meta"):
            model = Model(stored.config)
        kept = pack_decoder(model, stored) if packed else frozenset()
        state = {name: stored.read(name).to(device=device, dtype=wanted) for name in stored.shapes if name not in kept}
    model.load_state_dict(state, strict=True, assign=True)
    _materialise_buffers(model, device)
    return model.eval()


def save_model(
    model: Model,
    directory: str | Path,
    tokenizer: SavesAsHF | None = None,
    storage: str | Scheme | Mix = "bf16",
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Write `model` as a Hugging Face directory; returns the directory.

    storage: "bf16", "fp16" or "fp32", which `transformers` loads unchanged; "int8", a quarter of fp32, which it loads where
    compressed-tensors is installed; or any `Scheme` or `Mix` of them. Integers are made from the model's own weights, whatever their dtype.
    """
    chosen = _storage(storage)
    _refuse_steered_routers(model)
    state = model.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    return _write(Path(directory), model.config, shapes, state.__getitem__, tokenizer, chosen, max_shard_bytes).directory


def convert_model(
    source: str | Path,
    directory: str | Path,
    tokenizer: SavesAsHF | None = None,
    storage: str | Scheme | Mix = "bf16",
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Callable[[int, int], object] | None = None,
) -> Written:
    """Write the model in `source` again, stored in another way, tensor by tensor: no more than the largest is ever in memory.

    progress: called with the bytes written so far and those of all.
    """
    chosen = _storage(storage)
    with open_model(source) as stored:
        return _write(Path(directory), stored.config, stored.shapes, stored.read, tokenizer, chosen, max_shard_bytes, progress)


def _write(
    target: Path,
    config: ModelConfig,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Tensor],
    tokenizer: SavesAsHF | None,
    storage: torch.dtype | Mix,
    max_shard_bytes: int,
    progress: Callable[[int, int], object] | None = None,
) -> Written:
    mix = storage if isinstance(storage, Mix) else None
    dtype = storage if isinstance(storage, torch.dtype) else torch.bfloat16
    errors: dict[str, float] = {}
    plan = []
    for name, shape in shapes.items():
        theirs = to_hf_name(name, text_only=config.vision is None)
        found = [(matrix, mix.of(matrix.module)) for matrix in matrices(name, theirs, shape)] if mix is not None else []
        integers = [(matrix, scheme) for matrix, scheme in found if scheme is not None]  # all of a tensor's matrices, or none
        if integers:
            tensors = {k: kind for matrix, scheme in integers for k, kind in matrix.stored(scheme).items()}
            plan.append(Planned(tensors, partial(_as_integers, read, name, integers, errors)))
        else:
            plan.append(Planned({theirs: (shape, dtype)}, partial(_as_floats, read, name, theirs, dtype)))

    hf = config_to_hf(config)
    hf["torch_dtype"] = next(word for word, kind in _DTYPES.items() if kind == dtype)  # the spelling that all versions of transformers read
    if mix is not None:
        hf["quantization_config"] = mix_to_hf(mix)
    target.mkdir(parents=True, exist_ok=True)
    write_shards(target, plan, max_shard_bytes, progress)
    write_json(target / "config.json", hf)
    write_json(target / "generation_config.json", generation_config(config))
    for file, content in processor_configs(config).items():
        write_json(target / file, content)
    if tokenizer is not None:
        tokenizer.save_hf(target)
    return Written(target, errors)


def _as_floats(read: Callable[[str], Tensor], name: str, theirs: str, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    yield theirs, read(name).to(dtype)


def _as_integers(
    read: Callable[[str], Tensor], name: str, integers: list[tuple[Matrix, Scheme]], errors: dict[str, float]
) -> Iterator[tuple[str, Tensor]]:
    whole = read(name)
    for matrix, scheme in integers:
        weight_OI = matrix.view(whole).detach().cpu()
        try:
            quantized = quantize(weight_OI, scheme)
        except CheckpointError as error:
            raise CheckpointError(f"{matrix.module}.weight cannot be stored as {scheme}: {error}") from error
        errors[matrix.module] = relative_error(weight_OI, quantized)
        yield from packed(matrix, quantized, scheme).items()


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    found = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in _DTYPES.values():
        raise CheckpointError(f"dtype={dtype!r}: weights are computed in one of {', '.join(_DTYPES)}")
    return found


def _storage(storage: str | Scheme | Mix) -> torch.dtype | Mix:
    if isinstance(storage, Scheme):
        return Mix.of_one(storage)
    if isinstance(storage, Mix):
        return storage
    if storage not in STORAGES:
        raise CheckpointError(f"storage={storage!r}: weights are stored as one of {', '.join(STORAGES)}")
    return Mix.of_one(INT8) if storage == "int8" else FLOATS[storage]


def _materialise_buffers(model: nn.Module, device: torch.device | str) -> None:
    """Buffers outside the checkpoint, left without memory by the meta device. There is one kind: the routers' balance bias, zero."""
    for name, buffer in list(model.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        assert leaf == "balance_bias", f"no rule gives the value of buffer {name}"
        setattr(model.get_submodule(owner), leaf, torch.zeros_like(buffer, device=device))


def _refuse_steered_routers(model: nn.Module) -> None:
    steered = [name for name, buffer in model.named_buffers() if name.endswith("balance_bias") and bool(buffer.any())]
    if steered:
        raise CheckpointError(
            f"{steered[0]} is not zero ({len(steered)} of this model's routers): Hugging Face's format cannot hold it, and the saved model "
            "would route differently; anneal the bias to zero before saving"
        )
