"""For tests of damaged checkpoints: change stored tensors, and read what the loader says of them."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from puna.checkpoint import CheckpointError, load_model
from puna.checkpoint.shards import SINGLE_FILE


def edit(directory: Path, **changes: Tensor | None) -> None:
    """Put these tensors into the directory's one file in place of those of their names; None takes one away."""
    tensors = load_file(directory / SINGLE_FILE)
    for name, tensor in changes.items():
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = tensor
    save_file(tensors, directory / SINGLE_FILE)


def message_of(directory: Path) -> str:
    """Why `directory` cannot be loaded."""
    with pytest.raises(CheckpointError) as error:
        load_model(directory, "float32")
    return str(error.value)
