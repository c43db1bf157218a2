"""`puna data list|fetch|build|inspect`: what trains and what scores, bringing it here, making shards of it, and looking at it."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from puna.cli.error import UserError

data = typer.Typer(
    rich_markup_mode=None,
    help="List, fetch, build and inspect training data. PUNA_DATA_MIRROR names a folder or an http(s) address that holds the files.",
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@data.command("list")
def list_sources(
    evaluation: Annotated[bool, typer.Option("--eval", help="The evaluation sets, which never train, instead.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only sources of this kind.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Print the sources with kind, languages, size, licence and origin."""
    from dataclasses import asdict

    from puna.data.sources import KINDS, eval_manifest, manifest

    if kind is not None and kind not in KINDS:
        raise UserError(f"--kind {kind!r} is no kind of source; there are {', '.join(KINDS)}")
    rows = [source for source in (eval_manifest() if evaluation else manifest()).values() if kind in (None, source.kind)]
    if as_json:
        print(json.dumps([{**asdict(source), "local": _is_local(source)} for source in rows], ensure_ascii=False, indent=1))
        return
    for source in rows:
        here = "here" if _is_local(source) else "-"
        languages = "all 12" if len(source.languages) == 12 else " ".join(source.languages) or "-"
        print(
            f"{source.name:<28} {source.kind:<14}{source.bytes / 1e6:7.2f} MB  {here:<5} {languages:<36} {source.licence}; {source.origin}"
        )
    print(f"{len(rows)} sources, {sum(source.bytes for source in rows) / 1e6:.1f} MB; --json prints checksums, addresses and notes as well")


def _is_local(source: Any) -> bool:
    """Whether a file of that size lies where `fetch` would look; its checksum is `fetch`'s business."""
    from puna.data.sources import MIRROR_VARIABLE, cache_folder

    mirror = os.environ.get(MIRROR_VARIABLE, "")
    folder = cache_folder() if mirror.startswith(("http://", "https://")) else Path(mirror) if mirror else None
    path = folder / source.file if folder else None
    return path is not None and path.is_file() and path.stat().st_size == source.bytes


@data.command("fetch")
def fetch_sources(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Sources or evaluation sets; default: all.")] = None,
    no_evaluation: Annotated[bool, typer.Option("--no-eval", help="Without names: leave the evaluation sets out.")] = False,
    as_json: Json = False,
) -> None:
    """Bring files here from PUNA_DATA_MIRROR, or check those that are here; goes on where a download stopped."""
    from puna.data.progress import Bars
    from puna.data.sources import DataError, eval_manifest, fetch_source, manifest

    known = {**manifest(), **eval_manifest()}
    unknown = [name for name in names or [] if name not in known]
    if unknown:
        raise UserError(f"no source is called {unknown[0]!r}; puna data list and puna data list --eval print the names")
    wanted = [known[name] for name in names] if names else list((manifest() if no_evaluation else known).values())
    found: dict[str, str] = {}
    failed: dict[str, str] = {}
    with Bars() as bars:
        for source in wanted:
            try:
                path = fetch_source(source, lambda arrived, source=source: bars.advance(source.file, arrived, source.bytes))
                found[source.name] = str(path)
            except DataError as error:
                if os.environ.get("PUNA_DATA_MIRROR") is None or len(wanted) == 1:
                    raise
                failed[source.name] = str(error)
                bars.say(f"{source.name}: {error}")
    if as_json:
        print(json.dumps({"found": found, "failed": failed}, ensure_ascii=False))
    else:
        total = sum(known[name].bytes for name in found)
        print(f"{len(found)} files here with the right checksum, {total / 1e6:.1f} MB; {len(failed)} not")
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} files could not be brought here: {', '.join(failed)}")


@data.command("build")
def build_shards(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to fill; a build that was killed goes on there.")],
    size: Annotated[
        str, typer.Option(help="micro (0.3 MB a language), cpu (8 MB) or gpu (everything); English three times as much.")
    ] = "cpu",
    num_ranks: Annotated[int | None, typer.Option(help="BPE ids to learn (default: 2048, 8192, 32768).", show_default=False)] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Use this tokenizer instead of learning one.", show_default=False)] = None,
    max_bytes_per_language: Annotated[
        int | None, typer.Option(help="Bytes of text a language, instead of the size's.", show_default=False)
    ] = None,
    languages: Annotated[str | None, typer.Option(help="Only these, as en,es,ja (default: all 12).", show_default=False)] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many work at once.")] = 2,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out missing or broken files and empty languages, and name them.")
    ] = False,
    keep_work: Annotated[bool, typer.Option("--keep-work", help="Keep the refined text in OUT/work.")] = False,
    as_json: Json = False,
) -> None:
    """Clean, filter and deduplicate the prose, keep evaluation text out, and write tokenised shards with a report."""
    from puna.data.build import build, sized
    from puna.data.languages import LANGUAGES
    from puna.data.progress import Bars
    from puna.data.report import summary
    from puna.tokens.bpe import Tokenizer

    chosen = tuple(languages.replace(" ", "").split(",")) if languages else LANGUAGES
    strange = [language for language in chosen if language not in LANGUAGES]
    if strange:
        raise UserError(f"--languages names {strange[0]!r}; there are {', '.join(LANGUAGES)}")
    given = Tokenizer.from_hf(tokenizer) if tokenizer else None
    with Bars() as bars:
        settings = sized(size, num_ranks, max_bytes_per_language)
        report = build(
            out, settings, tokenizer=given, languages=chosen, processes=processes, skip_bad=skip_bad, keep_work=keep_work, bars=bars
        )
    print(json.dumps(report, ensure_ascii=False) if as_json else f"{summary(report)}\n{out / 'report.md'} says more")


@data.command("inspect")
def inspect(
    what: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A source, or a folder that was built.")],
    samples: Annotated[int, typer.Option(min=0, help="How many texts to show; on the page, rows of each kind.")] = 2,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Of a folder: also write what training reads of it, all kinds, to look at.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a source or the shards of a folder, everything read once, and show a little of it."""
    from puna.data.inspection import inspect_build, inspect_source
    from puna.data.sources import manifest

    if page is not None and not Path(what).is_dir():
        raise UserError(f"--page {page} shows rows made with a folder's vocabulary, and {what!r} is no folder; name one that was built")
    if what in manifest():
        facts = inspect_source(what, samples)
    elif Path(what).is_dir():
        facts = inspect_build(Path(what), samples)
    else:
        raise UserError(f"{what!r} is neither a source (puna data list) nor a folder")
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        for name, value in facts.items():
            if isinstance(value, dict):
                print(f"{name}:")
                print("\n".join(f"  {key}: {inner}" for key, inner in value.items()))
            else:
                print(f"{name}: {value}")
    if page is not None and not facts["broken"]:
        _write_page(Path(what), page, samples)
    if facts.get("broken"):
        raise UserError(f"{len(facts['broken'])} parts of {what} are broken: {', '.join(list(facts['broken'])[:8])}")


def _write_page(directory: Path, page: Path, each: int) -> None:
    from puna.cli.progress import working
    from puna.data.page import samples_page

    with working(f"writing {page}"):
        content = samples_page(directory, each)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(content, encoding="utf-8")
