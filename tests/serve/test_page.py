"""The chat page: nothing from elsewhere, nothing that runs what a model writes, and any number of starter pictures."""

import json
import re
from pathlib import Path

import pytest

from puna.media import MAX_IMAGE_BYTES
from puna.media.data_url import IMAGE_TYPES, VIDEO_TYPES
from puna.serve.app import create_app
from puna.serve.limits import Limits
from puna.serve.page import WEB, PageError, load_starters
from puna.testing.pictures import corners_picture, encoded
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient

LANGUAGES = ("en", "es", "fr", "de", "pt", "ru", "ar", "hi", "id", "ja", "ko", "zh")
SOURCES = sorted(path for path in WEB.iterdir() if path.suffix in (".html", ".css", ".js", ".svg"))
SCRIPTS = [path for path in SOURCES if path.suffix == ".js"]


def write_starters(folder: Path, entries: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "starters.json").write_text(json.dumps({"starters": entries}))
    return folder


def entry(folder: Path, name: str, **fields: object) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(encoded(corners_picture(8, 8)))
    return {"file": name, "kind": "emoji", "questions": {"en": ["What is this?"]}, **fields}


@pytest.mark.anyio
async def test_the_page_loads_only_from_its_own_server() -> None:
    response = await AppClient(ScriptedPipeline("Yes")).http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = dict(rule.strip().split(" ", 1) for rule in response.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["media-src"] == "blob:"  # videos that the visitor brought, and none from anywhere
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"
    head = await AppClient(ScriptedPipeline("Yes")).http.head("/")  # with which clients see whether anybody is there
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.anyio
async def test_every_file_that_the_page_names_is_there() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    names = set(re.findall(r'(?:src|href)="(web/[^"]+)"', (WEB / "index.html").read_text()))
    for script in SCRIPTS:
        names |= {f"web/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())}
    assert {"web/app.js", "web/api.js", "web/style.css", "web/theme.js", "web/icon.svg"} <= names
    for name in names:
        response = await client.http.get(f"/{name}")
        assert response.status_code == 200, name
        expected = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}[Path(name).suffix]
        assert response.headers["content-type"].split(";")[0] == expected


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_file_of_the_page_points_elsewhere(source: Path) -> None:
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", source.read_text())
    assert [address for address in addresses if "www.w3.org" not in address] == []  # names of XML languages, never fetched


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", script.read_text())


def test_the_page_has_no_inline_script_style_or_handler() -> None:
    page = (WEB / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)


def test_scripts_ask_only_for_elements_that_exist() -> None:
    ids = set(re.findall(r'\sid="([^"]+)"', (WEB / "index.html").read_text()))
    asked = {name for script in SCRIPTS for name in re.findall(r'byId\("([^"]+)"\)', script.read_text())}
    assert len(asked) > 20
    assert asked <= ids


def test_every_control_of_the_page_has_a_name() -> None:
    page = (WEB / "index.html").read_text()
    labelled = set(re.findall(r'<label for="([^"]+)"', page))
    for attributes in re.findall(r"<(?:input|textarea|select)\b([^>]*)>", page):
        name = re.search(r'id="([^"]+)"', attributes).group(1)
        is_wrapped = re.search(rf'<label[^>]*>[^<]*<select id="{name}"', page)
        assert "aria-label=" in attributes or name in labelled or is_wrapped, name
    for attributes, inside in re.findall(r"<button\b([^>]*)>(.*?)</button>", page, re.DOTALL):
        words = re.sub(r"<svg.*?</svg>|<[^>]+>|\s", "", inside, flags=re.DOTALL)
        assert "aria-label=" in attributes or words or 'id="hide-notice"' in attributes, attributes


def test_the_page_offers_only_files_that_the_server_reads() -> None:
    script = (WEB / "attachments.js").read_text()
    pictures, videos = (
        re.findall(r'"([^"]+)"', re.search(rf"const {name} = \[(.*?)\]", script).group(1)) for name in ("PICTURES", "VIDEOS")
    )
    assert {"image/gif", "image/webp"} <= set(pictures) <= set(IMAGE_TYPES)
    assert {"video/mp4", "video/webm"} <= set(videos) <= set(VIDEO_TYPES)
    accepted = re.search(r'type="file"[^>]*accept="([^"]+)"', (WEB / "index.html").read_text().replace("\n", " "))
    assert accepted is not None and accepted.group(1).split(",") == [*pictures, *videos]
    bound = int(re.search(r"const MAX_BYTES = ([\d_]+);", script).group(1))
    assert bound <= MAX_IMAGE_BYTES and bound * 4 / 3 < Limits().body_bytes


def test_the_language_selector_has_the_twelve_languages() -> None:
    listed = re.search(r"const LANGUAGES = \{(.*?)\};", (WEB / "gallery.js").read_text(), re.DOTALL).group(1)
    assert tuple(re.findall(r"^\s+(\w\w):", listed, re.MULTILINE)) == LANGUAGES


def test_the_shipped_starters_follow_their_schema() -> None:
    for starter in load_starters(WEB / "starters").starters:
        assert tuple(sorted(starter.questions)) == tuple(sorted(LANGUAGES)), f"{starter.file} lacks a language"


@pytest.mark.anyio
@pytest.mark.parametrize("count", [0, 1, 20])
async def test_the_page_lists_any_number_of_starters(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "starters"
    entries = [entry(folder, f"p{index}.png", title="four colours") for index in range(count)]
    write_starters(folder, entries)
    client = AppClient(ScriptedPipeline("Yes"), web=tmp_path)
    assert (await client.http.get("/web/starters.json")).json() == {"starters": entries}
    for listed in entries:
        assert (await client.http.get(f"/web/starters/{listed['file']}")).headers["content-type"] == "image/png"


@pytest.mark.anyio
async def test_a_page_without_starters_lists_none(tmp_path: Path) -> None:
    assert (await AppClient(ScriptedPipeline("Yes"), web=tmp_path).http.get("/web/starters.json")).json() == {"starters": []}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"file": "absent.png"}, "absent.png"),
        ({"file": "../secret.png"}, "file"),
        ({"file": "script.svg"}, "file"),
        ({"questions": {"es": ["¿Qué es?"]}}, "'en'"),
        ({"questions": {"en": []}}, "questions"),
        ({"questions": {"en": ["x"], "xx": ["y"]}}, "xx"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_starters_stop_the_server_before_it_starts(tmp_path: Path, changes: dict, says: str) -> None:
    folder = tmp_path / "starters"
    write_starters(folder, [entry(folder, "p.png", **changes) if "file" not in changes else {**entry(folder, "p.png"), **changes}])
    with pytest.raises(PageError, match=says):
        create_app(ScriptedPipeline("Yes"), web=tmp_path)


@pytest.mark.anyio
async def test_files_beside_the_page_cannot_be_reached() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    for path in ("/web/../app.py", "/web/%2e%2e/app.py", "/web/..%2fapp.py", "/web/starters/..%2f..%2fapp.py"):
        assert (await client.http.get(path)).status_code == 404
