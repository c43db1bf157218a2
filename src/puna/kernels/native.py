"""The C++ kernels of `native/`, loaded with ctypes, behind typed functions of torch tensors. CPU, fp32 activations, no gradients.

The library lies beside this file after an install with a compiler, and in `native/build` of a checkout; without one everything still works
through torch, slower: `available()` says whether it is there, `why_not()` what is missing, and the log says once what was chosen.

Environment: `PUNA_NATIVE=0` leaves the library alone; `PUNA_NATIVE_LIBRARY` names another file; `PUNA_NATIVE_ISA` forces an instruction set
(portable, avx2, avx512, neon). One that does not parse, or cannot be had, is an error: it was asked for.

Letters: T rows, K inner width, N outputs, E experts, D model width, F feed-forward width.
"""

import ctypes
import logging
import os
import sys
import threading
from ctypes import c_char_p, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from puna.kernels.linear.packed import PackedWeight

ABI_VERSION = 3  # PUNA_ABI_VERSION in native/include/puna_native.h
_FILE = {"darwin": "libpuna_native.dylib", "win32": "puna_native.dll"}.get(sys.platform, "libpuna_native.so")
_NO_MEMORY = -6
_BUILD = "cmake -S native -B native/build && cmake --build native/build"
_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_ROWS = (c_void_p, c_int64)  # a pointer to rows, and their stride
_GROUPS = (c_void_p, c_int64)  # experts' offsets, and their number
_SIGNATURES: dict[str, tuple[tuple[object, ...], object]] = {
    "puna_status_text": ((c_int32,), c_char_p),
    "puna_isa": ((), c_char_p),
    "puna_use_isa": ((c_char_p,), c_int32),
    "puna_set_threads": ((c_int32,), c_int32),
    "puna_threads": ((), c_int32),
    "puna_linear": ((*_ROWS, c_void_p, c_int32, c_int64, c_int64, *_GROUPS, *_ROWS, c_int64, c_int64, c_int64), c_int32),
    "puna_packed_workspace": ((c_int64, c_int64), c_int64),
    "puna_linear_packed": (
        (*_ROWS, c_void_p, c_void_p, c_int32, c_int32, c_int64, *_GROUPS, c_int32, c_void_p, *_ROWS, c_int64, c_int64, c_int64),
        c_int32,
    ),
    "puna_rms_norm": ((*_ROWS, c_void_p, c_float, *_ROWS, c_int64, c_int64), c_int32),
    "puna_swiglu": ((*_ROWS, *_ROWS, c_int64, c_int64), c_int32),
    "puna_embed": ((c_void_p, c_int32, c_void_p, c_void_p, c_int64, c_int64, c_int64), c_int32),
    "puna_decoder_new": ((c_void_p, c_void_p), c_void_p),  # of structures: `puna.kernels.decoder`
    "puna_decoder_free": ((c_void_p,), None),
    "puna_decoder_step": ((c_void_p, c_int64, *(c_void_p,) * 5), c_int32),
}

_log = logging.getLogger(__name__)
_loading = threading.Lock()


class _Loaded(NamedTuple):
    """The library, or why there is none."""

    library: ctypes.CDLL | None
    why_not: str


def available() -> bool:
    """Whether the library is loaded. The first call of anything here loads it."""
    return _load().library is not None


def why_not() -> str | None:
    """Why it is not, in a sentence that names the way out; None if it is."""
    return None if available() else _load().why_not


def isa() -> str:
    """The instruction set in use: portable, avx2, avx512 or neon."""
    return library().puna_isa().decode()


def use_isa(name: str | None) -> None:
    """Take this instruction set from here on, in the whole process; None takes the best that the machine has. For tests and comparisons."""
    if library().puna_use_isa(None if name is None else name.encode()):
        raise ValueError(f"instruction set {name!r}: this library or this machine does not have it; it uses {isa()!r}")


def threads() -> int:
    """Threads that share a call, the calling one among them. At first as many as torch has."""
    return library().puna_threads()


def set_threads(count: int) -> None:
    """From the next call on, in the whole process."""
    if count < 1:
        raise ValueError(f"{count} threads: at least 1, the calling one")
    library().puna_set_threads(count)


