"""What a build did, for people and programs: `report.md` and `report.json`. By language, by reason, and the overlap with evaluations."""

from collections import Counter
from pathlib import Path
from typing import Any

from puna.data import quality
from puna.data.shards import write_json

# What a reason means. Those of `quality` stand there.
MEANINGS: dict[str, str] = {
    "short_or_empty": "fewer than 80 characters (26 in scripts of syllables or ideographs) after cleaning, or a licence",
    **quality.REASONS,
    "evaluation_overlap": "holds 13 words in a row (20 characters in Chinese and Japanese) of an evaluation set, or a whole short item",
    "duplicate": "the same as an earlier text but for case and spaces",
    "near_duplicate": "a MinHash twin of an earlier text, in whatever language",
    "near_held_out": "the same as a held-out text, or nearly",
    "over_budget": "good, but its source or its language has its share",
}


def write_report(out: Path, report: dict[str, Any]) -> None:
    """Both forms, into `out`."""
    write_json(out / "report.json", report)
    (out / "report.md").write_text(markdown(report), encoding="utf-8")


def markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    tokenizer = report["tokenizer"]
    lines = [
        "# What was built",
        "",
        f"Size {report['size']['name']}; {tokenizer['ids']:,} ids, tokenizer.json {tokenizer['sha256'][:16]}. "
        "Documents are cut into passages of about 12,000 characters; all counts of drops are passages.",
        "",
        "## By language",
        "",
        "| language | read, MB | passages | train, MB | tokens | bytes a token | held out, tokens | sources |",
        "|---|---|---|---|---|---|---|---|",
        *(_language_row(report, language) for language in report["languages"]),
        "",
        "## Dropped, by reason",
        "",
        "| reason | " + " | ".join(report["languages"]) + " | all | means |",
        "|---|" + "---|" * (len(report["languages"]) + 2),
        *_reason_rows(report),
        "",
        "## Overlap with evaluation sets",
        "",
        *_overlap_rows(report),
        "",
    ]
    if report["bad"]:
        lines += ["## Left out", "", *(f"- {name}: {reason}" for name, reason in report["bad"].items()), ""]
    lines += ["## Licences", "", "| source | licence | origin |", "|---|---|---|"]
    lines += [f"| {name} | {facts['licence']} | {facts['origin']} |" for name, facts in report["sources"].items()]
    return "\n".join(lines) + "\n"


def _language_row(report: dict[str, Any], language: str) -> str:
    read, train, held_out = report["read"][language], report["shards"][f"train_{language}"], report["shards"][f"held_out_{language}"]
    share = Counter({name: facts["bytes"] for name, facts in train["sources"].items()})
    sources = ", ".join(f"{name} {size / train['bytes']:.0%}" for name, size in share.most_common(3))
    cells = (
        *(language, f"{read.get('bytes', 0) / 1e6:.1f}", f"{train['passages']:,}", f"{train['bytes'] / 1e6:.2f}", f"{train['tokens']:,}"),
        *(f"{train['bytes'] / max(1, train['tokens']):.2f}", f"{held_out['tokens']:,}", sources),
    )
    return "| " + " | ".join(cells) + " |"


def _reason_rows(report: dict[str, Any]) -> list[str]:
    rows = []
    for reason, meaning in MEANINGS.items():
        counts = [report["dropped"][language].get(reason, 0) for language in report["languages"]]
        rows.append(f"| {reason} | " + " | ".join(f"{count:,}" for count in (*counts, sum(counts))) + f" | {meaning} |")
    return rows


def _overlap_rows(report: dict[str, Any]) -> list[str]:
    if not report["evaluation"]:
        return ["Not measured: no evaluation sets are listed."]
    found = {name: facts for name, facts in report["evaluation"].items() if facts["removed_passages"]}
    clean = [name for name in report["evaluation"] if name not in found]
    rows = ["| set | items | too short to look for | runs | found | passages removed | for example |", "|---|---|---|---|---|---|---|"]
    for name, facts in sorted(found.items(), key=lambda pair: -pair[1]["removed_passages"]):
        numbers = (facts["items"], facts["too_short"], facts["runs"], facts["found_runs"], facts["removed_passages"])
        rows.append(f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + f" | {'; '.join(facts['examples'])} |")
    return [*rows, "", f"Nothing of {len(clean)} other sets was found: {', '.join(clean)}."]


def summary(report: dict[str, Any]) -> str:
    """A few lines for the terminal."""
    lines = []
    for language in report["languages"]:
        train = report["shards"][f"train_{language}"]
        gone = ", ".join(f"{reason} {count:,}" for reason, count in report["dropped"][language].items())
        lines.append(f"{language}: {train['bytes'] / 1e6:.2f} MB, {train['tokens']:,} tokens; dropped: {gone or 'nothing'}")
    removed = sum(facts["removed_passages"] for facts in report["evaluation"].values())
    lines.append(f"evaluation overlap: {removed} passages in {len(report['evaluation'])} sets, removed")
    return "\n".join([*lines, *(f"left out: {name}: {reason}" for name, reason in report["bad"].items())])
