"""Batch invariance: inside `batch_invariant()` each row's result has the same bits whatever rows stand beside it, and wherever it stands.

Torch breaks this in three ways on a CPU. A matrix product picks its kernel and its sharing among threads by the number of rows (with MKL
1 to 3 rows add in another order than 4 or more, so of 9 rows on 2 threads 4 differ from what 8 rows give). SiLU, sigmoid and GELU compute
the last elements of a tensor, those that fill no vector, by another exponential than the rest. And attention adds up its keys in an order
that depends on their number. Here products run in *steps* of fixed row counts, each measured on this machine to give a row the bits of
a 16-row product; the activations are written with `exp` and `erf`, which treat all places alike; attention is `invariant_attention`. What
is not known to be invariant (another product, an attention with a mask) is refused by name rather than let through.

The measurement multiplies random numbers in each shape at its first use (`verify` does it beforehand): rows must not feel their
place, their company or an offset in memory, and every step must agree with the 16-row product bit for bit. A shape that fails has its rows
multiplied one by one: the same shape every time, so certain, and slow.

Applied from outside, around a model call under `torch.inference_mode()`; the number of torch's threads must stay the same.

Letters: T rows, K inner width, N columns; of batched products Z items, R rows each.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from puna.kernels.precision import fast_dtype

_ROWS = 16  # every other number of rows must give the bits that a product of this many rows gives
_STEPS = (512, 256, 128, 64, 32, 16, 8, 4)
_ONE_BY_ONE = (1,)
_BATCH_STEPS = (32, 8, 4, 2, 1)
_MAX_STEP_WORK = 2**32  # multiplications of a step: past this larger steps gain nothing, and measuring them takes seconds
_ALIGNMENT = 64  # bytes; torch's own allocations have it, a view or a mapped file need not

_active: ContextVar[bool] = ContextVar("batch_invariant", default=False)


@contextmanager
def batch_invariant(enabled: bool = True) -> Iterator[None]:
    """Inside, on this thread, products and activations give each row a result of its own. CPU and inference only, else `ValueError`."""
    if not enabled:
        yield
        return
    token = _active.set(True)
    try:
        with _EachRowAlone():
            yield
    finally:
        _active.reset(token)


def is_active() -> bool:
    """Whether this thread is inside `batch_invariant()`: for kernels that have a path of their own."""
    return _active.get()


class Verdict(NamedTuple):
    """`one_by_one`: shapes `(K, N)` whose blocks failed on this machine; their rows are multiplied one at a time, slowly but surely."""

    one_by_one: tuple[tuple[int, int], ...]


def verify(weights: Iterable[Tensor]) -> Verdict:
    """Measure the products of these weights (`model.parameters()`) on this machine before the first request does.

    Two axes: `[out, in]` as `F.linear` takes them; three: `[expert, in, out]`; others are no products. Raises `RuntimeError` if one of
    torch's functions that works row by row does not: then nothing here can help.
    """
    slow, widths = set(), set()
    for weight in weights:
        for w_KN in [weight.detach().t()] if weight.dim() == 2 else list(weight.detach()) if weight.dim() == 3 else []:
            _check_place(w_KN)
            widths.add(w_KN.shape[0])
            if _steps_of(w_KN) == _ONE_BY_ONE:
                slow.add((w_KN.shape[0], w_KN.shape[1]))
    check_row_functions(widths)
    return Verdict(tuple(sorted(slow)))


def computing_dtype(dtype: torch.dtype) -> torch.dtype:
    """fp32 in place of a short dtype that this CPU has no products in: exact, and several times as fast as torch's scalar code."""
    if dtype in (torch.float32, torch.float64):
        return dtype
    return dtype if dtype == fast_dtype("cpu") else torch.float32


# ---- products -----------------------------------------------------------------------------------------------------------------------


def multiply_rows(x_TK: Tensor, w_KN: Tensor) -> Tensor:
    """`x @ w` in which each row depends on itself and w alone. w contiguous, or the transpose of something contiguous."""
    with torch._C.DisableTorchFunction():
        return _multiply_rows(x_TK, w_KN)


