"""`puna show`: a model's pattern of layers, parameters and memory, counted from the modules and never from a table.

The figures come from `puna.config` and `puna.model.count`; this file arranges them for people and, with --json, for programs.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from puna.cli.models import config_of, stored_at
from puna.cli.progress import working
from puna.config import LayerSpec, ModelConfig, VisionConfig

if TYPE_CHECKING:
    from rich.console import RenderableType

    from puna.checkpoint import Storage
    from puna.model.count import CacheBytes, ParameterCount

LAYERS_A_LINE = 48
_CONTEXTS = (8 << 10, 128 << 10, 1 << 20, 10 << 20)


def show(
    name_or_dir: Annotated[str, typer.Argument(help="A preset (scout, maverick, guard, scout-nano, ...) or a Hugging Face directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Print a model's pattern of layers, its parameters and its memory."""
    config = config_of(name_or_dir)
    with working(f"counting {config.name}"):
        from puna.model.count import cache_bytes, count_parameters

        count, cache = count_parameters(config), cache_bytes(config)
        storage = _storage_of(name_or_dir)
    if as_json:
        print(json.dumps(as_object(config, count, cache, storage)))
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for part in as_card(config, count, cache, storage):
        console.print(part)


def _storage_of(name_or_dir: str) -> "Storage | None":
    """None where there are no weights: a preset that does not ship, a directory with no more than its config."""
    directory = stored_at(name_or_dir)
    if directory is None:
        return None
    from puna.checkpoint import open_model

    with open_model(directory) as stored:
        return stored.storage()


# --- For programs ------------------------------------------------------------------------------------------------------


def as_object(config: ModelConfig, count: "ParameterCount", cache: "CacheBytes", storage: "Storage | None" = None) -> dict[str, Any]:
    """Everything that the card shows, in numbers."""
    return {
        "config": asdict(config),
        "layers": [asdict(layer) for layer in config.layers()],
        "parameters": dict(count.parts)
        | {
            "total": count.total,
            "text": count.text,
            "active": count.active,
            "active_without_embedding": count.active_without_embedding,
        },
        "stored": None
        if storage is None
        else {
            "bytes": storage.num_bytes,
            "bits_per_weight": storage.bits_per_weight,
            "parameters": storage.by_kind,
            "schemes": [asdict(scheme) for scheme in storage.schemes],
        },
        "weight_bytes": {"bf16": count.bf16_bytes, "int8": count.int8_bytes, "int4": count.int4_bytes},
        "cache_bytes": {
            "global_per_token": cache.global_per_token,
            "local_per_token": cache.local_per_token,
            "local_cap_per_sequence": cache.local_cap,
        },
        "tokens_per_tile": config.vision.tokens_per_tile if config.vision else None,
        "max_tokens_per_picture": max_picture_tokens(config.vision) if config.vision else None,
    }


def max_picture_tokens(vision: VisionConfig) -> int:
    """Stream tokens of the largest picture: patches, a separator after each tile, three marks; one more tile for the whole picture."""
    block = vision.tokens_per_tile + 3
    return block if vision.max_tiles == 1 else vision.max_tiles * (vision.tokens_per_tile + 1) + block


# --- For people --------------------------------------------------------------------------------------------------------


def as_card(config: ModelConfig, count: "ParameterCount", cache: "CacheBytes", storage: "Storage | None" = None) -> "list[RenderableType]":
    """What `puna show` prints, top to bottom; fits 80 columns."""
    from rich.markup import escape

    return [
        f"[bold]{escape(config.name)}[/bold]   {short_count(count.total)} parameters, {short_count(count.active)} active per token",
        *_shape_lines(config),
        "",
        *_strip(config.layers()),
        "",
        *_kinds(config),
        _parts_table(count),
        _memory_table(config, count, cache),
        "",
        *_vision_lines(config.vision),
        *_storage_lines(storage),
    ]


def _shape_lines(config: ModelConfig) -> list[str]:
    return [
        f"  {config.num_layers} layers of width {config.width:,}, {config.vocab_size:,} token ids, {config.max_positions:,} positions",
        f"  {_counted(config.num_heads, 'query head')} on {_counted(config.num_kv_heads, 'key/value head')} of width {config.head_width}",
    ]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _strip(layers: Sequence[LayerSpec]) -> list[str]:
    """Two characters a layer, one above the other: what it sees, and its feed-forward."""
    lines = []
    for start in range(0, len(layers), LAYERS_A_LINE):
        row = layers[start : start + LAYERS_A_LINE]
        ruler = " ".join(f"{layer.index:<4}" for layer in row[::4])
        sees = _by_fours("·" if layer.is_local else "●" for layer in row)
        feed = _by_fours("E" if layer.feed_forward == "moe" else "d" for layer in row)
        lines += [f"  layer         {ruler.rstrip()}", f"  attention     {sees}", f"  feed-forward  {feed}"]
    return [*lines, "[dim]                · own chunk   ● whole context   E experts   d dense[/dim]"]


