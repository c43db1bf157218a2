"""`puna convert`: a nano or a Hugging Face directory, written out as a Hugging Face directory that `transformers` loads."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from puna.cli.error import UserError
from puna.cli.models import weights_of
from puna.cli.progress import working


class Dtype(StrEnum):
    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A nano's name or a Hugging Face directory.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; must not hold anything yet.")],
    dtype: Annotated[Dtype, typer.Option(help="How the weights are written.")] = Dtype.bfloat16,
) -> None:
    """Write a model as a Hugging Face directory."""
    weights = weights_of(source)
    refuse_occupied(directory)
    with working(f"reading {source}"):
        from puna.checkpoint import load_model, save_model
        from puna.tokens.bpe import Tokenizer

        tokenizer = Tokenizer.from_hf(weights)
        model = load_model(weights, dtype.value)
    with working(f"writing {directory}"):
        save_model(model, directory, tokenizer, dtype=dtype.value)
    files = [file for file in directory.rglob("*") if file.is_file()]
    print(f"{directory}: {len(files)} files, {sum(file.stat().st_size for file in files):,} bytes, {dtype.value}")


def refuse_occupied(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file; name a new directory")
    if directory.is_dir() and any(directory.iterdir()):
        raise UserError(f"{directory} already holds files, which would be mixed with the model's; name a new or empty directory")
