"""The native kernels on this machine, against torch, against each other and against what the machine can do.

    python benchmarks/kernels.py [--shapes nano mid] [--rows 1 8 32] [--rounds 7] [--threads 2] [--isa avx2] [--torch-bf16]

For each shape of weights and number of rows: microseconds a call from Python, GB/s of weights read, GFLOP/s, and how many times faster
than torch's `F.linear` in fp32. Contestants take turns within each round, so that a neighbour on the machine hits all alike; figures are
medians over rounds, ratios medians of each round's ratio. Every contestant walks through copies of its weights, so many that no cache
holds them. Limits, best of the same run: memory read by `torch.sum`, and fp32 products of 1,024 x 1,024 matrices.

Also a *neighbours* section: a torch product and a native one alone and in turns, since both pools of threads want the same cores. Beside
busy neighbours measure with --threads 1: torch's threads wait for the slowest.
Checks every contestant against the reference before it times it: exit code 1 and no figures if one errs. Prints a card, one JSON line last.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import puna
from puna.kernels import native
from puna.kernels.linear import PackedWeight, dequantize, pack_int4, pack_int8, reference_linear, reference_rounded

# Width in, outputs. nano: scout-nano's gate and up, and its head; mid: a Scout-like model of 16 layers, 1.39 B parameters.
SHAPES = {
    "nano": {"nano expert": (192, 512), "nano head": (192, 8320)},
    "mid": {"mid expert": (1024, 1536), "mid gate and up": (1024, 3072), "mid head": (1024, 32768)},
}
TOLERANCE = 1e-4  # share of the largest output: sums of at most 1,024 terms in another order


class Contestant(NamedTuple):
    name: str
    num_bytes: int  # of weights that a call reads
    call: Callable[[Tensor, int], Tensor]  # rows, and which copy of the weights
    expected: Callable[[Tensor], Tensor]


def quantized(w_NK: Tensor, bits: int, group: int) -> PackedWeight:
    grouped = w_NK.unflatten(1, (-1, group))
    largest = (1 << (bits - 1)) - 1
    scales = (grouped.abs().amax(-1) / largest).bfloat16()
    integers = (grouped / scales.float()[..., None]).round().clamp(-largest, largest).to(torch.int8).flatten(1)
    return pack_int8(integers, scales) if bits == 8 else pack_int4(integers, scales)


def copies_of(size: int, cold_bytes: int) -> int:
    return max(1, -(-cold_bytes // size))


def contestants(width: int, outputs: int, cold_bytes: int, with_torch_bf16: bool) -> list[Contestant]:
    w_NK = torch.randn(outputs, width, generator=torch.Generator().manual_seed(0)) / width**0.5
    found = []

    def plain(name: str, weight: Tensor, call: Callable[[Tensor, Tensor], Tensor]) -> None:
        copies = [weight.clone() for _ in range(copies_of(weight.nbytes, cold_bytes))]
        wide = weight.float()
        found.append(Contestant(name, weight.nbytes, lambda x, i: call(x, copies[i % len(copies)]), lambda x: reference_linear(x, wide)))

    def packed(name: str, weight: PackedWeight, exact: bool) -> None:
        parts = [weight.data.clone() for _ in range(copies_of(weight.num_bytes, cold_bytes))]
        copies = [PackedWeight(data=part, scales=weight.scales, bits=weight.bits, group=weight.group, shape=weight.shape) for part in parts]
        wide = dequantize(weight)
        found.append(
            Contestant(
                name,
                weight.num_bytes,
                lambda x, i: native.linear_packed(x, copies[i % len(copies)], exact=exact),
                lambda x: reference_linear(x if exact else reference_rounded(x), wide),
            )
        )

    plain("torch fp32", w_NK, F.linear)
    if with_torch_bf16:
        plain("torch bf16", w_NK.bfloat16(), lambda x, w: F.linear(x.bfloat16(), w).float())
    plain("fp32", w_NK, native.linear)
    plain("bf16", w_NK.bfloat16(), native.linear)
    packed("int8 row", quantized(w_NK, 8, width), exact=False)
    packed("int8 row exact", quantized(w_NK, 8, width), exact=True)
    packed("int8 g32", quantized(w_NK, 8, 32), exact=False)
    packed("int4 g32", quantized(w_NK, 4, 32), exact=False)
    packed("int4 g32 exact", quantized(w_NK, 4, 32), exact=True)
    return found


def errs(contestant: Contestant, x_TK: Tensor) -> bool:
    expected = contestant.expected(x_TK)
    tolerance = 3e-2 if contestant.name == "torch bf16" else TOLERANCE
    return bool((contestant.call(x_TK, 0) - expected).abs().max() > tolerance * expected.abs().max())


def seconds_a_call(call: Callable[[int], object], budget: float) -> float:
    """Mean over as many calls as fit the budget of seconds, 2 at least."""
    call(0)
    count, started = 0, time.perf_counter()
    while count < 2 or time.perf_counter() - started < budget:
        call(1 + count)
        count += 1
    return (time.perf_counter() - started) / count


def interleaved(calls: dict[str, Callable[[int], object]], rounds: int, budget: float) -> dict[str, np.ndarray]:
    """Seconds a call, one a round, of each; a round that warms up is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for place in range(1 + rounds):
        for name, call in calls.items():
            seconds = seconds_a_call(call, budget)
            if place:
                times[name].append(seconds)
    return {name: np.array(values) for name, values in times.items()}