def _by_fours(marks: Iterable[str]) -> str:
    text = "".join(marks)
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def _kinds(config: ModelConfig) -> list[str]:
    """One line for each kind of layer, in order of appearance."""
    kinds = Counter(replace(layer, index=0) for layer in config.layers())
    return [f"  {number:>4} x  {', '.join([*_attention_words(kind), _feed_forward_words(config, kind)])}" for kind, number in kinds.items()]


def _attention_words(layer: LayerSpec) -> list[str]:
    return [
        "RoPE" if layer.rope else "NoPE",
        f"chunk {layer.chunk:,}" if layer.chunk else "whole context",
        *(["q/k norm"] if layer.qk_norm else []),
        *(["temperature"] if layer.temperature else []),
    ]


def _feed_forward_words(config: ModelConfig, layer: LayerSpec) -> str:
    if layer.feed_forward == "dense":
        return f"dense {config.dense_width:,}"
    return f"1 of {config.num_experts} experts + shared {config.expert_width:,}"


def _parts_table(count: "ParameterCount") -> "RenderableType":
    table = _table("parameters", ">count", ">share")
    for part, number in count.parts.items():
        if number:
            table.add_row(part, f"{number:,}", f"{100 * number / count.total:.2f} %")
    table.add_section()
    for name, number in [
        ("total", count.total),
        ("active per token", count.active),
        ("  without the input embedding", count.active_without_embedding),
    ]:
        table.add_row(name, f"{number:,}", f"{100 * number / count.total:.2f} %")
    return table


def _memory_table(config: ModelConfig, count: "ParameterCount", cache: "CacheBytes") -> "RenderableType":
    table = _table("memory", ">bytes", ">")
    for kind, size in [
        ("bf16", count.bf16_bytes),
        ("int8 feed-forward (*)", count.int8_bytes),
        ("int4 feed-forward (*)", count.int4_bytes),
    ]:
        table.add_row(f"weights, {kind}", f"{size:,}", short_bytes(size))
    table.add_section()
    num_local = sum(layer.is_local for layer in config.layers())
    rows = [(f"cache per token, {_counted(config.num_layers - num_local, 'global layer')}", cache.global_per_token)]
    if cache.local_cap is not None:
        rows.append((f"cache per token, {_counted(num_local, 'local layer')}", cache.local_per_token))
        rows.append((f"  at most ({config.chunk:,} tokens)", cache.local_cap))
    rows += [
        (f"cache of {tokens:,} tokens", cache.sequence(tokens)) for tokens in sorted({min(n, config.max_positions) for n in _CONTEXTS})
    ]
    for name, size in rows:
        table.add_row(name, f"{size:,}", short_bytes(size))
    table.caption = "(*) groups of 128 with float32 scales, the rest bf16; cache in bf16"
    table.caption_justify = "left"
    return table


def _vision_lines(vision: VisionConfig | None) -> list[str]:
    if vision is None:
        return ["  [bold]pictures[/bold]   none: there is no vision tower"]
    tiles = "1 tile" if vision.max_tiles == 1 else f"1 to {vision.max_tiles} tiles, then the whole picture once more"
    return [
        f"  [bold]pictures[/bold]   {tiles}",
        f"             {vision.tile_size} x {vision.tile_size} pixels, {vision.tokens_per_tile} tokens a tile, "
        f"at most {max_picture_tokens(vision):,} a picture",
    ]


def _storage_lines(storage: "Storage | None") -> list[str]:
    if storage is None:
        return ["  [bold]stored[/bold]     nowhere here: these are the figures of the shape alone"]
    kinds = ", ".join(f"{short_count(number)} in {kind}" for kind, number in storage.by_kind.items())
    how = "".join(f"; {scheme}" for scheme in storage.schemes)
    return [
        f"  [bold]stored[/bold]     {storage.num_bytes:,} bytes, {storage.bits_per_weight:.2f} bits a weight",
        f"             {kinds}{how}",
    ]


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=True, header_style="bold")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return table


def short_count(number: int) -> str:
    """Parameters as people say them: 108.64 B, 15.42 M."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return str(number)


def short_bytes(number: int) -> str:
    """Bytes in binary units."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{number / size:,.2f} {unit}"
    return f"{number} B"
