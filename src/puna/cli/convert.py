"""`puna convert`: a nano or a Hugging Face directory, written out as a Hugging Face directory that stores its weights as asked."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from puna.cli.models import refuse_occupied, weights_of
from puna.cli.progress import working


class StorageKind(StrEnum):
    """`puna.checkpoint.STORAGES`, for typer."""

    bf16 = "bf16"
    int8 = "int8"
    fp16 = "fp16"
    fp32 = "fp32"


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A nano's name or a Hugging Face directory.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; must not hold anything yet.")],
    storage: Annotated[
        StorageKind, typer.Option(help="How the weights are stored; int8 needs compressed-tensors beside transformers.")
    ] = StorageKind.bf16,
) -> None:
    """Write a model as a Hugging Face directory, tensor by tensor."""
    weights = weights_of(source)
    refuse_occupied(directory)
    with working(f"writing {directory}"):
        from puna.checkpoint import convert_model
        from puna.tokens.bpe import Tokenizer

        tokenizer = Tokenizer.from_hf(weights)
        written = convert_model(weights, directory, tokenizer, storage.value)
    files = [file for file in directory.rglob("*") if file.is_file()]
    print(f"{directory}: {len(files)} files, {sum(file.stat().st_size for file in files):,} bytes, {storage.value}")
    if written.errors:
        worst = max(written.errors, key=written.errors.__getitem__)
        mean = sum(written.errors.values()) / len(written.errors)
        print(f"relative error of {len(written.errors)} matrices: {mean:.2%} on average, at most {written.errors[worst]:.2%} ({worst})")
