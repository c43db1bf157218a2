"""What a model weighs: parameters by part, active parameters per token, bytes of weights, bytes of cache.

Parameters are counted from the modules themselves, built on the meta device (no memory, no weights), so that the printed figures
cannot drift from the code. Knows names of parameters; knows nothing of files or of how figures are printed.

Letters: D model width, F feed-forward width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from puna.config import ModelConfig
from puna.model.model import Model

PARTS = (
    "attention",
    "routed experts",
    "shared experts",
    "router",
    "dense",
    "norms",
    "embedding",
    "head",
    "vision",
    "adapter",
    "projector",
)
TEXT_PARTS = PARTS[:8]
# [stated] Llama 4 sends each token to one routed expert.
ACTIVE_EXPERTS = 1
# [ours] The quantised sizes that `puna show` prints are those of Meta's int4 scheme: feed-forward matrices in groups of 128 weights
# along the contracted side, one float32 scale a group; everything else stays bf16.
GROUP = 128
SCALE_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterCount:
    """Counts of parameters; `parts` has every name of `PARTS`."""

    parts: Mapping[str, int]
    active_routed: int
    bf16_bytes: int
    int8_bytes: int
    int4_bytes: int

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    @property
    def text(self) -> int:
        return sum(self.parts[part] for part in TEXT_PARTS)

    @property
    def active(self) -> int:
        """Text parameters that one token meets: its own expert in each MoE layer, and everything that all tokens share."""
        return self.text - self.parts["routed experts"] + self.active_routed

    @property
    def active_without_embedding(self) -> int:
        """As `active`, without the input embedding, of which a token reads one row."""
        return self.active - self.parts["embedding"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheBytes:
    """Keys and values in bytes. Local layers keep at most one chunk, so their share of a sequence is capped; None: nothing is local."""

    global_per_token: int
    local_per_token: int
    local_cap: int | None

    def sequence(self, num_tokens: int) -> int:
        """Bytes that a sequence of `num_tokens` keeps."""
        local = self.local_per_token * num_tokens
        return self.global_per_token * num_tokens + (local if self.local_cap is None else min(local, self.local_cap))


def count_parameters(config: ModelConfig) -> ParameterCount:
    """Builds `config` on the meta device and counts."""
    with torch.device("meta"):
        model = Model(config)
    parts: dict[str, int] = dict.fromkeys(PARTS, 0)
    sizes = {16: 0, 8: 0, 4: 0}
    for name, parameter in model.named_parameters():
        part = part_of(name)
        parts[part] += parameter.numel()
        for bits in sizes:
            sizes[bits] += _stored_bytes(name, part, parameter.shape, bits)
    active_routed = parts["routed experts"] * ACTIVE_EXPERTS // max(config.num_experts, 1)
    return ParameterCount(parts=parts, active_routed=active_routed, bf16_bytes=sizes[16], int8_bytes=sizes[8], int4_bytes=sizes[4])


def part_of(name: str) -> str:
    """The part that the parameter called `name` belongs to; an unknown name is an error, so that no weight goes uncounted."""
    if name.startswith("text."):
        for mark, part in _TEXT_MARKS:
            if mark in name:
                return part
    for start, part in _OTHER_STARTS:
        if name.startswith(start):
            return part
    raise ValueError(f"parameter {name!r} belongs to no part that is counted; add its name to puna.model.count")


_TEXT_MARKS = (
    (".attention.", "attention"),
    (".experts.", "routed experts"),
    (".shared.", "shared experts"),
    (".router.", "router"),
    (".feed_forward.", "dense"),
    ("norm.", "norms"),
    ("text.embed.", "embedding"),
    ("text.head.", "head"),
)
_OTHER_STARTS = (("vision.adapter.", "adapter"), ("vision.", "vision"), ("projector.", "projector"))


def _stored_bytes(name: str, part: str, shape: torch.Size, bits: int) -> int:
    numel = shape.numel()
    if bits == 16 or part not in ("routed experts", "shared experts", "dense"):
        return 2 * numel
    contracted = shape[1]  # [F, D] of a linear layer contracts D; [E, D, 2F] of the experts, used as x @ w, contracts D too
    groups = numel // contracted * -(-contracted // GROUP)
    return numel * bits // 8 + groups * SCALE_BYTES


def cache_bytes(config: ModelConfig, bytes_per_value: int = 2) -> CacheBytes:
    """The cache's size, two vectors (key and value) a layer and token, in bf16 unless told otherwise."""
    per_layer = 2 * config.num_kv_heads * config.head_width * bytes_per_value
    layers = config.layers()
    num_local = sum(layer.is_local for layer in layers)
    return CacheBytes(
        global_per_token=(len(layers) - num_local) * per_layer,
        local_per_token=num_local * per_layer,
        local_cap=num_local * per_layer * config.chunk if num_local and config.chunk else None,
    )
