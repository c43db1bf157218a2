"""`puna quantize`: a model with its weights as integers of 4 or 8 bits, and a report of what that saved and what it cost.

`puna.checkpoint` chooses the integers and writes them, `puna.evals.likeness` compares; this file arranges it for people and programs.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from puna.cli.error import UserError
from puna.cli.models import refuse_occupied, weights_of
from puna.cli.progress import measured, working

if TYPE_CHECKING:
    from puna.checkpoint import Mix, Storage
    from puna.checkpoint.tally import Part
    from puna.config import ModelConfig
    from puna.evals.likeness import Likeness

# Larger models are compared only on demand: it means to run both.
_COMPARED_BELOW = 4 << 30
_WORST = 5


class Bits(StrEnum):
    four = "4"
    eight = "8"


class PartBits(StrEnum):
    four = "4"
    eight = "8"
    floats = "16"


class Group(StrEnum):
    row = "row"
    g32 = "32"
    g64 = "64"
    g128 = "128"


def quantize(
    source: Annotated[str, typer.Argument(metavar="IN", help="A nano's name or a Hugging Face directory.")],
    directory: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write; must not hold anything yet.")],
    bits: Annotated[Bits, typer.Option(help="Bits of a weight; where there are routed experts, of theirs.")] = Bits.eight,
    group: Annotated[
        Group | None, typer.Option(help="Weights that share a scale, in 4 and 8 bits alike. Default: 32 in 4, a row in 8.")
    ] = None,
    dense: Annotated[
        PartBits | None,
        typer.Option(help="Bits of the other matrices; 16: bf16. By default 8, or BITS where there are no routed experts."),
    ] = None,
    embedding: Annotated[PartBits | None, typer.Option(help="Bits of the embedding. By default 8, or 16 beside 4-bit matrices.")] = None,
    head: Annotated[PartBits | None, typer.Option(help="Bits of the output head. By default 8.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="A text over which both models are compared; a few sentences in 12 languages without it.")
    ] = None,
    compare: Annotated[
        bool | None, typer.Option(help="Whether both models are run and compared. By default below 4 GiB, or where a text is given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Write a model with its weights as integers, in the compressed-tensors format."""
    weights = weights_of(source)
    refuse_occupied(directory)
    texts = None if text is None else (_read(text),)
    if texts is not None and compare is False:
        raise UserError(f"--text {text} is read to compare both models, which --no-compare forbids; leave out one of the two")
    with working(f"reading {source}"):
        from puna.checkpoint import convert_model, open_model
        from puna.checkpoint.tally import tally
        from puna.tokens.bpe import Tokenizer

        tokenizer = Tokenizer.from_hf(weights)
        with open_model(weights) as stored:
            before, mix = stored.storage(), mix_of(stored.config, bits, group, dense, embedding, head)
    with measured(f"writing {directory}") as progress:
        written = convert_model(weights, directory, tokenizer, mix, progress=progress)
    with open_model(directory) as stored:
        after, parts = stored.storage(), tally(stored, written.errors)
    found = None
    if compare if compare is not None else texts is not None or before.num_bytes < _COMPARED_BELOW:
        with working("comparing"):
            from puna.evals.likeness import SAMPLE, likeness

            found = likeness(weights, directory, texts or SAMPLE)
    if as_json:
        print(json.dumps(as_object(directory, before, after, parts, found) | {"loads_in_transformers": mix.loads_in_transformers}))
        return
    _show(directory, before, after, parts, found)
    if not mix.loads_in_transformers:
        print("transformers cannot read an embedding in integers beside several schemes; puna convert makes a bf16 directory of this one")


def mix_of(
    config: "ModelConfig", bits: Bits, group: Group | None, dense: PartBits | None, embedding: PartBits | None, head: PartBits | None
) -> "Mix":
    """The options as one choice."""
    from puna.checkpoint import Mix, Scheme

    def scheme(chosen: str) -> Scheme | None:
        size = group or (Group.g32 if chosen == "4" else Group.row)
        return None if chosen == "16" else Scheme(int(chosen), None if size is Group.row else int(size))

    others = dense or ("8" if config.moe_layers else bits)
    main = scheme(bits) if config.moe_layers else scheme(others)
    if main is None:
        raise UserError(f"{config.name} has no routed experts, so that --dense 16 leaves no matrix of its layers to quantise; leave it out")
    mixed = "4" in (bits, others, head)
    return Mix(main, scheme(others), scheme(embedding or ("16" if mixed else "8")), scheme(head or "8"))


