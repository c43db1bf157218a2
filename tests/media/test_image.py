import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow

from puna.media import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MediaError, decode_image, load_image
from puna.media.image import flatten
from puna.presets import preset
from puna.testing.pictures import BLUE, GREEN, RED, YELLOW, corners_picture, encoded, noise_picture

VISION = preset("scout-nano").vision
ORIENTATION_TAG = 0x0112


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, bit_depth: int, color_type: int, rows: bytes, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body + png_chunk(b"IEND", b"")


def corner_colours(picture: Pillow.Image) -> list[tuple[int, ...]]:
    right, bottom = picture.width - 1, picture.height - 1
    return [picture.getpixel(place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_lossless_pictures_keep_every_pixel(format: str) -> None:
    picture = noise_picture(13, 29)
    decoded = decode_image(encoded(picture, format, lossless=True))
    assert decoded.mode == "RGB"
    assert np.array_equal(np.asarray(decoded), np.asarray(picture))


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_pictures_keep_their_colours(format: str) -> None:
    decoded = decode_image(encoded(corners_picture(64, 96), format, quality=95))
    assert decoded.size == (96, 64)
    assert np.allclose(corner_colours(decoded), [RED, GREEN, BLUE, YELLOW], atol=12)


def test_only_the_first_frame_of_a_gif_counts() -> None:
    frames = [Pillow.new("RGB", (8, 6), colour) for colour in (RED, GREEN, BLUE)]
    decoded = decode_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert decoded.size == (8, 6)
    assert decoded.getpixel((3, 3)) == RED


@pytest.mark.parametrize(
    ("orientation", "corners", "size"),
    [
        (1, [RED, GREEN, BLUE, YELLOW], (10, 6)),
        (2, [GREEN, RED, YELLOW, BLUE], (10, 6)),
        (3, [YELLOW, BLUE, GREEN, RED], (10, 6)),
        (4, [BLUE, YELLOW, RED, GREEN], (10, 6)),
        (5, [RED, BLUE, GREEN, YELLOW], (6, 10)),
        (6, [BLUE, RED, YELLOW, GREEN], (6, 10)),
        (7, [YELLOW, GREEN, BLUE, RED], (6, 10)),
        (8, [GREEN, YELLOW, RED, BLUE], (6, 10)),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_exif_orientation_turns_the_picture_upright(
    format: str, orientation: int, corners: list[tuple[int, ...]], size: tuple[int, int]
) -> None:
    exif = Pillow.Exif()
    exif[ORIENTATION_TAG] = orientation
    decoded = decode_image(encoded(corners_picture(6, 10), format, exif=exif, lossless=True))
    assert decoded.size == size
    assert corner_colours(decoded) == corners


def test_a_jpeg_photograph_on_its_side_is_turned_upright() -> None:
    exif = Pillow.Exif()
    exif[ORIENTATION_TAG] = 6
    decoded = decode_image(encoded(corners_picture(48, 80), "JPEG", exif=exif, quality=95))
    assert decoded.size == (48, 80)
    assert np.allclose(corner_colours(decoded), [BLUE, RED, YELLOW, GREEN], atol=12)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_data_does_not_cost_the_picture() -> None:
    data = encoded(corners_picture(6, 10), exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")
    assert corner_colours(decode_image(data)) == [RED, GREEN, BLUE, YELLOW]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_alpha_is_laid_over_white(format: str) -> None:
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, :3] = (200, 0, 0)
    pixels[0, :, 3] = (0, 128, 255)
    decoded = decode_image(encoded(Pillow.fromarray(pixels), format, lossless=True, exact=True))
    assert np.allclose(np.asarray(decoded)[0], [[255, 255, 255], [227, 127, 127], [200, 0, 0]], atol=1)


def test_grey_with_alpha_is_laid_over_white() -> None:
    pixels = np.array([[[10, 0], [10, 255]]], dtype=np.uint8)
    decoded = decode_image(encoded(Pillow.fromarray(pixels, mode="LA")))
    assert np.asarray(decoded).tolist() == [[[255] * 3, [10] * 3]]


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_white(format: str) -> None:
    picture = Pillow.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    decoded = decode_image(encoded(picture, format, transparency=0))
    assert np.asarray(decoded).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_a_transparent_colour_becomes_white_at_8_and_at_16_bits() -> None:
    eight = png(2, 1, 8, 2, bytes([0, 1, 2, 3, 9, 9, 9]), png_chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)))
    assert np.asarray(decode_image(eight)).tolist() == [[[255] * 3, [9] * 3]]
    grey16 = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 1234, 1235), png_chunk(b"tRNS", struct.pack(">H", 1234)))
    assert np.asarray(decode_image(grey16)).tolist() == [[[255] * 3, [5] * 3]]


