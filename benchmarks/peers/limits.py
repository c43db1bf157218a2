"""What the machine can do: reading memory, and products at the row counts that tokens really give the matrices."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F

from peers.rounds import Rate
from puna.checkpoint import open_model
from puna.config import ModelConfig
from puna.kernels import huge
from puna.model.count import TEXT_PARTS, count_parameters, part_of

_MEASURE_S = 0.15
_READ_S = 0.6  # about as long as a decode case: neighbours come and go
_READ_BYTES = 256 << 20  # more than caches hold
KINDS = ("float32", "bfloat16", "int8")


def read_rate() -> float:
    """Bytes/s of reading memory, by all of torch's threads: the mean, since what it is held against is one. The best of many
    reads is up to a fifth faster on a shared machine.
    """
    much = huge.empty((_READ_BYTES // 4,), torch.float32).fill_(1.0)  # where pages are small, looking them up costs a fifth
    much.sum()
    count, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < _READ_S:
        much.sum()
        count += 1
    return count * much.nbytes / seconds


def weights_limits(directories: Mapping[str, Path], streams: int) -> dict[str, Rate]:
    """Tokens/s that reading the weights allows steps of `streams` tokens, by kind; keys and values left out."""
    read = {kind: step_bytes(directory, streams) for kind, directory in directories.items()}
    return {
        f"memory read, {kind}'s {each / 1e6:,.0f} MB": lambda place, each=each: streams * read_rate() / each for kind, each in read.items()
    }


def product_rate(rows: int, width: int, outputs: int, kind: str) -> float:
    """Operations/s of `[rows, width] x [width, outputs]` through torch, the best of many; `kind` is one of KINDS."""
    if kind == "int8":
        a, b = (torch.randint(-127, 128, shape, dtype=torch.int8) for shape in ((rows, width), (outputs, width)))
        product: Callable[..., torch.Tensor] = torch._int_mm  # pyright: ignore[reportPrivateImportUsage]
        return 2 * rows * width * outputs / _best_seconds(lambda: product(a, b.T))
    x, w = (torch.randn(shape).to(getattr(torch, kind)) for shape in ((rows, width), (outputs, width)))
    return 2 * rows * width * outputs / _best_seconds(lambda: F.linear(x, w))


def fast_kinds() -> tuple[str, ...]:
    """Kinds of products worth a limit here: fp32, and those that are faster than it."""
    rates = {kind: product_rate(128, 1024, 1024, kind) for kind in KINDS}
    return tuple(kind for kind in KINDS if rates[kind] >= rates["float32"])


def step_bytes(directory: Path, streams: int) -> float:
    """What a step of `streams` tokens reads of the weights in `directory`, as they are stored there: of E experts, as many as so many
    random choices hit; of the embedding, next to nothing.
    """
    sizes: Counter[str] = Counter()
    with open_model(directory) as stored:
        for name in stored.shapes:
            sizes[part_of(name)] += stored.num_bytes(name)
        experts = stored.config.num_experts
    routed = sizes["routed experts"]
    hit = 1 - (1 - 1 / experts) ** streams if experts else 0.0
    return sum(sizes[part] for part in TEXT_PARTS) - sizes["embedding"] - routed * (1 - hit)


def products_limit(config: ModelConfig, tokens: int, head_rows: int, kind: str) -> float:
    """Tokens/s that torch's products alone would give a step of `tokens`: experts take `tokens / E` rows each, the
    head `head_rows`, the rest all.
    """
    counts, width = count_parameters(config), config.width
    rest = counts.active_without_embedding - counts.active_routed - counts.parts["head"]
    seconds = 2 * rest * tokens / product_rate(tokens, width, 2 * width, kind)
    seconds += 2 * counts.parts["head"] * head_rows / product_rate(head_rows, width, config.vocab_size, kind)
    if config.num_experts:
        few = max(1, tokens // config.num_experts)
        seconds += 2 * counts.active_routed * tokens / product_rate(few, width, 2 * config.expert_width, kind)
    return tokens / seconds


def _best_seconds(call: Callable[[], object]) -> float:
    call()
    best, started = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - started < _MEASURE_S:
        before = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - before)
    return best
