"""`load`: from a name or a directory to a pipeline."""

from pathlib import Path

import torch

from puna.checkpoint import load_model
from puna.checkpoint.stored import read_config
from puna.engine import Drafter, Settings
from puna.kernels import native
from puna.messages import RequestError
from puna.model.count import count_parameters
from puna.pipeline.front import Pipeline
from puna.tokens.bpe import Tokenizer


def shipped_models() -> dict[str, Path]:
    """Names and directories of the nanos inside the package."""
    root = Path(__file__).parents[1] / "weights"
    return {path.name: path for path in sorted(root.iterdir()) if (path / "config.json").is_file()} if root.is_dir() else {}


def load(
    name_or_path: str | Path = "scout-nano",
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
    settings: Settings | None = None,
    drafter: Drafter | None = None,
) -> Pipeline:
    """Load a shipped nano by name, or a Hugging Face directory by path.

    dtype: "float32", "bfloat16" or a torch dtype; by default what suits the device: bfloat16, or float32 for a nano on a CPU, where a
    small model in fp32 is as fast and exact. `settings` and `drafter` are the engine's: memory, streams, batch invariance; drafts.
    """
    path = shipped_models().get(str(name_or_path), Path(name_or_path))
    if not path.is_dir():
        known = ", ".join(shipped_models()) or "none"
        wanted = str(name_or_path)
        raise RequestError(f"no model {wanted!r}: neither a shipped name ({known}) nor a directory; give a Hugging Face directory's path")
    chosen = _dtype(dtype) if dtype is not None else _default_dtype(path, device)
    packed = device == "cpu" and native.available()  # without the kernels integers would be undone at each product
    model = load_model(path, chosen, device, packed=packed).eval().requires_grad_(False)
    tokenizer = Tokenizer.from_hf(path)
    name = name_or_path if isinstance(name_or_path, str) else name_or_path.name
    return Pipeline(name, model, tokenizer, settings=settings, drafter=drafter)


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if isinstance(dtype, str) and dtype not in known:
        raise RequestError(f"dtype={dtype!r} is unknown; use {' or '.join(known)}")
    return known[dtype] if isinstance(dtype, str) else dtype


def _default_dtype(path: Path, device: str) -> torch.dtype:
    """By the number of weights, however few bytes they have in the files: keys and values are kept in this precision, too."""
    is_small = 2 * count_parameters(read_config(path)).total < 1 << 30
    return torch.float32 if device == "cpu" and is_small else torch.bfloat16
