"""The page of samples shows the stream that training reads, and nothing that a browser would load or run."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from puna.data.page import samples_page
from puna.data.shards import write_shard
from puna.testing.tokenizer import byte_tokenizer


@pytest.fixture
def built(tmp_path: Path) -> Path:
    tokenizer = byte_tokenizer()
    tokenizer.save_hf(tmp_path / "tokenizer")
    prose = "Il dit : <script>alert(1)</script> & bonjour. " * 4
    write_shard(tmp_path, "train", "fr", [(prose, True)], tokenizer, {"sources": {"one": {}}})
    return tmp_path


class _Page(HTMLParser):
    """Tags by name, and the texts of spans by their class."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "span":
            self._open.append(dict(attrs).get("class") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)


def test_answers_are_in_the_loss_and_questions_are_not(built: Path, data: Path) -> None:
    page = _Page(samples_page(built, each=3, weights={"number": 2, "sums": 1}))
    coloured = page.texts["loss"][1:]  # the first is the legend
    assert len(coloured) >= 6 and all(re.fullmatch(r"[^?]{1,40}", text) for text in coloured)
    assert any("?" in text for text in page.texts[""])
    assert any("<|patch|> × 16" in text for text in page.texts["chip"])
    assert page.tags.count("img") == 3  # a printed number a row; sums have no picture


def test_a_video_is_shown_frame_by_frame_with_its_times(built: Path, data: Path) -> None:
    page = _Page(samples_page(built, each=1, weights={"video_order": 1}))
    times = [text for text in page.texts[""] if re.fullmatch(r"[\d.]+ s", text)]
    assert page.tags.count("img") == len(times) >= 2 and times[0] == "0 s"


def test_text_stays_text(built: Path) -> None:
    page = samples_page(built, each=1, weights={"text": 1})
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)


def test_shares_of_rows_and_of_tokens(built: Path, data: Path) -> None:
    page = samples_page(built, each=1, weights={"sums": 1, "text": 3})
    cells = re.findall(r'<td><a href="#(\w+)">.*?</td><td>([\d.]+)%</td><td>([\d,]+)</td><td>([\d,]+)</td><td>([\d.]+)%', page)
    by_kind = {kind: [float(value.replace(",", "")) for value in values] for kind, *values in cells}
    assert by_kind["text"][0] == 75 and by_kind["sums"][0] == 25
    assert by_kind["text"][1] == by_kind["text"][2] > 100 and by_kind["sums"][2] < by_kind["sums"][1]  # all of prose is in the loss
    tokens = {kind: weight * by_kind[kind][1] for kind, weight in (("text", 3), ("sums", 1))}
    assert by_kind["text"][3] == pytest.approx(100 * tokens["text"] / sum(tokens.values()), abs=1)


def test_unknown_kinds_are_named(built: Path) -> None:
    with pytest.raises(ValueError, match="no kind of sample is called 'songs'"):
        samples_page(built, weights={"songs": 1})
