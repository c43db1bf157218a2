"""What fits: the machine is measured once, and memory for keys and values is cut into pages that are allocated, and touched, at the start.

Llama 4 needs less than its context suggests. Only every fourth layer keeps all tokens; the others keep one open chunk a sequence. So
memory is cut into two pools: enough local pages for the chunks of `max_streams` sequences (half of it at most), the rest for global
layers. Admission holds to the pools: a request waits or is refused, the engine does not grow.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from puna.config import ModelConfig
from puna.engine.pages import PageLayout
from puna.engine.storage import KVDtype, bytes_per_token, stored_dtype
from puna.model.count import count_parameters

_SHARE = 0.5  # of the memory that is free once the weights are in it
_GIB = 1 << 30


class MemoryPlanError(ValueError):
    """Too little memory for even one sequence. The message says how much there is, and what would do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What an engine may use.

    `max_streams` requests run at once; others wait. A step computes at most `step_tokens` tokens: more makes prompts faster, and running
    streams wait longer for each of theirs. `kv_bytes` for keys and values; None takes what `max_streams` full contexts need, at most half
    of the memory that is free. `kv_dtype` "auto" keeps them in the model's precision. `keep_prefixes`: requests that begin alike share
    what was computed. `batch_invariant`: answers do not depend on what else runs, bit for bit; slower. `vision_bytes` for rows of
    pictures seen before. `native`: on a CPU take the layers through `puna.kernels.decoder` where the library is there; False is plain
    torch. `exact`: packed integers meet activations as they are, not rounded to 8 bits; slower.
    """

    max_streams: int = 32
    step_tokens: int = 512
    tokens_per_page: int = 16
    kv_bytes: int | None = None
    kv_dtype: KVDtype = "auto"
    keep_prefixes: bool = True
    batch_invariant: bool = False
    vision_bytes: int = 64 << 20
    native: bool = True
    exact: bool = False

    def __post_init__(self) -> None:
        for name, least in (("max_streams", 1), ("step_tokens", 1), ("tokens_per_page", 1), ("vision_bytes", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        if self.step_tokens < self.max_streams:
            raise ValueError(
                f"step_tokens={self.step_tokens} is less than max_streams={self.max_streams}: a step could not give every stream its token"
            )
        if self.kv_dtype not in ("auto", "float32", "bfloat16", "int8"):
            raise ValueError(f"kv_dtype={self.kv_dtype!r} is unknown; use auto, float32, bfloat16 or int8")


@dataclass(frozen=True, slots=True)
class Plan:
    """What was found to fit. Sizes in bytes; `weight_bytes` as they lie in memory."""

    name: str
    layout: PageLayout
    kv_dtype: torch.dtype
    num_global: int
    num_local: int
    global_page_bytes: int
    local_page_bytes: int
    weight_bytes: int
    free_bytes: int
    max_streams: int
    max_positions: int

    @property
    def kv_bytes(self) -> int:
        return self.num_global * self.global_page_bytes + self.num_local * self.local_page_bytes

    @property
    def tokens_per_stream(self) -> int:
        """The longest sequence that fits while nothing else runs, answer included."""
        return min(self.max_positions, self.num_global * self.layout.tokens_per_page) if self.layout.global_layers else self.max_positions

    def stream_bytes(self, num_tokens: int) -> int:
        """The most bytes of keys and values that one sequence of up to `num_tokens` holds between two steps, whole pages counted."""
        return self.layout.num_global(num_tokens) * self.global_page_bytes + self.layout.num_local(num_tokens) * self.local_page_bytes

    def streams_of(self, num_tokens: int) -> int:
        """How many sequences of `num_tokens` fit at once."""
        fits = [self.max_streams]
        if self.layout.global_layers:
            fits.append(self.num_global // self.layout.num_global(num_tokens))
        if self.layout.local_layers:
            fits.append(self.num_local // self.layout.num_local(num_tokens))
        return min(fits)

    def report(self) -> str:
        """A few lines for people: what is used, and what fits."""
        precision = str(self.kv_dtype).removeprefix("torch.")
        lengths = sorted(
            {length for length in (512, 2048, 8192, 32_768, 131_072) if length < self.tokens_per_stream} | {self.tokens_per_stream}
        )
        streams = ", ".join(f"{self.streams_of(length)} of {length:,}" for length in lengths)
        return "\n".join(
            (
                f"{self.name}: weights {_size(self.weight_bytes)}; {_size(self.free_bytes)} of memory free beside them",
                f"keys and values: {_size(self.kv_bytes)} in {precision}, {self.layout.tokens_per_page} tokens a page: "
                f"{self.num_global:,} global pages ({len(self.layout.global_layers)} layers), "
                f"{self.num_local:,} local pages ({len(self.layout.local_layers)} layers, one chunk of {self.layout.chunk} a stream)",
                f"fits at once: {streams} tokens",
            )
        )


def plan_memory(
    config: ModelConfig, settings: Settings, model_dtype: torch.dtype, device: torch.device | str, weight_bytes: int | None = None
) -> Plan:
    """Measure the machine and cut the pools. The weights are expected to be in memory already, `weight_bytes` of them (None: all in the
    model's precision).
    """
    layout = PageLayout.of(config, settings.tokens_per_page)
    kv_dtype = stored_dtype(settings.kv_dtype, model_dtype)
    per_page = settings.tokens_per_page * bytes_per_token(config, kv_dtype)
    global_bytes, local_bytes = per_page * len(layout.global_layers), per_page * len(layout.local_layers)
    free = free_memory(device)
    longest = config.max_positions
    # While a step crosses chunk edges, pages of the chunk before and of the next are both needed.
    crossing = layout.pages_for(settings.step_tokens) + settings.max_streams if layout.local_layers else 0
    wanted_local = settings.max_streams * layout.num_local(longest) + crossing
    wanted_global = settings.max_streams * layout.num_global(longest)
    budget = settings.kv_bytes if settings.kv_bytes is not None else int(free * _SHARE)
    least_local, least_global = layout.num_local(longest), 1 if layout.global_layers else 0
    least = least_local * local_bytes + least_global * global_bytes
    if budget < least:
        raise MemoryPlanError(
            f"keys and values of {config.name} need {_size(least)} for one sequence, but have {_size(budget)}; give kv_bytes more, "
            "or keep them in int8 (kv_dtype='int8')"
        )
    num_local = wanted_local
    if num_local * local_bytes > budget // 2 and layout.global_layers:
        num_local = max(least_local, budget // 2 // local_bytes)
    elif num_local * local_bytes > budget:
        num_local = budget // local_bytes
    num_global = min(wanted_global, (budget - num_local * local_bytes) // global_bytes) if global_bytes else 0
    return Plan(
        name=config.name,
        layout=layout,
        kv_dtype=kv_dtype,
        num_global=num_global,
        num_local=num_local,
        global_page_bytes=global_bytes,
        local_page_bytes=local_bytes,
        weight_bytes=count_parameters(config).total * model_dtype.itemsize if weight_bytes is None else weight_bytes,
        free_bytes=free,
        max_streams=settings.max_streams,
        max_positions=longest,
    )


def free_memory(device: torch.device | str) -> int:
    """Bytes that a program could still take: of the GPU, or of this machine and of the group of processes that it runs in."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_free_of_machine(), _free_of_group())


def _free_of_machine() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # macOS names no free memory: half of what there is


def _free_of_group() -> int:
    """What a container's limit leaves; the machine's whole address space where there is none."""
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        files = Path("/sys/fs/cgroup") / limit, Path("/sys/fs/cgroup") / used
        if all(file.is_file() for file in files):
            words = [file.read_text(encoding="ascii").strip() for file in files]
            if words[0].isdigit():
                return max(0, int(words[0]) - int(words[1]))
    return 1 << 62


def _size(num_bytes: int) -> str:
    for unit, name in ((_GIB, "GiB"), (1 << 20, "MiB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:,.2f} {name}"
    return f"{num_bytes:,} bytes"
