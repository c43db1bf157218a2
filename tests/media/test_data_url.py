import base64

import pytest

from puna.media import MediaError, decode_data_url, decode_image
from puna.testing.pictures import encoded, noise_picture

PNG = encoded(noise_picture(5, 7))
PAYLOAD = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "head", ["data:image/png;base64", "DATA:Image/PNG;BASE64", "data:image/png;charset=utf-8;base64", "data:image/jpg;base64"]
)
def test_a_well_formed_url_gives_its_bytes(head: str) -> None:
    assert decode_data_url(f"{head},{PAYLOAD}") == PNG


def test_the_bytes_decide_what_a_mislabelled_picture_is() -> None:
    assert decode_image(decode_data_url(f"data:image/webp;base64,{PAYLOAD}")).size == (7, 5)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://example.org/a.png", "not a data: URL"),
        ("data:image/png;base64", "no comma"),
        ("data:" + "x" * 300 + ",", "no comma"),
        (f"data:image/png,{PAYLOAD}", "not base64"),
        (f"data:;base64,{PAYLOAD}", "no type"),
        (f"data:text/html;base64,{PAYLOAD}", "declares text/html"),
        (f"data:image/svg+xml;base64,{PAYLOAD}", "declares image/svg"),
        (f"data:image/png;base64;base64,{PAYLOAD}", "not the head"),
        (f"data:image/png ;base64,{PAYLOAD}", "not the head"),
        (f"data:image/png;base64,{PAYLOAD[:40]}\n{PAYLOAD[40:]}", "clean base64"),
        (f"data:image/png;base64, {PAYLOAD}", "clean base64"),
        (f"data:image/png;base64,{PAYLOAD[:-1]}", "clean base64"),
        ("data:image/png;base64,iVBORw", "clean base64"),
        ("data:image/png;base64,iVBO-_", "clean base64"),
        ("data:image/png;base64,iVBORw==iVBO", "clean base64"),
        ("data:image/png;base64,ïVBO", "clean base64"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(url: str, words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        decode_data_url(url)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_size_is_bounded_before_and_after_decoding() -> None:
    assert decode_data_url("data:image/png;base64," + base64.b64encode(bytes(9)).decode(), max_bytes=9) == bytes(9)
    for size in (10, 11, 12, 10_000):
        with pytest.raises(MediaError, match="at most 9"):
            decode_data_url("data:image/png;base64," + base64.b64encode(bytes(size)).decode(), max_bytes=9)
