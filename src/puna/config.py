"""The shape of a model as data: `ModelConfig`, and the one function that owns the pattern of layers.

Knows nothing of tensors or files. `ModelConfig.layers()` is the only place that decides which layer is NoPE, which is
chunked and which holds experts; `puna show NAME` prints it. Facts about Llama 4 carry the tags of `docs/sources.md`.
"""

from dataclasses import dataclass
from typing import Literal


class ConfigError(ValueError):
    """A model shape that cannot be built. The message names the field, its value, the rule and the way out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RopeScaling:
    """Scout's frequency scaling. [stated: Meta's reference] With `low == high` the smooth band has zero width: a hard switch."""

    factor: float = 16.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_max_positions: int = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionConfig:
    """The vision tower, its adapter and the tiling that feeds it. Sizes in pixels; one tile is one square picture."""

    tile_size: int
    patch_size: int
    width: int
    num_layers: int
    num_heads: int
    adapter_width: int
    max_tiles: int = 16
    pixel_shuffle_ratio: float = 0.5
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0

    def __post_init__(self) -> None:
        _check_positive(self, "tile_size", "patch_size", "width", "num_heads", "adapter_width", "max_tiles", "norm_eps", "rope_theta")
        if self.tile_size % self.patch_size:
            raise ConfigError(f"tile_size={self.tile_size} is not a multiple of patch_size={self.patch_size}; Llama 4 uses 336 and 14")
        if self.pixel_shuffle_ratio != 0.5:
            raise ConfigError(f"pixel_shuffle_ratio={self.pixel_shuffle_ratio}: only 0.5 exists in the Llama 4 family")
        if self.patches_per_side % 2:
            raise ConfigError(f"{self.patches_per_side} patches a side cannot be shuffled in 2 x 2 cells; make tile_size / patch_size even")
        if self.width % self.num_heads or (self.width // self.num_heads) % 4:
            raise ConfigError(f"vision width={self.width} over num_heads={self.num_heads}: heads must be a multiple of 4 wide (2-D RoPE)")

    @property
    def patches_per_side(self) -> int:
        return self.tile_size // self.patch_size

    @property
    def tokens_per_tile(self) -> int:
        """Stream tokens that one tile fills after the pixel shuffle (144 for Llama 4)."""
        return (self.patches_per_side // 2) ** 2

    @property
    def head_width(self) -> int:
        return self.width // self.num_heads

    @property
    def shuffled_width(self) -> int:
        """Width after the pixel shuffle: four neighbouring patches side by side. Also the width of the tower's MLP [stated]."""
        return 4 * self.width


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSpec:
    """What one decoder layer does. `chunk` is None for a layer that sees the whole context."""

    index: int
    rope: bool
    chunk: int | None
    qk_norm: bool
    temperature: bool
    feed_forward: Literal["moe", "dense"]

    @property
    def is_local(self) -> bool:
        return self.chunk is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """One Llama-4-shaped model. Widths in elements, positions in tokens; `None` means that the part is absent."""

    name: str
    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    expert_width: int
    dense_width: int
    num_experts: int
    moe_layers: tuple[int, ...]
    nope_layers: tuple[int, ...]
    chunk: int | None
    qk_norm: bool
    rope_theta: float = 500000.0
    rope_scaling: RopeScaling | None = None
    temperature_tuning: bool = True
    floor_scale: float = 8192.0
    attn_scale: float = 0.1
    norm_eps: float = 1e-5
    max_positions: int = 262144
    initializer_range: float = 0.02
    bos_id: int = 200000
    eos_ids: tuple[int, ...] = (200001, 200007, 200008)
    pad_id: int = 200018
    image_start_id: int = 200080
    image_end_id: int = 200081
    image_id: int = 200090
    patch_id: int = 200092
    vision: VisionConfig | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "vocab_size", "width", "num_layers", "num_heads", "num_kv_heads", "head_width", "max_positions")
        _check_positive(self, "norm_eps", "rope_theta", "floor_scale", *(["chunk"] if self.chunk is not None else []))
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(f"num_heads={self.num_heads} is not divisible by num_kv_heads={self.num_kv_heads}; Scout uses 40 and 8")
        if self.head_width % 2:
            raise ConfigError(f"head_width={self.head_width} is odd; RoPE rotates pairs")
        for field in ("moe_layers", "nope_layers"):
            outside = [i for i in getattr(self, field) if not 0 <= i < self.num_layers]
            if outside:
                raise ConfigError(f"{field} names layer {outside[0]}, but the model has layers 0 to {self.num_layers - 1}")
        if self.moe_layers and self.num_experts < 1:
            raise ConfigError(f"moe_layers names {len(self.moe_layers)} layers but num_experts={self.num_experts}; they need at least one")
        for field in ("pad_id", "bos_id", "patch_id", "image_id", "image_start_id", "image_end_id"):
            if not 0 <= getattr(self, field) < self.vocab_size:
                raise ConfigError(f"{field}={getattr(self, field)} lies outside the vocabulary of {self.vocab_size} ids")
        outside = [i for i in self.eos_ids if not 0 <= i < self.vocab_size]
        if outside:
            raise ConfigError(f"eos_ids names {outside[0]}, outside the vocabulary of {self.vocab_size} ids; no answer would end there")

    def layers(self) -> tuple[LayerSpec, ...]:
        """The pattern of layers, first to last.

        RoPE layers attend inside their chunk and may norm q and k; NoPE layers see everything and scale q by position.
        """
        moe, nope = set(self.moe_layers), set(self.nope_layers)
        return tuple(
            LayerSpec(
                index=i,
                rope=i not in nope,
                chunk=None if i in nope else self.chunk,
                qk_norm=self.qk_norm and i not in nope,
                temperature=self.temperature_tuning and i in nope,
                feed_forward="moe" if i in moe else "dense",
            )
            for i in range(self.num_layers)
        )

    @property
    def groups(self) -> int:
        """Query heads that share one key/value head."""
        return self.num_heads // self.num_kv_heads


def _check_positive(config: ModelConfig | VisionConfig, *fields: str) -> None:
    for field in fields:
        if not getattr(config, field) > 0:
            raise ConfigError(f"{field}={getattr(config, field)} must be above 0")


def every_nth_layer(interval: int | None, num_layers: int) -> tuple[int, ...]:
    """Layers `interval-1, 2*interval-1, ...`: Meta's rule for NoPE layers and for MoE layers. [stated: Meta's reference]

    >>> every_nth_layer(4, 12)
    (3, 7, 11)
    """
    return () if not interval else tuple(i for i in range(num_layers) if (i + 1) % interval == 0)