def _read(text: Path) -> str:
    try:
        content = text.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"--text {text} is not UTF-8 ({error.reason} at byte {error.start}); name a plain text") from error
    if not content.strip():
        raise UserError(f"--text {text} is empty: there is nothing to compare the models over")
    return content


# --- For programs ------------------------------------------------------------------------------------------------------


def as_object(directory: Path, before: "Storage", after: "Storage", parts: "Sequence[Part]", found: "Likeness | None") -> dict[str, Any]:
    """Everything that the report shows, in numbers."""
    quantised = [kind for kind in after.by_kind if kind.startswith("int")]
    errors = {module: error for part in parts for module, error in part.errors.items()}
    return {
        "directory": str(directory),
        "schemes": [asdict(scheme) for scheme in after.schemes],
        "bytes": {"before": before.num_bytes, "after": after.num_bytes},
        "bits_per_weight": {"before": before.bits_per_weight, "after": after.bits_per_weight},
        "quantised": {
            "parameters": sum(after.by_kind[kind] for kind in quantised),
            "parameters_share": sum(after.by_kind[kind] for kind in quantised) / sum(after.by_kind.values()),
            "bytes": sum(after.bytes_by_kind[kind] for kind in quantised),
            "bytes_share": sum(after.bytes_by_kind[kind] for kind in quantised) / sum(after.bytes_by_kind.values()),
        },
        "parts": [
            {
                "name": part.name,
                "stored_as": list(part.kinds),
                "parameters": part.parameters,
                "quantised": part.quantised,
                "bytes": part.num_bytes,
                "bits_per_weight": part.bits_per_weight,
                "mean_error": part.mean_error,
                "max_error": max(part.errors.values(), default=None),
            }
            for part in parts
        ],
        "worst": dict(sorted(errors.items(), key=lambda item: -item[1])[:_WORST]),
        "likeness": None if found is None else asdict(found),
    }


# --- For people --------------------------------------------------------------------------------------------------------


def _show(directory: Path, before: "Storage", after: "Storage", parts: "Sequence[Part]", found: "Likeness | None") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from puna.cli.show import short_bytes, short_count

    report = as_object(directory, before, after, parts, found)
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=0, show_edge=False)  # narrow: it has to fit 80 columns
    table.add_column("part", no_wrap=True)
    table.add_column("stored as", no_wrap=True)
    for column in ("parameters", "bytes", "bits", "error", "at most"):
        table.add_column(column, justify="right", no_wrap=True)
    for part in parts:
        errors = ("", "") if part.mean_error is None else (f"{part.mean_error:.2%}", f"{max(part.errors.values()):.2%}")
        how = "; ".join(part.kinds)
        table.add_row(part.name, how, short_count(part.parameters), short_bytes(part.num_bytes), f"{part.bits_per_weight:.2f}", *errors)
    table.caption = "bits a weight with scales; error = |w - w'| / |w|, mean over matrices"
    table.caption_justify = "left"
    console.print(table)
    share = report["quantised"]
    console.print(
        f"{directory}: {after.num_bytes:,} bytes of {before.num_bytes:,} ({after.num_bytes / before.num_bytes:.0%}), "
        f"{after.bits_per_weight:.2f} bits a weight of {before.bits_per_weight:.2f}",
        f"quantised: {share['parameters_share']:.2%} of the parameters, {share['bytes_share']:.2%} of the bytes",
        *(f"worst: {error:.2%}  {module}" for module, error in report["worst"].items()),
        sep="\n",
        markup=False,
    )
    if found is None:
        console.print("not compared: --compare, or --text FILE, runs both models")
        return
    (bits, new_bits), (perplexity, new_perplexity) = found.bits_per_byte, found.perplexity
    console.print(
        f"over {found.tokens:,} tokens, {found.bytes:,} bytes: bits per byte {bits:.4f} -> {new_bits:.4f} ({new_bits - bits:+.4f}), "
        f"perplexity {perplexity:.2f} -> {new_perplexity:.2f}, KL {found.kl:.5f} nats a token, "
        f"likeliest token the same at {found.same_first:.1%} of places"
    )
