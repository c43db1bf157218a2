"""What a native step begins with: rows of a table."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from puna.kernels import native

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native library: {native.why_not()}")


@pytest.fixture(params=(1, 2), autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = native.threads()
    native.set_threads(request.param)
    yield
    native.set_threads(before)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embedding_is_torchs_and_refuses_what_is_not_in_the_table(dtype: torch.dtype) -> None:
    for rows, width in ((1, 1), (3, 33), (300, 700)):
        table_VD = random(11, width).to(dtype)
        ids_T = torch.arange(rows) * 7 % 11
        assert torch.equal(native.embed(table_VD, ids_T), table_VD[ids_T].float())
    assert native.embed(table_VD, ids_T[:0]).shape == (0, 700)
    for wrong in (-1, 11):
        with pytest.raises(ValueError, match="an id outside its table"):
            native.embed(table_VD, torch.tensor([0, wrong]))
    with pytest.raises(ValueError, match="a contiguous row of int64"):
        native.embed(table_VD, ids_T[::2])
    with pytest.raises(ValueError, match="contiguous rows in float32 or bfloat16"):
        native.embed(table_VD[:, ::2], ids_T)
