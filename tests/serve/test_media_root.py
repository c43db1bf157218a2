"""`file:` URLs: refused unless a folder is named, and then of that folder alone."""

from pathlib import Path

import pytest

from puna.media.fetch import FetchPolicy
from puna.media.root import MediaRoot
from puna.serve.limits import Limits
from puna.stream import Image, Video
from puna.testing.pictures import corners_picture, encoded
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error, picture_part, video_part
from puna.testing.videos import mp4

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "media"
    inside.mkdir()
    (inside / "corners.png").write_bytes(encoded(corners_picture(60, 60)))
    (inside / "moves.mp4").write_bytes(mp4())
    (inside / "notes.txt").write_text("not a picture")
    (tmp_path / "secret.png").write_bytes(encoded(corners_picture(60, 60)))
    return inside


def shown(part: dict) -> dict:
    return {"role": "user", "content": [part]}


async def test_pictures_and_videos_below_the_folder_are_seen(folder: Path) -> None:
    pipeline = ScriptedPipeline("Yes")
    client = AppClient(pipeline, Limits(media_root=MediaRoot(folder)))
    for part, kind in ((picture_part(f"file://{folder}/corners.png"), Image), (video_part(f"FILE://localhost{folder}/moves.mp4"), Video)):
        assert (await client.chat(shown(part))).status_code == 200
        (seen,) = pipeline.requests[-1].messages[0].content
        assert isinstance(seen, kind)
    source = {"type": "url", "url": f"file://{folder}/corners.png"}
    body = {"max_tokens": 9, "messages": [shown({"type": "image", "source": source})]}
    assert (await client.http.post("/v1/messages", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("{folder}/none.png", "file_missing"),
        ("{folder}/../secret.png", "file_refused"),
        ("{folder}/%2e%2e/secret.png", "file_refused"),
        ("/etc/passwd", "file_refused"),
        ("{folder}/notes.txt", "invalid_image"),
    ],
)
async def test_nothing_else_is_and_no_answer_begins(folder: Path, path: str, code: str) -> None:
    pipeline = ScriptedPipeline("Yes")
    client = AppClient(pipeline, Limits(media_root=MediaRoot(folder)))
    url = "file://" + path.format(folder=folder)
    assert_error(await client.chat(shown(picture_part(url))), 400, code, "messages[0].content[0].image_url")
    assert pipeline.requests == []


async def test_a_file_is_no_larger_than_what_is_fetched(folder: Path) -> None:
    client = AppClient(ScriptedPipeline("Yes"), Limits(media_root=MediaRoot(folder), fetch=FetchPolicy(max_bytes=50)))
    refused = await client.chat(shown(picture_part(f"file://{folder}/corners.png")))
    assert "at most 50 are read" in assert_error(refused, 400, "too_large", "messages[0].content[0].image_url")


@pytest.mark.parametrize("scheme", ["file:", "FILE:"])
async def test_without_a_folder_no_file_is_read(folder: Path, scheme: str) -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    for part, kind in ((picture_part(f"{scheme}//{folder}/corners.png"), "image"), (video_part(f"{scheme}//{folder}/moves.mp4"), "video")):
        message = assert_error(await client.chat(shown(part)), 400, f"{kind}_url_not_supported", f"messages[0].content[0].{kind}_url")
        assert "reads none" in message