def measure_shape(width: int, outputs: int, rows: int, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    x_TK = torch.randn(rows, width, generator=torch.Generator().manual_seed(1))
    entered = contestants(width, outputs, arguments.cold_mib << 20, arguments.torch_bf16)
    wrong = [contestant.name for contestant in entered if errs(contestant, x_TK)]
    if wrong:
        sys.exit(f"wrong results, so no figures: {', '.join(wrong)} at {rows} rows of {width} x {outputs}")
    calls = {contestant.name: (lambda i, call=contestant.call: call(x_TK, i)) for contestant in entered}
    times = interleaved(calls, arguments.rounds, arguments.budget_ms / 1e3)
    figures = {}
    for contestant in entered:
        seconds = float(np.median(times[contestant.name]))
        figures[contestant.name] = {
            "us": round(1e6 * seconds, 1),
            "gb_per_s": round(contestant.num_bytes / seconds / 1e9, 2),
            "gflop_per_s": round(2 * rows * width * outputs / seconds / 1e9, 1),
            "over_torch": round(float(np.median(times["torch fp32"] / times[contestant.name])), 2),
        }
    return figures


def limits(rounds: int, budget: float) -> dict[str, float]:
    much, square = torch.ones(64 << 20), torch.randn(1024, 1024)
    tiny, tiny_w = torch.randn(1, 8), torch.randn(4, 8)
    calls: dict[str, Callable[[int], object]] = {
        "read": lambda i: much.sum(),
        "matmul": lambda i: square @ square,
        "call": lambda i: native.linear(tiny, tiny_w),
        "torch call": lambda i: F.linear(tiny, tiny_w),
    }
    times = interleaved(calls, rounds, budget)
    return {
        "read_gb_per_s": round(much.nbytes / float(times["read"].min()) / 1e9, 1),
        "matmul_gflop_per_s": round(2 * 1024**3 / float(times["matmul"].min()) / 1e9, 1),
        "empty_call_us": round(1e6 * float(np.median(times["call"])), 2),
        "torch_empty_call_us": round(1e6 * float(np.median(times["torch call"])), 2),
    }


def neighbours(rounds: int, budget: float) -> dict[str, float]:
    """A torch product alone, and in turns with a native one: the rest of the pair's time is the native call's."""
    x_TK, w_NK = torch.randn(32, 1024), torch.randn(1536, 1024)
    packed = quantized(w_NK, 8, 1024)

    def both(i: int) -> None:
        F.linear(x_TK, w_NK)
        native.linear_packed(x_TK, packed)

    calls: dict[str, Callable[[int], object]] = {
        "torch": lambda i: F.linear(x_TK, w_NK),
        "native": lambda i: native.linear_packed(x_TK, packed),
        "both": both,
    }
    times = interleaved(calls, rounds, budget)
    return {
        **{f"{name}_us": round(1e6 * float(np.median(seconds)), 1) for name, seconds in times.items()},
        "both_over_sum": round(float(np.median(times["both"] / (times["torch"] + times["native"]))), 2),
    }


def main(line: Sequence[str] | None = None) -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--isa", help="portable, avx2, avx512 or neon; the best if left out")
    parser.add_argument("--budget-ms", type=float, default=15, help="of each contestant in each round")
    parser.add_argument("--cold-mib", type=int, default=96, help="weights that a contestant walks through; more than the cache holds")
    parser.add_argument("--torch-bf16", action="store_true", help="enter torch's bf16 too: scalar, so slow, on a CPU without bf16 products")
    arguments = parser.parse_args(line)
    if reason := native.why_not():
        sys.exit(f"nothing to measure: {reason}")
    torch.set_num_threads(arguments.threads)
    native.set_threads(arguments.threads)
    native.use_isa(arguments.isa)
    budget = arguments.budget_ms / 1e3
    with torch.inference_mode():
        machine = limits(arguments.rounds, budget)
        print(f"native kernels ({native.isa()}) and torch {torch.__version__}, {arguments.threads} threads, {platform.machine()}")
        print(f"  limits: memory read {machine['read_gb_per_s']} GB/s, fp32 products {machine['matmul_gflop_per_s']} GFLOP/s")
        print(f"  a call that does nothing: {machine['empty_call_us']} us, torch's {machine['torch_empty_call_us']} us")
        figures: dict[str, Any] = {}
        for group in arguments.shapes:
            for name, (width, outputs) in SHAPES[group].items():
                for rows in arguments.rows:
                    print(f"{name}, {width} x {outputs:,}, {rows} rows")
                    figures[f"{name} T={rows}"] = found = measure_shape(width, outputs, rows, arguments)
                    for contestant, entry in found.items():
                        print(f"  {contestant:15s} {entry['us']:10,.1f} us  {entry['gb_per_s']:6.2f} GB/s", end="")
                        print(f"  {entry['gflop_per_s']:7.1f} GFLOP/s  {entry['over_torch']:6.2f} x torch fp32")
        shared = neighbours(arguments.rounds, budget)
    print(
        f"neighbours: torch {shared['torch_us']} us, native {shared['native_us']} us, in turns {shared['both_us']} us a pair: "
        f"{shared['both_over_sum']} x the sum"
    )
    print(
        json.dumps(
            {
                "benchmark": "kernels",
                "puna": puna.__version__,
                "isa": native.isa(),
                "threads": arguments.threads,
                "limits": machine,
                "shapes": figures,
                "neighbours": shared,
            }
        )
    )


if __name__ == "__main__":
    main()
