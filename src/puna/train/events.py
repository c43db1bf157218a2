"""TensorBoard's files, written without TensorBoard: numbers and pictures by step, in its own record format.

A file is a sequence of records: the length (8 bytes), its checksum, an `Event` message, its checksum. Messages are protocol buffers, of
which five small ones are written here by hand; field numbers are those of TensorFlow's event.proto and summary.proto. Checksums are
CRC-32C, rotated and shifted as TFRecord wants them.
"""

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # CRC-32C, bits reversed
_MASK = 0xA282EAD8


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _crc_table()


def masked_crc(data: bytes) -> int:
    """TFRecord's checksum of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _varint(number: int) -> bytes:
    groups = []
    while True:
        group, number = number & 0x7F, number >> 7
        groups.append(group | (0x80 if number else 0))
        if not number:
            return bytes(groups)


def _integer(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)


def _float(field: int, number: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", number)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


class EventFile:
    """One events file in `directory`. `first_step`: what other files there say from this step on is void (a run that was resumed)."""

    def __init__(self, directory: Path, first_step: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{time.time_ns() % 1_000_000_000}"
        self.file = (directory / name).open("ab")
        self._write(_bytes(3, b"brain.Event:2"))
        self._write(_integer(2, first_step) + _bytes(7, _integer(1, 1)))  # a session starts

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """One point on each named curve."""
        summary = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in values.items())
        self._write(_integer(2, step) + _bytes(5, summary))

    def picture(self, step: int, name: str, png: bytes, width: int, height: int) -> None:
        """An encoded RGB picture."""
        image = _integer(1, height) + _integer(2, width) + _integer(3, 3) + _bytes(4, png)
        self._write(_integer(2, step) + _bytes(5, _bytes(1, _bytes(1, name.encode()) + _bytes(4, image))))

    def close(self) -> None:
        self.file.close()

    def _write(self, fields: bytes) -> None:
        event = _double(1, time.time()) + fields
        length = struct.pack("<Q", len(event))
        self.file.write(length + struct.pack("<I", masked_crc(length)) + event + struct.pack("<I", masked_crc(event)))
        self.file.flush()
