"""The same tiny data mirror that the tests of data read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from puna.testing.mirror import in_use, write_mirror


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    write_mirror(root)
    return root


@pytest.fixture
def data(mirror: Path) -> Iterator[Path]:
    """PUNA_DATA_MIRROR and a manifest that describe `mirror`; all caches fresh."""
    with in_use(mirror):
        yield mirror
