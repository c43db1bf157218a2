"""Shared by the engine's tests."""

import pytest

from puna.engine.native_step import NativeText
from puna.kernels import native
from puna.model import Model


@pytest.fixture
def embedding() -> tuple[type, str]:
    """The method `(self, batch)` with which a step begins, natively or in torch: where tests make it fail."""
    return (NativeText, "_embed") if native.available() else (Model, "embed")
