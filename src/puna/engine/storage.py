"""Where keys and values lie: one block of memory a kind of page, all layers in it, in the model's precision, in bf16 or in int8.

int8 keeps one scale for each token, head and layer: its largest absolute value over 127. Pages are cleared when they are handed out, so
that places behind a sequence's end hold zeros and never another sequence's keys.

Letters: L layers of the kind, P pages, U tokens per page, K key/value heads, H head width, T tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from puna.config import ModelConfig
from puna.kernels import huge

KVDtype = Literal["auto", "float32", "bfloat16", "int8"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
_SCALE_BYTES = 4
_LARGEST = 127


def stored_dtype(chosen: KVDtype, model_dtype: torch.dtype) -> torch.dtype:
    """What `chosen` means beside a model in `model_dtype`: "auto" is the model's own."""
    return model_dtype if chosen == "auto" else _DTYPES[chosen]


def bytes_per_token(config: ModelConfig, dtype: torch.dtype) -> int:
    """Bytes of one token's key and value in one layer."""
    scale = _SCALE_BYTES if dtype == torch.int8 else 0
    return 2 * config.num_kv_heads * (config.head_width * dtype.itemsize + scale)


class Rows(NamedTuple):
    """Keys and values `[K, ..., H]`."""

    keys: Tensor
    values: Tensor


class PageStorage:
    """`num_pages` pages for the layers `layers` of a model. Allocated at once and touched, so that memory can't run out later."""

    def __init__(
        self,
        config: ModelConfig,
        layers: Sequence[int],
        num_pages: int,
        tokens_per_page: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.place = {layer: place for place, layer in enumerate(layers)}
        self.tokens_per_page = tokens_per_page
        self.heads, self.width = config.num_kv_heads, config.head_width
        shape = (2, len(layers), self.heads, num_pages, tokens_per_page)
        full = (*shape, self.width)  # 2: keys, values
        on_cpu = torch.device(device).type == "cpu"
        self.data = huge.empty(full, dtype).fill_(0) if on_cpu else torch.full(full, 0, dtype=dtype, device=device)
        self.scales = torch.full(shape, 0, dtype=torch.float32, device=device) if dtype == torch.int8 else None

    @property
    def num_bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in (self.data, self.scales) if x is not None)

    def clear(self, pages: Sequence[int]) -> None:
        """Zeros in these pages, in all layers."""
        index = torch.tensor(pages, dtype=torch.int64, device=self.data.device)
        for x in (self.data, self.scales):
            if x is not None:
                x.index_fill_(3, index, 0)

    def export(self, pages: Sequence[int]) -> dict[str, Tensor]:
        """Copies of whole pages, all layers, on the CPU: `insert` takes them back."""
        index = torch.tensor(pages, dtype=torch.int64, device=self.data.device)
        parts = {"data": self.data, "scales": self.scales}
        return {name: x.index_select(3, index).cpu().contiguous() for name, x in parts.items() if x is not None}

    def insert(self, pages: Sequence[int], parts: Mapping[str, Tensor]) -> None:
        """Fill pages with what `export` gave."""
        index = torch.tensor(pages, dtype=torch.int64, device=self.data.device)
        for name, x in (("data", self.data), ("scales", self.scales)):
            if x is not None:
                x.index_copy_(3, index, parts[name].to(x.device))

    def fits(self, num_pages: int, parts: Mapping[str, Tensor]) -> bool:
        """Whether `parts` are what `export` gives for so many pages."""
        own = {name: x for name, x in (("data", self.data), ("scales", self.scales)) if x is not None}
        shapes = {name: (*x.shape[:3], num_pages, *x.shape[4:]) for name, x in own.items()}
        return shapes == {name: tuple(x.shape) for name, x in parts.items()} and all(parts[name].dtype == own[name].dtype for name in own)

    def write(self, layer: int, slots_T: Tensor, k_TKH: Tensor, v_TKH: Tensor) -> None:
        """Keep tokens' keys and values in their slots (page * U + place within it)."""
        for side, x_TKH in enumerate((k_TKH, v_TKH)):
            x_KTH = x_TKH.transpose(0, 1)
            if self.scales is not None:
                scale_KT = x_KTH.abs().amax(-1).float() / _LARGEST
                self.scales[side, self.place[layer]].flatten(1).index_copy_(1, slots_T, scale_KT)
                x_KTH = (x_KTH.float() / scale_KT.clamp(min=1e-30)[..., None]).round()
            self.data[side, self.place[layer]].flatten(1, 2).index_copy_(1, slots_T, x_KTH.to(self.data.dtype))

    def read(self, layer: int, pages: Tensor) -> Rows:
        """Keys and values of whole pages, page after page: `pages` `[...]` gives `[K, numel * U, H]`, int8 turned into fp32."""
        return Rows(self._side(0, layer, pages.flatten()), self._side(1, layer, pages.flatten()))

    def _side(self, side: int, layer: int, pages: Tensor) -> Tensor:
        data = self.data[side, self.place[layer]].flatten(2).index_select(1, pages)  # [K, pages, U * H]
        rows = data.view(self.heads, len(pages) * self.tokens_per_page, self.width)
        if self.scales is None:
            return rows
        scales = self.scales[side, self.place[layer]].index_select(1, pages).view(self.heads, -1, 1)
        return rows.float() * scales