def _multiply_rows(x_TK: Tensor, w_KN: Tensor) -> Tensor:
    _check_place(x_TK)
    dtype = computing_dtype(x_TK.dtype)
    if dtype != x_TK.dtype:
        return _multiply_rows(x_TK.to(dtype), w_KN.to(dtype)).to(x_TK.dtype)
    if not (w_KN.is_contiguous() or w_KN.t().is_contiguous()):
        w_KN = w_KN.contiguous()
    if not x_TK.is_contiguous() or x_TK.data_ptr() % _ALIGNMENT:
        x_TK = x_TK.clone(memory_format=torch.contiguous_format)
    tokens, inner = x_TK.shape
    steps = _steps_of(w_KN)
    pieces = []
    for first, step, used in cuts(tokens, steps):
        block = x_TK[first : first + used] if used < tokens else x_TK
        if used < step:  # filled up with zeros
            block = torch.cat((block, block.new_zeros(step - used, inner)))
        elif steps == _ONE_BY_ONE:  # in memory of its own: at the same offset every time
            block = block.clone()
        product = torch.mm(block, w_KN)
        pieces.append(product[:used] if used < step else product)
    if len(pieces) == 1:
        return pieces[0]
    return torch.cat(pieces) if pieces else x_TK.new_empty(0, w_KN.shape[1])


def multiply_items(a_ZRK: Tensor, b_ZKN: Tensor) -> Tensor:
    """`torch.bmm` whose items depend neither on their number nor their company. a contiguous; R one of `item_row_steps`."""
    items, rows, inner = a_ZRK.shape
    columns = b_ZKN.shape[2]
    steps = _item_steps(rows, inner, columns, not b_ZKN[0].is_contiguous(), torch.get_num_threads())
    if items in steps:
        return torch.bmm(a_ZRK, b_ZKN)
    out_ZRN = a_ZRK.new_empty(items, rows, columns)
    for first, step, _ in cuts(items, steps, fill=False):
        part = slice(first, first + step)
        torch.bmm(a_ZRK[part], b_ZKN[part], out=out_ZRN[part])
    return out_ZRN


@lru_cache(maxsize=4096)
def cuts(count: int, steps: tuple[int, ...], fill: bool = True) -> tuple[tuple[int, int, int], ...]:
    """`count` rows as `(first, step, used)`, largest steps first. With `fill` a step may be taken that is at least three quarters used.

    >>> cuts(27, (16, 8, 4))
    ((0, 16, 16), (16, 8, 8), (24, 4, 3))
    """
    found, first = [], 0
    while first < count:
        left = count - first
        step = next((s for s in steps if (4 * left >= 3 * s if fill else left >= s)), steps[-1])
        found.append((first, step, min(step, left)))
        first += step
    return tuple(found)


# ---- what this machine does ---------------------------------------------------------------------------------------------------------


def _steps_of(w_KN: Tensor) -> tuple[int, ...]:
    """The steps of products with this weight, in the dtype that they are computed in (a weight that is widened is a fresh copy)."""
    dtype = computing_dtype(w_KN.dtype)
    offset = w_KN.data_ptr() % _ALIGNMENT // w_KN.element_size() if dtype == w_KN.dtype else 0
    return _row_steps(*w_KN.shape, dtype, not w_KN.is_contiguous(), offset, torch.get_num_threads())


@cache
def _row_steps(inner: int, columns: int, dtype: torch.dtype, transposed: bool, offset: int, threads: int) -> tuple[int, ...]:
    """Row counts, largest first, at which `torch.mm` gives each row the bits of a 16-row product; `(1,)` if that one is not to be trusted.

    `threads` and `offset` (of the weight's first element) are measured by being as they are.
    """
    with torch.inference_mode():
        w_KN = _sample(1, inner, columns, dtype, transposed, offset)[0]
        return _agreeing_steps(lambda x: torch.mm(x, w_KN), inner, columns, dtype)


@cache
def item_row_steps(inner: int, columns: int, transposed: bool, threads: int) -> tuple[int, ...]:
    """As `_row_steps`, of one item of an fp32 batched product."""
    with torch.inference_mode():
        b_1KN = _sample(1, inner, columns, torch.float32, transposed)
        return _agreeing_steps(lambda x: torch.bmm(x[None], b_1KN)[0], inner, columns, torch.float32)