def linear(x_TK: Tensor, w: Tensor, offsets: Tensor | None = None) -> Tensor:
    """`reference_linear` for weights in fp32 or bf16, rows contiguous: `[T, N]` in fp32. A row's bits depend on it and on w alone."""
    lib = library()
    _check_rows(x_TK, "x")
    if w.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"weights in {w.dtype}: float32 or bfloat16, or packed integers to linear_packed")
    _check_place(w, "weights")
    if w.stride(-1) != 1 and w.shape[-1] > 1:
        raise ValueError(f"weights of strides {list(w.stride())}: their rows must be contiguous; call .contiguous() once, not per product")
    num_experts = _check_product(x_TK, tuple(w.shape), offsets)
    y_TN = x_TK.new_empty(x_TK.shape[0], w.shape[-2])
    if y_TN.numel():
        status = lib.puna_linear(
            *_rows(x_TK), w.data_ptr(), _TYPES[w.dtype], w.stride(-2), w.stride(0), _pointer(offsets), num_experts,
            *_rows(y_TN), *y_TN.shape, w.shape[-1],
        )  # fmt: skip
        check_status(status)
    return y_TN


def linear_packed(x_TK: Tensor, weight: "PackedWeight", offsets: Tensor | None = None, *, exact: bool = False) -> Tensor:
    """`reference_linear` for packed integers: `[T, N]` in fp32.

    x is rounded to 8 bits in blocks of 32 (`reference_rounded`), as llama.cpp does; `exact=True` multiplies it as it is, in half the speed
    or less. A row's bits depend on it and on the weights alone.
    """
    lib = library()
    _check_rows(x_TK, "x")
    for tensor, name in ((weight.data, "packed weights"), (weight.scales, "their scales")):
        _check_place(tensor, name)
    num_experts = _check_product(x_TK, weight.shape, offsets)
    rows, columns = weight.shape[-2:]
    num_rows = x_TK.shape[0]
    y_TN = x_TK.new_empty(num_rows, rows)
    if y_TN.numel():
        workspace = None if exact else torch.empty(lib.puna_packed_workspace(num_rows, columns), dtype=torch.uint8)
        status = lib.puna_linear_packed(
            *_rows(x_TK), weight.data.data_ptr(), weight.scales.data_ptr(), _TYPES[weight.scales.dtype], weight.bits, weight.group,
            _pointer(offsets), num_experts, exact, _pointer(workspace), *_rows(y_TN), num_rows, rows, columns,
        )  # fmt: skip
        check_status(status)
    return y_TN


