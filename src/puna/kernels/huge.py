"""Memory in huge pages, for what a CPU reads from end to end at every step: weights, and pages of keys and values.

With pages of 4 KB a processor looks up where memory lies every 64 lines, and in a virtual machine each lookup is two. Reading in pages of
2 MB was measured a fifth to a third faster (docs/log.md). Linux gives them to who asks (`madvise`); elsewhere this is ordinary memory.
"""

import mmap
from math import prod

import torch
from torch import Tensor

_ALIGNMENT = 64  # a line of the cache
_LEAST = 4 << 20  # what fills no two pages gains nothing


class Arena:
    """One region that tensors are moved into, one after the other. It lives as long as any of them."""

    def __init__(self, num_bytes: int) -> None:
        self._memory, self._used = empty((num_bytes,), torch.uint8), 0

    @staticmethod
    def size_of(tensor: Tensor) -> int:
        """Bytes that `moved` takes for this tensor."""
        return -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT

    def moved(self, tensor: Tensor) -> Tensor:
        """A contiguous copy in here, on the CPU. `ValueError` if there is no room left."""
        end = self._used + tensor.nbytes
        if end > len(self._memory):
            raise ValueError(f"{tensor.nbytes:,} bytes do not fit: {len(self._memory) - self._used:,} of {len(self._memory):,} are left")
        place = self._memory[self._used : end].view(tensor.dtype).view(tensor.shape)
        self._used += self.size_of(tensor)
        return place.copy_(tensor)


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Uninitialised memory on the CPU, in huge pages where it is large enough and the system has them."""
    num_bytes = prod(shape) * dtype.itemsize
    if num_bytes < _LEAST or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(shape, dtype=dtype)
    # Private: memory that processes share is of another kind, with settings of its own, and mostly never in huge pages.
    memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:
        pass  # a kernel without them: the memory is as good as any
    return torch.frombuffer(memory, dtype=dtype).view(shape)
