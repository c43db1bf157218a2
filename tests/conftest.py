"""What every test runs under: one torch thread; and memory that is poisoned until somebody writes it, for those who ask."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # torch reads them when a test first imports it
    os.environ.setdefault(_variable, "1")


@pytest.fixture
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.empty` and its kin hold NaN, or integers that index nothing: whoever reads before writing is found out."""
    import torch

    def poisoned(allocate: Callable[..., "Tensor"]) -> Callable[..., "Tensor"]:
        def call(*args: Any, **kwargs: Any) -> "Tensor":
            fresh = allocate(*args, **kwargs)
            if fresh.is_floating_point():
                return fresh.fill_(float("nan"))
            return fresh.fill_(True if fresh.dtype == torch.bool else torch.iinfo(fresh.dtype).max)

        return call

    for owner, name in [(torch, "empty"), (torch, "empty_like"), (torch, "empty_strided"), (torch.Tensor, "new_empty")]:
        monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data mirror, made once."""
    from puna.testing.mirror import write_mirror

    root = tmp_path_factory.mktemp("mirror")
    write_mirror(root)
    return root


@pytest.fixture
def data(mirror: Path) -> Iterator[Path]:
    """PUNA_DATA_MIRROR and a manifest that describe `mirror`; all caches fresh."""
    from puna.testing.mirror import in_use

    with in_use(mirror):
        yield mirror