def rms_norm(x_TD: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """`x / sqrt(mean(x^2) + eps) * weight` over rows, in fp32."""
    lib = library()
    _check_rows(x_TD, "x")
    if weight is not None:
        _check_place(weight, "the weight")
        if weight.dtype != torch.float32 or not weight.is_contiguous() or weight.shape != x_TD.shape[1:]:
            raise ValueError(f"a weight of shape {list(weight.shape)} in {weight.dtype}: {x_TD.shape[1]} contiguous numbers in float32")
    y_TD = x_TD.new_empty(x_TD.shape)
    if y_TD.numel():
        check_status(lib.puna_rms_norm(*_rows(x_TD), _pointer(weight), eps, *_rows(y_TD), *y_TD.shape))
    return y_TD


def swiglu(h: Tensor) -> Tensor:
    """`silu(gate) * up` for h `[T, 2F]`, the gate's columns first: `[T, F]`, in fp32."""
    lib = library()
    _check_rows(h, "h")
    if h.shape[1] % 2:
        raise ValueError(f"h of width {h.shape[1]}: gate and up side by side make it even")
    y_TF = h.new_empty(h.shape[0], h.shape[1] // 2)
    if y_TF.numel():
        check_status(lib.puna_swiglu(*_rows(h), *_rows(y_TF), *y_TF.shape))
    return y_TF


def embed(table_VD: Tensor, ids_T: Tensor) -> Tensor:
    """Rows `ids` (int64, contiguous) of a table in fp32 or bf16: `[T, D]` in fp32. (torch takes 0.1 ms for one.)"""
    lib = library()
    _check_place(table_VD, "a table")
    if table_VD.dtype not in (torch.float32, torch.bfloat16) or table_VD.dim() != 2 or not table_VD.is_contiguous():
        raise ValueError(f"a table of shape {list(table_VD.shape)} in {table_VD.dtype}: contiguous rows in float32 or bfloat16")
    if ids_T.dtype != torch.int64 or ids_T.dim() != 1 or not ids_T.is_contiguous() or not ids_T.is_cpu:
        raise ValueError(f"ids of shape {list(ids_T.shape)} in {ids_T.dtype}: a contiguous row of int64 on the CPU")
    x_TD = torch.empty(ids_T.shape[0], table_VD.shape[1])
    check_status(
        lib.puna_embed(table_VD.data_ptr(), _TYPES[table_VD.dtype], ids_T.data_ptr(), x_TD.data_ptr(), ids_T.shape[0], *table_VD.shape)
    )
    return x_TD


# ---- finding and loading it


def library() -> ctypes.CDLL:
    """The library itself, for callers of further functions; `RuntimeError` that says why if there is none."""
    loaded = _load()
    if loaded.library is None:
        raise RuntimeError(f"the native kernels are not available: {loaded.why_not}")
    return loaded.library


@cache
def _load() -> _Loaded:
    with _loading:  # so that of two threads that come first one loads it, and logs it
        return _load_once()


@cache
def _load_once() -> _Loaded:
    wanted = os.environ.get("PUNA_NATIVE", "1")
    if wanted not in ("0", "1"):
        raise ValueError(f"PUNA_NATIVE={wanted!r}: 0 switches the native kernels off, 1 (or nothing) leaves them on")
    loaded = _open() if wanted == "1" else _Loaded(None, "PUNA_NATIVE=0 switches them off")
    if loaded.library is None:
        _log.warning("native kernels: none, products run in torch; %s", loaded.why_not)
        return loaded
    library = loaded.library
    forced = os.environ.get("PUNA_NATIVE_ISA")
    if forced and library.puna_use_isa(forced.encode()):
        raise ValueError(f"PUNA_NATIVE_ISA={forced!r}: this library or this machine does not have it; leave it out to take the best")
    library.puna_set_threads(torch.get_num_threads())
    _log.info("native kernels: %s, %d threads, %s", library.puna_isa().decode(), library.puna_threads(), library._name)
    return loaded


def _open() -> _Loaded:
    path = _find()
    if path is None:
        return _Loaded(None, f"no {_FILE} beside {__file__} or in native/build: install again with a C++ compiler, or run `{_BUILD}`")
    try:
        library = ctypes.CDLL(str(path))
        version = library.puna_abi_version()
    except (OSError, AttributeError) as error:
        return _Loaded(None, f"{path} does not load ({error}): build it again on this machine with `{_BUILD}`")
    if version != ABI_VERSION:
        return _Loaded(None, f"{path} has interface {version}, this code needs {ABI_VERSION}: build it again with `{_BUILD}`")
    for name, (arguments, result) in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return _Loaded(library, "")


def _find() -> Path | None:
    if chosen := os.environ.get("PUNA_NATIVE_LIBRARY"):
        if not Path(chosen).is_file():
            raise ValueError(f"PUNA_NATIVE_LIBRARY={chosen!r}: there is no such file")
        return Path(chosen)
    here = Path(__file__)
    places = (here.with_name(_FILE), here.parents[3] / "native" / "build" / _FILE)
    return next((place for place in places if place.is_file()), None)


# ---- checks and pointers


def _check_place(tensor: Tensor, name: str) -> None:
    if tensor.is_cpu and not tensor.requires_grad:
        return
    if tensor.device.type != "cpu":
        raise ValueError(f"{name} on {tensor.device}: the native kernels run on the CPU")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{name} wants a gradient: the native kernels have none; call them under torch.no_grad() or inference_mode()")


def _check_rows(x: Tensor, name: str) -> None:
    _check_place(x, name)
    if x.dtype != torch.float32:
        raise ValueError(f"{name} in {x.dtype}: activations are float32 here")
    if x.dim() == 2 and x.is_contiguous():
        return
    if x.dim() != 2 or (x.shape[1] > 1 and x.stride(1) != 1) or (x.shape[0] > 1 and x.stride(0) < x.shape[1]):
        raise ValueError(f"{name} of shape {list(x.shape)} and strides {list(x.stride())}: rows in two axes, each row contiguous")


def _check_product(x_TK: Tensor, shape: tuple[int, ...], offsets: Tensor | None) -> int:
    """The number of experts, 1 without."""
    if len(shape) != (2 if offsets is None else 3):
        raise ValueError(f"weights of shape {list(shape)}: [N, K] without offsets, [E, N, K] with them")
    if x_TK.shape[1] != shape[-1]:
        raise ValueError(f"x of width {x_TK.shape[1]} meets weights of inner width {shape[-1]}: they must be equal")
    if offsets is None:
        return 1
    if offsets.dtype != torch.int64 or offsets.device.type != "cpu" or not offsets.is_contiguous() or offsets.shape != (shape[0] + 1,):
        raise ValueError(f"offsets of shape {list(offsets.shape)} in {offsets.dtype}: {shape[0] + 1} int64 on the CPU, experts and one")
    return shape[0]


def _rows(x: Tensor) -> tuple[int, int]:
    return x.data_ptr(), x.stride(0)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def check_status(status: int) -> None:
    """`ValueError`, or `MemoryError`, in the library's words for a status that is not 0."""
    if status:
        kind = MemoryError if status == _NO_MEMORY else ValueError
        raise kind(f"native kernel: {library().puna_status_text(status).decode()}")
