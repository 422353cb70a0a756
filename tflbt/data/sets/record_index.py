"""Finds where each sample of a TFRecord file begins and what its label is, without reading the images.

A record is the length of its data (uint64, little-endian), the masked CRC-32C of those 8 bytes, the data, and the
data's CRC. The data is a `tf.train.Example`, a map from names to values in any order. The index steps from name to
name and skips the values, so that it reads about 4 kB of each record. It does not notice damage within an image: the
CRC of the data is checked by whoever reads all of it, as TensorFlow's reader does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.example import feature_pb2

_HEADER, _FOOTER = 12, 4  # bytes: the length and its CRC; the data's CRC
_POLYNOMIAL, _MASK = 0x82F63B78, 0xA282EAD8  # CRC-32C, bits reversed; what TensorFlow adds
_PEEKED = 1024  # bytes read at a time: usually all that precedes the label
_ENOUGH = 64  # bytes that hold a tag, a length and the label's name
_MAP_ENTRY = 0x0A  # the tag of field 1, with a length: an Example's features, an entry of their map


class _Damage(Exception):
    """Says what is wrong with a record."""


def index_records(
    path: Path, key: str = "image/class/label", expected: str = "TFRecords of tf.train.Example"
) -> tuple[np.ndarray, np.ndarray]:
    """Returns, int64 `[n]` each, the byte at which each record of a file begins, and the label in its feature `key`."""
    size, begin = os.path.getsize(path), 0
    if not size:
        raise ValueError(f"{path} is empty. It should be {expected}.")
    offsets, labels = [], []
    with open(path, "rb", buffering=4 * _PEEKED) as stream:
        while begin < size:
            try:
                first, end = _data(stream, begin, size)
                label = _label(stream, first, end, key.encode())
            except (_Damage, IndexError, DecodeError) as error:  # IndexError: within a varint
                raise OSError(
                    f"{path} is damaged, cut off or compressed: the record at byte {begin:,} of {size:,} "
                    f"{error if isinstance(error, _Damage) else 'is no tf.train.Example'}. It should be {expected}."
                ) from error
            if label is None:
                raise ValueError(
                    f"{path} has a record, at byte {begin:,}, without one int64 {key!r}. It should be {expected}."
                )
            offsets.append(begin)
            labels.append(label)
            begin = end + _FOOTER
    return np.array(offsets, np.int64), np.array(labels, np.int64)


def _data(stream: BinaryIO, begin: int, size: int) -> tuple[int, int]:
    """Returns the first byte of a record's data, and the byte after the last."""
    stream.seek(begin)
    header = stream.read(_HEADER)
    if len(header) < _HEADER:
        raise _Damage("has no whole header")
    if _masked_crc(header[:8]) != int.from_bytes(header[8:], "little"):
        raise _Damage("has a length that differs from its CRC")
    first = begin + _HEADER
    end = first + int.from_bytes(header[:8], "little")
    if end + _FOOTER > size:
        raise _Damage(f"should end at byte {end + _FOOTER:,}")
    return first, end


def _label(stream: BinaryIO, first: int, end: int, key: bytes) -> int | None:
    """Steps through an Example's map to the label; returns None if there is no label."""
    begins_with = bytes([_MAP_ENTRY, len(key)]) + key
    stream.seek(first)
    peeked, at = stream.read(min(_PEEKED, end - first)), first
    content, entry = _entry(peeked, 0, at)
    if entry != end:
        raise _Damage("is no tf.train.Example")
    entry = content
    while entry < end:
        if entry + _ENOUGH > at + len(peeked) < end:
            stream.seek(entry)
            peeked, at = stream.read(min(_PEEKED, end - entry)), entry
        content, after = _entry(peeked, entry - at, at)
        if after > end:
            raise _Damage("is no tf.train.Example")
        if peeked.startswith(begins_with, content - at):
            stream.seek(entry)
            return _only_value(stream.read(after - entry), key)
        entry = after
    return None


def _entry(data: bytes, place: int, at: int) -> tuple[int, int]:
    """Returns where the content of the field at `data[place]` begins and ends; `data[0]` is the file's byte `at`."""
    if data[place] != _MAP_ENTRY:
        raise _Damage("is no tf.train.Example")
    length = shift = 0
    while True:
        place += 1
        length |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return at + place + 1, at + place + 1 + length
        shift += 7


def _only_value(entry: bytes, key: bytes) -> int | None:
    values = feature_pb2.Features.FromString(entry).feature[key.decode()].int64_list.value
    return values[0] if len(values) == 1 else None


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_CRCS = [_crc_of_byte(byte) for byte in range(256)]


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRCS[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF
