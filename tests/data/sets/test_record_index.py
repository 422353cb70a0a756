"""Where records begin and what their labels are: equal to TensorFlow's own reading, and damage reported."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.sets.record_index import index_records


def example(label, encoded=b"J" * 5000, **more):
    """A serialised Example with a label, an "image" and some more features, in the order given."""
    features = tf.train.Example()
    feature = features.features.feature
    for key, value in {**more, "image/encoded": encoded}.items():
        feature[key].bytes_list.value.append(value)
    if label is not None:
        labels = label if isinstance(label, list) else [label]
        feature["image/class/label"].int64_list.value.extend(labels)
    return features.SerializeToString()


def write(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def serialised(*entries):
    """An Example whose map has its entries in this order."""
    parts = [tf.train.Features(feature={key: value}).SerializeToString() for key, value in entries]
    return wrapped(b"".join(parts))


def wrapped(content):
    """Field 1, with a length."""
    length, varint = len(content), bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    return b"\x0a" + bytes([*varint, length]) + content


def of_bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def of_int(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


@pytest.mark.parametrize("before", [0, 1, 900, 1000, 1023, 1024, 1100, 5000, 200_000])
@pytest.mark.parametrize("after", [0, 3000])
def test_the_label_is_found_wherever_it_stands(tmp_path, before, after):
    labels = [1, 1000, 0, 2**40, -1]
    records = [
        serialised(
            ("image/class/text", of_bytes(b"image/class/label" * 3)),
            ("image/encoded", of_bytes(b"J" * before)),
            ("image/class/labels", of_int(5)),
            ("image/class/label", of_int(label)),
            ("image/filename", of_bytes(b"J" * after)),
        )
        for label in labels
    ]
    path = write(tmp_path / "records", *records)
    offsets, found = index_records(path)
    assert found.tolist() == labels and found.dtype == offsets.dtype == np.int64
    lengths = [len(record) + 16 for record in records]
    assert offsets.tolist() == [0, *np.cumsum(lengths)[:-1]]
    read = [
        tf.train.Example.FromString(r)
        for r in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    assert [e.features.feature["image/class/label"].int64_list.value[0] for e in read] == labels


def test_records_that_python_writes(tmp_path):
    more = {f"image/{n}": b"x" * n for n in range(30)}
    path = write(tmp_path / "records", *(example(label, **more) for label in range(100)))
    assert index_records(path)[1].tolist() == list(range(100))


def test_a_label_stored_unpacked_is_read(tmp_path):
    unpacked = (
        b"\x0a\x11image/class/label\x12\x04\x1a\x02\x08\x07"  # field 1 as a varint, no length
    )
    path = write(tmp_path / "records", wrapped(wrapped(unpacked)))
    assert index_records(path)[1].tolist() == [7]


@pytest.mark.parametrize("label", [None, [], [1, 2]])
def test_a_record_without_one_label_is_reported(tmp_path, label):
    path = write(tmp_path / "records", example(3), example(label))
    says = f"{path} has a record, at byte .*, without one int64 'image/class/label'. It should be"
    with pytest.raises(ValueError, match=says):
        index_records(path)


def test_an_empty_file_is_reported(tmp_path):
    (tmp_path / "records").touch()
    with pytest.raises(ValueError, match=f"{tmp_path}/records is empty"):
        index_records(tmp_path / "records")


def test_every_cut_is_reported(tmp_path):
    """But one at the end of a record: a file may end there."""
    path = write(tmp_path / "records", example(1, b"J" * 30), example(2, b"J" * 30))
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        if 2 * length == len(whole):
            assert index_records(path)[1].tolist() == [1]
        else:
            with pytest.raises(OSError, match=re.escape(f"{path} is damaged, cut off or compr")):
                index_records(path)


def test_every_flipped_bit_of_a_length_is_reported(tmp_path):
    path = write(tmp_path / "records", example(1), example(2))
    whole = path.read_bytes()
    for bit in range(12 * 8):
        damaged = bytearray(whole)
        damaged[len(whole) // 2 + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(OSError, match=r"the record at byte 5,\d+ .* length that differs from"):
            index_records(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"\x0a", b"\x0a\xff\xff", b"\x0a\x02\x0a\x09", b"\x0a\x05\x0a\x03\xff\xff\xff"],
)
def test_records_of_something_else_are_reported(tmp_path, data):
    path = write(tmp_path / "records", data)
    with pytest.raises((OSError, ValueError), match=f"{path} (is damaged|has a record)"):
        index_records(path)


def test_a_compressed_file_is_reported(tmp_path):
    path = tmp_path / "records"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        writer.write(example(1))
    with pytest.raises(OSError, match="or compressed: the record at byte 0 of"):
        index_records(path)