def test_sixteen_bit_colours_keep_their_high_byte_whatever_colour_is_transparent() -> None:
    rows = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0xFFFF, 0, 0x8000)
    for chunks in ((), (png_chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)),)):
        decoded = np.asarray(decode_image(png(2, 1, 16, 2, rows, *chunks)))
        assert decoded[0, 1].tolist() == [255, 0, 128]
        assert decoded[0, 0].tolist() in ([0x12, 0x56, 0x9A], [255, 255, 255])


def test_sixteen_bit_greys_are_scaled_and_not_clipped() -> None:
    levels = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    decoded = decode_image(encoded(Pillow.fromarray(levels)))
    assert np.asarray(decoded)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    picture = Pillow.new("RGB", (32, 32), (200, 100, 50)).convert("CMYK")
    decoded = decode_image(encoded(picture, "JPEG", quality=95))
    assert np.allclose(decoded.getpixel((16, 16)), (200, 100, 50), atol=8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "La", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16", "F"])
def test_every_mode_of_a_pillow_picture_becomes_rgb(mode: str) -> None:
    assert flatten(Pillow.new(mode, (3, 2))).mode == "RGB"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_file_cut_short_anywhere_is_one_sentence(format: str) -> None:
    data = encoded(noise_picture(40, 40), format)
    for end in [1, 4, 9, 20, 31, len(data) // 4, len(data) // 2, len(data) * 3 // 4]:
        with pytest.raises(MediaError) as caught:
            decode_image(data[:end])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_flipped_bytes_give_a_picture_or_a_media_error(format: str) -> None:
    generator = np.random.default_rng(7)
    data = np.frombuffer(encoded(noise_picture(24, 24), format), dtype=np.uint8)
    for _ in range(60):
        damaged = data.copy()
        damaged[generator.integers(0, len(data), 6)] = generator.integers(0, 256, 6)
        try:
            assert decode_image(damaged.tobytes()).mode == "RGB"
        except MediaError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "data", [b"", b"hello, this is not a picture", b"\0" * 5000, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(MediaError, match="the picture"):
        decode_image(data)


def test_formats_outside_the_four_are_refused() -> None:
    for format in ("BMP", "TIFF", "ICO", "PPM"):
        with pytest.raises(MediaError, match="not a PNG, JPEG, WebP or GIF"):
            decode_image(encoded(noise_picture(16, 16), format))


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(MediaError, match="20,000,001 bytes"):
        decode_image(b"\x89PNG" + bytes(MAX_IMAGE_BYTES - 3))


def webp_header(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


@pytest.mark.parametrize(
    "bomb",
    [
        png(50_001, 1_000, 8, 2, bytes(100)),
        png(30_000, 30_000, 8, 2, bytes(100)),
        b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x00;",
        webp_header(16_000_000, 16_000_000),
        webp_header(10_000, 5_001),
    ],
    ids=["png just over", "png far over", "gif", "webp far over", "webp just over"],
)
def test_a_decompression_bomb_is_refused_by_its_header(bomb: bytes) -> None:
    with pytest.raises(MediaError, match=f"{MAX_IMAGE_PIXELS:,}"):
        decode_image(bomb)


def test_the_pixels_of_a_bomb_are_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Pillow.Image) -> None:
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    with pytest.raises(MediaError, match="make it smaller"):
        decode_image(png(50_001, 1_000, 8, 2, bytes(100)))


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"quality": 80}, {"lossless": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}]
)
def test_the_size_in_a_webp_header_is_read_as_pillow_reads_it(options: dict[str, object]) -> None:
    from puna.media.image import _webp_size

    data = encoded(noise_picture(57, 123), "WEBP", **options)
    assert _webp_size(data) == Pillow.open(BytesIO(data)).size == (123, 57)


def test_a_png_with_a_text_bomb_is_refused() -> None:
    bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000)))
    with pytest.raises(MediaError):
        decode_image(png(2, 1, 8, 0, b"\0\1\2", bomb))


def test_load_image_takes_bytes_paths_data_urls_and_pillow_pictures(tmp_path) -> None:
    import base64

    picture = noise_picture(30, 50)
    data = encoded(picture)
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    expected = load_image(data, VISION)
    for source in (path, str(path), url, picture):
        loaded = load_image(source, VISION)
        assert loaded.grid == expected.grid
        assert np.array_equal(loaded.tiles, expected.tiles)


def test_load_image_says_what_is_wrong_with_a_path(tmp_path) -> None:
    big = tmp_path / "big.png"
    with big.open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    for source, words in [
        (tmp_path / "none.png", "No such file"),
        (tmp_path, "not a file"),
        (big, "20,000,001 bytes"),
        ("a\0b.png", "null"),
        ("https://example.org/llama.png", "web address"),
        (12, "cannot be made from int"),
    ]:
        with pytest.raises(MediaError, match=words):
            load_image(source, VISION)


def test_a_picture_that_is_too_large_is_an_error_and_not_a_warning_too() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(MediaError, match="10,000 x 10,000"):
            decode_image(png(10_000, 10_000, 8, 2, b""))
    assert caught == []