@cache
def _item_steps(rows: int, inner: int, columns: int, transposed: bool, threads: int) -> tuple[int, ...]:
    """Numbers of items at which `torch.bmm` gives each the bits that it gives it alone."""
    most = _BATCH_STEPS[0]
    with torch.inference_mode():
        a_ZRK = _sample(most, rows, inner, torch.float32, False)
        b_ZKN = _sample(most, inner, columns, torch.float32, transposed)
        alone = torch.cat([torch.bmm(a.clone()[None], b[None]) for a, b in zip(a_ZRK, b_ZKN, strict=True)])
        return tuple(z for z in _BATCH_STEPS if z == 1 or torch.equal(torch.bmm(a_ZRK[:z], b_ZKN[:z]), alone[:z]))


def _agreeing_steps(multiply: Callable[[Tensor], Tensor], inner: int, columns: int, dtype: torch.dtype) -> tuple[int, ...]:
    steps = [s for s in _STEPS if s <= _ROWS or s * inner * columns <= _MAX_STEP_WORK]
    x_TK = _sample(1, steps[0] + _ROWS, inner, dtype, False)[0]
    if not _rows_stand_alone(multiply, x_TK):
        return _ONE_BY_ONE
    expected = torch.cat([multiply(x_TK[first : first + _ROWS]) for first in range(0, steps[0], _ROWS)])
    return tuple(s for s in steps if s == _ROWS or torch.equal(multiply(x_TK[:s]), expected[:s]))


def _rows_stand_alone(multiply: Callable[[Tensor], Tensor], x_TK: Tensor) -> bool:
    """Whether a row of a 16-row product feels its place, zeros or other rows beside it, or where the block begins in memory."""
    block = x_TK[:_ROWS]
    expected = multiply(block)
    if not all(torch.equal(multiply(block.roll(shift, 0)), expected.roll(shift, 0)) for shift in (1, 3, 8)):
        return False
    for place in (0, 7, _ROWS - 1):
        for company in (torch.zeros_like(block), x_TK[-_ROWS:].clone()):
            company[place] = block[0]
            if not torch.equal(multiply(company)[place], expected[0]):
                return False
    moved = torch.cat((x_TK[-_STEPS[-1] :], block))[_STEPS[-1] :]  # as a slice stands after a step of the smallest size
    return torch.equal(multiply(moved), expected)


def _sample(items: int, rows: int, columns: int, dtype: torch.dtype, transposed: bool, offset: int = 0) -> Tensor:
    """Random numbers `[items, rows, columns]`, laid out as asked, the first `offset` elements into its memory."""
    flat = torch.zeros(offset + items * rows * columns, dtype=dtype).normal_(generator=torch.Generator().manual_seed(rows))[offset:]
    return flat.view(items, columns, rows).transpose(1, 2) if transposed else flat.view(items, rows, columns)


def check_row_functions(widths: Iterable[int]) -> None:
    """`RuntimeError` if one of torch's functions on which invariance rests lets an element or a row of these widths feel its company."""
    for width in {*widths}:
        if broken := _broken_row_functions(width):
            names = ", ".join(broken)
            raise RuntimeError(f"{names} of torch {torch.__version__} on this CPU cannot be kept batch-invariant (width {width})")


@cache
def _broken_row_functions(width: int) -> tuple[str, ...]:
    x = torch.zeros(37, width).normal_(generator=torch.Generator().manual_seed(width)) * 4
    by_element: dict[str, Callable[[Tensor], Tensor]] = {
        "exp": torch.exp,
        "erf": torch.erf,
        "rsqrt": lambda r: r.abs().rsqrt(),
        "sin": lambda r: (r.double() * 100).sin(),  # as rotation computes them
        "cos": lambda r: (r.double() * 100).cos(),
        "log": lambda r: r.double().abs().log(),
    }
    by_row: dict[str, Callable[[Tensor], Tensor]] = {
        "mean": lambda r: r.mean(-1),
        "sum": lambda r: r.sum(-1),
        "layer_norm": lambda r: F.layer_norm(r, r.shape[-1:]),
    }
    broken = [name for name, f in by_element.items() if not torch.equal(f(x.flatten()), torch.cat([f(p) for p in x.flatten().split(7)]))]
    broken += [name for name, f in by_row.items() if not torch.equal(f(x), torch.cat([f(row[None]) for row in x]))]
    return tuple(broken)


