"""Memory in huge pages: tensors like any other, wherever they lie."""

import re
from pathlib import Path

import pytest
import torch

from puna.kernels import huge
from puna.kernels.huge import Arena


@pytest.mark.parametrize("shape", [(3, 5), (4 << 20,), (1025, 4099)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_memory_is_as_large_as_asked_and_keeps_what_is_written(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = huge.empty(shape, dtype)
    assert x.shape == shape and x.dtype == dtype and x.is_contiguous()
    values = torch.arange(x.numel()).remainder(100).to(dtype).view(shape)
    x.copy_(values)
    assert torch.equal(x, values)


def test_memory_outlives_all_but_the_tensors_in_it() -> None:
    arena = Arena(16 << 20)
    moved = [arena.moved(torch.full((1 << 20,), value, dtype=torch.float32)) for value in (1.0, 2.0)]
    del arena
    assert [x.sum().item() for x in moved] == [1 << 20, 2 << 20]


def test_tensors_lie_side_by_side_each_at_the_beginning_of_a_line_of_the_cache() -> None:
    tensors = [torch.randn(7), torch.randn(5, 3).bfloat16().t(), torch.arange(9, dtype=torch.int8)]
    arena = Arena(sum(map(Arena.size_of, tensors)))
    moved = [arena.moved(x) for x in tensors]
    assert all(torch.equal(a, b) for a, b in zip(moved, tensors, strict=True))
    assert [x.data_ptr() - moved[0].data_ptr() for x in moved] == [0, 64, 128]
    with pytest.raises(ValueError, match="4 bytes do not fit: 0 of 192 are left"):
        arena.moved(torch.zeros(1))


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage/enabled").is_file(), reason="this system has no huge pages to ask for")
def test_the_system_is_asked_for_huge_pages_of_private_memory() -> None:
    x = huge.empty((32 << 20,), torch.uint8).fill_(1)
    smaps = Path("/proc/self/smaps").read_text(encoding="ascii")
    for entry in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", smaps):
        place, access = entry.split(maxsplit=2)[:2]
        start, end = (int(each, 16) for each in place.split("-"))
        if start <= x.data_ptr() < end:
            assert access == "rw-p" and "hg" in entry.split("VmFlags:")[1].split()
            return
    raise AssertionError("the memory is in no mapping")
