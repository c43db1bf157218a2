"""TensorBoard's records, read back by a reader written from the format's description."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from puna.train.events import EventFile, masked_crc


def varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 1:
            value, at = struct.unpack("<d", data[at : at + 8])[0], at + 8
        elif wire == 5:
            value, at = struct.unpack("<f", data[at : at + 4])[0], at + 4
        else:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        yield number, value


def events(directory: Path) -> list[dict[int, Any]]:
    (file,) = directory.iterdir()
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked_crc(data[:8])
        event, data = data[12 : 12 + length], data[12 + length :]
        assert struct.unpack("<I", data[:4])[0] == masked_crc(event)
        data = data[4:]
        found.append(dict(fields(event)))
    return found


def test_the_checksum_is_crc_32c() -> None:
    crc = 0xE3069283  # of "123456789", the value that every description of CRC-32C gives
    assert masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_numbers_and_pictures_come_back(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "board", first_step=301)
    file.numbers(310, {"loss": 2.5, "loss_by_kind/naming": -0.125})
    file.picture(1 << 33, "experts", b"\x89PNG", width=600, height=20)
    file.close()
    version, start, numbers, picture = events(tmp_path / "board")
    assert version[3] == b"brain.Event:2" and version[1] > 1.7e9
    assert start[2] == 301 and dict(fields(start[7])) == {1: 1}
    values = [dict(fields(value)) for _, value in fields(numbers[5])]
    assert numbers[2] == 310 and values == [{1: b"loss", 2: 2.5}, {1: b"loss_by_kind/naming", 2: -0.125}]
    shown = dict(fields(dict(fields(picture[5]))[1]))
    assert picture[2] == 1 << 33 and shown[1] == b"experts" and dict(fields(shown[4])) == {1: 20, 2: 600, 3: 3, 4: b"\x89PNG"}
