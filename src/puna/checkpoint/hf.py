"""A model from a Hugging Face directory, and a Hugging Face directory from a model.

Every tensor's name, shape and kind is checked against the model before the first one is copied, so that a wrong file is reported whole
and at once. Knows nothing of quantised formats or training state.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from puna.checkpoint.config_hf import config_from_hf, config_to_hf
from puna.checkpoint.errors import CheckpointError
from puna.checkpoint.names_hf import from_hf_name, to_hf_name
from puna.checkpoint.processor_hf import generation_config, max_tiles_from, processor_configs
from puna.checkpoint.shards import ShardedTensors, read_json, write_json, write_shards
from puna.config import ModelConfig
from puna.model import Model

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_KINDS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_SHOWN_PROBLEMS = 10


class SavesAsHF(Protocol):
    """A tokenizer that can write its own files (`puna.tokens.bpe.Tokenizer`)."""

    def save_hf(self, directory: Path) -> object: ...


def read_config(path: str | Path) -> ModelConfig:
    """The model that a directory's JSON files describe; its name is the one in the file, or else the directory's."""
    directory = _directory(path)
    hf = read_json(directory / "config.json")
    named = "name" in hf.get("puna", {}) if isinstance(hf.get("puna", {}), Mapping) else False
    config = config_from_hf(hf, None if named or hf.get("_name_or_path") else directory.resolve().name)
    if config.vision is None:
        return config
    stated = "max_tiles" in hf.get("puna", {})
    max_tiles = max_tiles_from(directory, config.vision, config.vision.max_tiles if stated else None)
    return replace(config, vision=replace(config.vision, max_tiles=max_tiles))


def load_model(path: str | Path, dtype: torch.dtype | str, device: torch.device | str = "cpu") -> Model:
    """The model of a Hugging Face directory, in evaluation mode.

    On a CPU, weights already stored in `dtype` stay backed by the mapped file; others are converted one at a time.
    """
    wanted = _dtype(dtype)
    directory = _directory(path)
    config = read_config(directory)
    with torch.device("meta"):
        model = Model(config)
    expected = model.state_dict()
    with ShardedTensors(directory) as stored:
        names = _match(stored, expected, directory, text_only=config.vision is None)
        state = {ours: stored.load(theirs).to(device=device, dtype=wanted) for theirs, ours in names.items()}
    model.load_state_dict(state, strict=True, assign=True)
    _materialise_buffers(model, device)
    return model.eval()


def save_model(
    model: Model,
    directory: str | Path,
    tokenizer: SavesAsHF | None = None,
    dtype: torch.dtype | str = "bfloat16",
    max_shard_bytes: int = 5_000_000_000,
) -> Path:
    """Write `model` as a Hugging Face directory that `transformers` loads unchanged; returns the directory."""
    wanted = _dtype(dtype)
    _refuse_steered_routers(model)
    config = config_to_hf(model.config)
    dtype_name = next(name for name, kind in _DTYPES.items() if kind == wanted)
    text_only = model.config.vision is None
    state = {to_hf_name(name, text_only=text_only): tensor for name, tensor in model.state_dict().items()}

    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    write_shards(target, state, wanted, max_shard_bytes)
    write_json(target / "config.json", {**config, "torch_dtype": dtype_name})  # the spelling that all versions of transformers read
    write_json(target / "generation_config.json", generation_config(model.config))
    for file, content in processor_configs(model.config).items():
        write_json(target / file, content)
    if tokenizer is not None:
        tokenizer.save_hf(target)
    return target


def _directory(path: str | Path) -> Path:
    directory = Path(path)
    if not directory.is_dir():
        found = "is a file" if directory.exists() else "does not exist"
        raise CheckpointError(f"{directory} {found}; a checkpoint is a directory with config.json and *.safetensors")
    return directory


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    found = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in _DTYPES.values():
        raise CheckpointError(f"dtype={dtype!r}: weights are kept in one of {', '.join(_DTYPES)}")
    return found


def _match(stored: ShardedTensors, expected: Mapping[str, Tensor], directory: Path, *, text_only: bool) -> dict[str, str]:
    """Stored name -> our name, for all tensors, or one error that lists what is wrong."""
    problems = []
    names: dict[str, str] = {}
    for theirs, info in stored.tensors.items():
        ours = from_hf_name(theirs, text_only=text_only)
        if ours is None or ours not in expected:
            problems.append(f"extra: {theirs} {list(info.shape)} in {info.file}; the config describes no such tensor")
            continue
        names[theirs] = ours
        shape = tuple(expected[ours].shape)
        if info.shape != shape:
            problems.append(f"wrong shape: {theirs} is {list(info.shape)} in {info.file}; the config asks for {list(shape)}")
        elif info.kind not in _KINDS:
            problems.append(f"wrong kind: {theirs} is {info.kind} in {info.file}; weights must be one of {', '.join(_KINDS)}")
    for ours in expected.keys() - names.values():
        problems.append(f"missing: {to_hf_name(ours, text_only=text_only)} {list(expected[ours].shape)}")
    if problems:
        problems.sort()
        rest = len(problems) - _SHOWN_PROBLEMS
        more = [f"and {rest} more"] if rest > 0 else []
        lines = "\n  ".join(problems[:_SHOWN_PROBLEMS] + more)
        raise CheckpointError(f"{directory}: config.json and weights disagree, {len(problems)} tensors in all:\n  {lines}")
    return names


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
