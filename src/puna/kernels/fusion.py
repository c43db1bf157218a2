"""Elementwise steps that training may fuse with torch's compiler, and that run as written everywhere else.

On a CPU a training step of a nano spends more time moving elements than multiplying matrices; fusing the marked functions saves a
quarter of it (`docs/log.md`). Shapes are either fixed for a whole run or fully symbolic: never specialised after the fact, so a
resumed run compiles the same code as the run it continues.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, wraps
from typing import Any

import torch

# Torch allows 8 compiled variants of a function and then raises; each run of a process needs up to 3 (widths, head counts, lengths).
_MAX_VARIANTS = 256

_active = False


@contextmanager
def fused_elementwise(enabled: bool = True) -> Iterator[None]:
    """Compile the marked functions while inside. Needs a C++ compiler on a CPU; the caller decides, nothing falls back silently."""
    global _active
    before, _active = _active, enabled
    try:
        with torch._dynamo.config.patch(recompile_limit=_MAX_VARIANTS) if enabled else nullcontext():
            yield
    finally:
        _active = before


def fusible(*, symbolic_shapes: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function of tensors as fusible. `symbolic_shapes` for pointwise functions whose sizes change from step to step."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        @cache
        def compiled() -> Callable[..., Any]:  # when first wanted: the compiler takes 2 seconds to import, which a server need not wait
            return torch.compile(function, dynamic=symbolic_shapes, fullgraph=True)

        @wraps(function)
        def call(*args: Any) -> Any:
            return compiled()(*args) if _active else function(*args)

        return call

    return mark