def _check_place(x: Tensor) -> None:
    if x.device.type != "cpu":
        raise ValueError(f"batch_invariant runs on a CPU only so far, but a tensor is on {x.device}; leave the option off there")
    if torch.is_grad_enabled() and x.requires_grad and _active.get():
        raise ValueError("batch_invariant is for inference: call the model under torch.inference_mode()")


# ---- what takes the place of torch's functions --------------------------------------------------------------------------------------


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`; the bias is added after rounding."""
    if x.dim() == 2:
        out = _multiply_rows(x, weight.t())
    else:
        out = _multiply_rows(x.reshape(-1, x.shape[-1]), weight.t()).view(*x.shape[:-1], weight.shape[0])
    return out if bias is None else out + bias


def _one_plus_exp_of_minus(x32: Tensor) -> Tensor:
    return x32.neg().exp_().add_(1)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _sigmoid(x: Tensor) -> Tensor:
    return _one_plus_exp_of_minus(_wide(x)).reciprocal_().to(x.dtype)


def _silu(x: Tensor, inplace: bool = False) -> Tensor:
    assert not inplace
    return (_wide(x) / _one_plus_exp_of_minus(_wide(x))).to(x.dtype)


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate != "none":
        raise ValueError(f"batch_invariant knows only the exact GELU, not approximate={approximate!r}")
    return (_wide(x) * 0.5 * (_wide(x) * 2**-0.5).erf_().add_(1)).to(x.dtype)


def _attend_alone(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Attention without a mask, `[M, N, X, H]`: a vision tower's, whose tiles are all of one size. One tile at a time."""
    if args or kwargs or q.dim() != 4 or q.shape[2] != k.shape[2]:
        raise ValueError("attention over a cache is not batch-invariant in torch; use puna.kernels.attention.invariant_attention")
    out = []
    for q_NXH, k_NXH, v_NXH in zip(q, k, v, strict=True):
        out.append(F.scaled_dot_product_attention(_fresh(q_NXH), _fresh(k_NXH), _fresh(v_NXH)))
    return torch.cat(out)


def _fresh(x: Tensor) -> Tensor:
    """A copy `[1, ...]` at the start of memory of its own, so that kernels meet the same strides and offsets every time."""
    return x[None].clone(memory_format=torch.contiguous_format)


_REPLACED: dict[Any, Callable[..., Tensor]] = {
    F.linear: _linear,
    F.silu: _silu,
    F.gelu: _gelu,
    F.scaled_dot_product_attention: _attend_alone,
    torch.sigmoid: _sigmoid,
    torch.special.expit: _sigmoid,
    Tensor.sigmoid: _sigmoid,
}

_PRODUCTS = ("matmul", "mm", "bmm", "mv", "dot", "addmm", "addmv", "addbmm", "baddbmm", "__matmul__", "__rmatmul__")
_REFUSED = {
    *(getattr(owner, name) for owner in (torch, Tensor) for name in _PRODUCTS if hasattr(owner, name)),
    *(torch.einsum, torch.conv1d, torch.conv2d, torch.conv3d, F.grouped_mm),
}


class _EachRowAlone(TorchFunctionMode):
    """Replaces what depends on a batch and has a form that does not; refuses what has none."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        replacement = _REPLACED.get(func)
        if replacement is not None:
            with torch._C.DisableTorchFunction():
                return replacement(*args, **(kwargs or {}))
        if func in _REFUSED:
            name = getattr(func, "__name__", func)
            raise ValueError(f"torch's {name} is not batch-invariant; use puna.kernels.invariant.multiply_rows, or a cache that attends so")
        return func(*args, **(kwargs or {}))
