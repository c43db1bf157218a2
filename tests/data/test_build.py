"""A build drops what it should, says so, goes on after a kill, and gives the same bytes either way."""

import errno
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from puna.data import build as module
from puna.data import refine, shards, sources
from puna.data.build import NEAR_HELD_OUT, SIZES, build, sized
from puna.data.pack import TextShards
from puna.data.refine import first_passages
from puna.data.report import MEANINGS
from puna.data.sources import DataError
from puna.data.text import split_of
from puna.testing.mirror import describe, prose, write_rows
from puna.testing.tokenizer import byte_tokenizer

SMALL = sized("micro", max_bytes_per_language=400_000)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a mirror of two sources and one evaluation set, and point the variables at it."""

    def write(wikipedia: list[str], novels: list[str] = [], evaluation: list[str] = []) -> Path:  # noqa: B006
        root = tmp_path / "raw"
        for path, texts, language in (("text/wikipedia_simple_en", wikipedia, "en"), ("text/novels_fr", novels, "fr")):
            write_rows(root / f"{path}.jsonl.xz", [{"lang": language, "key": str(n), "text": text} for n, text in enumerate(texts)])
        write_rows(root / "evals/asked_en.jsonl.xz", [{"question": text} for text in evaluation])
        listing = describe(root, {"wikipedia_simple_en": "prose", "novels_fr": "prose"})
        rows = json.loads(listing.read_text())
        for row in rows:
            row["languages"] = [row["name"][-2:]]
        listing.write_text(json.dumps(rows))
        monkeypatch.setenv(sources.MIRROR_VARIABLE, str(root))
        monkeypatch.setenv(sources.MANIFEST_VARIABLE, str(listing))
        sources._listed.cache_clear()
        refine.eval_runs.cache_clear()
        return root

    return write


def english(number: int, sentences: int = 8) -> str:
    return prose("en", random.Random(number), sentences)


def french(number: int, sentences: int = 8) -> str:
    return prose("fr", random.Random(number), sentences)


def made(out: Path, **changes: object) -> dict:
    options = {"size": SMALL, "tokenizer": byte_tokenizer(), "languages": ("en", "fr"), "processes": 1, **changes}
    return build(out, **options)  # pyright: ignore[reportArgumentType]


def stored(out: Path, language: str, split: str = "train") -> str:
    shard, tokenizer = TextShards(out, split), byte_tokenizer()
    return "\n".join(tokenizer.decode(shard.window_of(language, place)[1:].tolist()) for place in range(shard.num_windows(language)))


def keys(split: str, below: int = 400) -> list[int]:
    return [number for number in range(below) if split_of("wikipedia_simple_en", str(number)) == split]


def test_what_is_said_twice_or_asked_or_not_prose_is_dropped_and_counted(raw: Callable[..., Path], tmp_path: Path) -> None:
    texts = [english(number) for number in range(400)]
    held_out, train = keys("held_out"), keys("train")
    question = english(1000, 3)
    texts[train[30]] = texts[train[3]].upper().replace(" ", "  ")
    copied = texts[train[4]].split(" ")
    copied[50] = "otherword"
    texts[train[31]] = " ".join(copied)
    texts[train[32]] = texts[held_out[0]] + " One more sentence is not enough."
    texts[train[33]] = f"{english(2000)} {question} {english(2001)}"
    texts[train[34]] = english(4000, 2) + "\n" + "| 12 | 34 | -- |\n" * 30
    texts[train[35]] = french(3000)
    texts[train[36]] = "Short."
    raw(texts, [french(number) for number in range(60)], [question])
    report = made(tmp_path / "out")
    assert report["dropped"]["en"] == {
        **{"duplicate": 1, "near_duplicate": 1, NEAR_HELD_OUT: 1, "evaluation_overlap": 1},
        **{"symbols": 1, "other_language": 1, "short_or_empty": 1},
    }
    assert report["dropped"]["fr"] == {}
    assert report["evaluation"]["asked_en"]["removed_passages"] == 1
    assert report["evaluation"]["asked_en"]["examples"] == [f"wikipedia_simple_en: {train[33]}"]
    text = stored(tmp_path / "out", "en")
    assert texts[train[3]][:100] in text and texts[train[40]][:100] in text
    assert "otherword" not in text
    for dropped in (30, 32, 33, 35):
        assert texts[train[dropped]][:100] not in text
    assert texts[held_out[0]][:100] in stored(tmp_path / "out", "en", "held_out")
    assert texts[held_out[0]][:100] not in text
    counted = report["shards"]["train_en"]
    assert counted["documents"] == len(train) - 7 and counted["sources"]["wikipedia_simple_en"]["passages"] == len(train) - 7


def test_the_report_reads_as_a_page_and_explains_every_reason(raw: Callable[..., Path], tmp_path: Path) -> None:
    raw([english(number) for number in range(100)] + [english(5)], [french(number) for number in range(60)], [english(5, 1)])
    report = made(tmp_path / "out")
    page = (tmp_path / "out" / "report.md").read_text()
    assert all(f"| {reason} |" in page for reason in MEANINGS)
    assert {reason for counts in report["dropped"].values() for reason in counts} <= set(MEANINGS)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(json.dumps(report))
    assert f"{report['shards']['train_en']['tokens']:,}" in page and "CC0-1.0" in page
    assert not (tmp_path / "out" / "work").exists()


def test_a_long_document_loses_a_passage_and_keeps_the_rest(raw: Callable[..., Path], tmp_path: Path) -> None:
    question = english(1000, 3)
    parts = [english(number, 150) for number in range(6)]
    parts[3] += " " + question
    raw(["\n".join(parts)] * 2 + [english(number) for number in range(100, 200)], [french(number) for number in range(60)], [question])
    size = sized("gpu")
    report = made(tmp_path / "out", size=size)
    text = stored(tmp_path / "out", "en")
    assert parts[0][:100] in text and parts[5][:100] in text and question[:100] not in text
    assert report["dropped"]["en"]["duplicate"] > 2  # its copy


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_killed_build_goes_on_and_ends_the_same(raw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw([english(number) for number in range(120)], [french(number) for number in range(60)], [english(3, 2)])
    made(tmp_path / "whole")
    done: list[str] = []

    def watched(function: Callable, stop_after: int) -> Callable:
        def call(first: object, *rest: object) -> object:
            if len(done) == stop_after:
                raise KeyboardInterrupt
            result = function(first, *rest)
            done.append(str(first))
            return result

        return call

    for stop_after in (1, 4):  # within the sources; behind the second source, the first shard and the second
        monkeypatch.setattr(module, "refine_or_reason", watched(refine.refine_or_reason, stop_after))
        monkeypatch.setattr(module, "_write", watched(_WRITE, stop_after))
        done.clear()
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "out")
    monkeypatch.setattr(module, "refine_or_reason", refine.refine_or_reason)
    monkeypatch.setattr(module, "_write", _WRITE)
    work = (tmp_path / "out" / "work" / "novels_fr.txt").stat().st_mtime_ns
    finished = (tmp_path / "out" / "train_fr.bin").stat().st_mtime_ns
    made(tmp_path / "out", keep_work=True)
    assert (tmp_path / "out" / "work" / "novels_fr.txt").stat().st_mtime_ns == work
    assert (tmp_path / "out" / "train_fr.bin").stat().st_mtime_ns == finished
    module.shutil.rmtree(tmp_path / "out" / "work")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


_WRITE = module._write


def test_a_damaged_shard_alone_is_made_again(raw: Callable[..., Path], tmp_path: Path) -> None:
    raw([english(number) for number in range(100)], [french(number) for number in range(60)])
    made(tmp_path / "out")
    before = _files(tmp_path / "out")
    kept = (tmp_path / "out" / "train_fr.bin").stat().st_mtime_ns
    (tmp_path / "out" / "train_en.bin").write_bytes(before["train_en.bin"][:-10])
    made(tmp_path / "out")
    assert _files(tmp_path / "out") == before
    assert (tmp_path / "out" / "train_fr.bin").stat().st_mtime_ns == kept


def test_two_processes_make_the_same_bytes(data: Path, tmp_path: Path) -> None:
    size = sized("micro", max_bytes_per_language=10_000)
    for processes in (1, 2):
        build(tmp_path / str(processes), size, tokenizer=byte_tokenizer(), languages=("en", "ja"), processes=processes)
    assert _files(tmp_path / "1") == _files(tmp_path / "2")


def test_a_folder_of_other_settings_or_of_unknown_shards_is_refused(raw: Callable[..., Path], tmp_path: Path) -> None:
    raw([english(number) for number in range(100)], [french(number) for number in range(60)])
    made(tmp_path / "out")
    with pytest.raises(DataError, match="holds a build with another size"):
        made(tmp_path / "out", size=SIZES["cpu"])
    with pytest.raises(DataError, match="holds a build with another languages"):
        made(tmp_path / "out", languages=("en",))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "train_en.bin").write_bytes(b"12")
    with pytest.raises(DataError, match="another program"):
        made(tmp_path / "old")


def test_an_empty_language_is_refused_or_left_out_by_name(raw: Callable[..., Path], tmp_path: Path) -> None:
    raw([english(number) for number in range(100)], [english(number) for number in range(200, 260)])
    with pytest.raises(DataError, match="language 'fr' has no training text.*--skip-bad"):
        made(tmp_path / "out")
    report = made(tmp_path / "out", skip_bad=True)
    assert report["languages"] == ["en"] and "language fr" in report["bad"]
    assert "language fr" in (tmp_path / "out" / "report.md").read_text()
    assert TextShards(tmp_path / "out").languages == ("en",)


def _listed_again(root: Path) -> None:
    """A manifest that agrees with the files as they now are."""
    languages = {row["name"]: row["languages"] for row in json.loads((root / "manifest.json").read_text())}
    rows = json.loads(describe(root, {"wikipedia_simple_en": "prose", "novels_fr": "prose"}).read_text())
    (root / "manifest.json").write_text(json.dumps([{**row, "languages": languages[row["name"]]} for row in rows]))
    sources._listed.cache_clear()


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "novels_fr.jsonl.xz is broken behind row"),
        (lambda path: path.write_bytes(lzma.compress(b'{"lang": "fr", "key": "1"}\n')), "row 1 has no usable 'text'"),
        (lambda path: path.write_bytes(lzma.compress(b"{nothing\n")), "novels_fr.jsonl.xz is broken behind row 0"),
    ],
)
def test_a_broken_source_is_refused_or_left_out_by_name(
    raw: Callable[..., Path], tmp_path: Path, spoil: Callable[[Path], object], what: str
) -> None:
    root = raw([english(number) for number in range(100)], [french(number) for number in range(200)])
    spoil(root / "text/novels_fr.jsonl.xz")
    _listed_again(root)
    with pytest.raises(DataError, match=what):
        made(tmp_path / "out")
    report = made(tmp_path / "out", skip_bad=True)
    assert report["languages"] == ["en"] and what[:20] in report["bad"]["novels_fr"]


def test_a_missing_source_a_wrong_checksum_and_a_missing_set_are_all_named(raw: Callable[..., Path], tmp_path: Path) -> None:
    root = raw([english(number) for number in range(100)], [french(number) for number in range(60)], [english(3)])
    (root / "text/novels_fr.jsonl.xz").write_bytes(b"something else")
    (root / "evals/asked_en.jsonl.xz").unlink()
    with pytest.raises(DataError, match="sha256"):
        made(tmp_path / "out")
    report = made(tmp_path / "out", skip_bad=True)
    assert set(report["bad"]) == {"novels_fr", "asked_en", "language fr"}


def test_a_full_disk_says_so_and_the_build_goes_on_later(raw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw([english(number) for number in range(100)], [french(number) for number in range(60)])

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_shard", full)
        with pytest.raises(DataError, match="disk is full.*goes on where it stopped"):
            made(tmp_path / "out")
    assert made(tmp_path / "out")["shards"]["train_en"]["tokens"] > 1000


def test_budgets_hold_and_english_is_fed_most(data: Path, tmp_path: Path) -> None:
    size = sized("micro", max_bytes_per_language=20_000)
    report = build(tmp_path / "out", size, tokenizer=byte_tokenizer(), languages=("en", "de", "ko"), processes=1)
    stored = {name: facts["bytes"] for name, facts in report["shards"].items()}
    assert stored["train_de"] <= 20_000 and stored["train_ko"] <= 20_000 < stored["train_en"] <= 60_000
    assert report["dropped"]["de"]["over_budget"] > 0


def test_sizes_can_be_changed_and_nonsense_is_refused() -> None:
    assert sized("gpu").num_ranks == 32_768 and sized("cpu", 16_384).num_ranks == 16_384
    assert sized("cpu", max_bytes_per_language=50_000).tokenizer_bytes == 50_000
    with pytest.raises(DataError, match="no size is called 'tiny'; there are micro, cpu, gpu"):
        sized("tiny")
    with pytest.raises(DataError, match="max_bytes_per_language=5"):
        sized("cpu", max_bytes_per_language=5)


def test_a_vocabulary_too_large_for_the_shards_is_refused(
    raw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw([english(number) for number in range(100)], [french(number) for number in range(60)])
    tokenizer = byte_tokenizer()
    monkeypatch.setattr(type(tokenizer), "vocab_size", property(lambda self: 70_000))
    monkeypatch.setattr(module, "_vocabulary_hash", lambda tokenizer: "x")
    with pytest.raises(DataError, match="16-bit ids, but the tokenizer has 70000"):
        made(tmp_path / "out", tokenizer=tokenizer)


def test_shards_write_json_whole_or_not_at_all(tmp_path: Path) -> None:
    shards.write_json(tmp_path / "a.json", {"b": 1})
    with pytest.raises(TypeError):
        shards.write_json(tmp_path / "a.json", {"b": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}


def test_a_document_that_is_not_read_to_its_end_has_none() -> None:
    text = "A line of a long book.\n" * 3000
    every, is_whole = first_passages(text, None)
    assert len(every) > 3 and is_whole
    assert first_passages(text, 10**6) == (every, True)
    assert first_passages(text, 30_000) == (every[:2], False) and first_passages(text, 1) == (every[:1], False)
    assert first_passages("Short.", 1) == (["Short."], True)
