"""Where records begin and what their labels are: equal to TensorFlow's own reading, and damage reported."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.sets import record_index
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


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the cache, in place of the home directory's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tflbt"


def test_records_begin_where_tensorflow_reads_them(tmp_path):
    contents = [[example(label, b"J" * 3**size) for size in range(9)] for label in (3, 2**40, -1)]
    paths = [write(tmp_path / str(n), *records) for n, records in enumerate(contents)]
    for path, records, (begins, labels), label in zip(
        paths, contents, index_records(paths), (3, 2**40, -1), strict=True
    ):
        assert labels.tolist() == [label] * 9 and labels.dtype == begins.dtype == np.int64
        for begin, record in zip(begins.tolist(), records, strict=True):
            read = tf.raw_ops.TFRecordDatasetV2(
                filenames=[str(path)], compression_type="", buffer_size=0, byte_offsets=[begin]
            )
            read = tf.data.experimental.from_variant(read, tf.TensorSpec([], tf.string))
            assert read.take(1).get_single_element().numpy() == record


def test_the_second_time_nothing_is_read_and_a_change_is_noticed(tmp_path, cache, monkeypatch):
    path = write(tmp_path / "records", example(1), example(2))
    first = index_records([path])
    with monkeypatch.context() as patch:
        patch.setattr(record_index, "_scan", lambda *_: pytest.fail("it was read again"))
        again = index_records([path])
    np.testing.assert_equal(again, first)
    write(path, example(4), example(5), example(6))
    assert index_records([path])[0][1].tolist() == [4, 5, 6]
    for file in cache.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert index_records([path])[0][1].tolist() == [4, 5, 6]


def test_a_home_that_may_not_be_written_is_a_warning(tmp_path, monkeypatch, caplog):
    path = write(tmp_path / "records", example(1))
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    assert index_records([path])[0][1].tolist() == [1]
    assert "is not kept" in caplog.text


@pytest.mark.parametrize("label", [None, [], [1, 2]])
def test_a_record_without_one_label_is_reported(tmp_path, label):
    path = write(tmp_path / "records", example(3), example(label))
    says = f"{path} has a record that is no tf.train.Example with one int64 'image/class/label'. It"
    with pytest.raises(ValueError, match=says):
        index_records([path])


def test_an_empty_file_is_reported(tmp_path):
    (tmp_path / "records").touch()
    with pytest.raises(ValueError, match=f"{tmp_path}/records is empty"):
        index_records([tmp_path / "records"])


def test_cuts_flipped_bits_and_compression_are_reported(tmp_path):
    """But a cut at the end of a record: a file may end there."""
    good, path = write(tmp_path / "good", example(1)), tmp_path / "records"
    whole = write(path, example(1, b"J" * 30), example(2, b"J" * 30)).read_bytes()
    half = len(whole) // 2
    damaged = [whole[:length] for length in (1, 11, 12, half - 1, half + 1, len(whole) - 1)]
    for place in (0, 8, 12, half - 1, half, half + 20, len(whole) - 1):
        damaged.append(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    for content in (*damaged, gzip.compress(whole), b"text" * 20):
        path.write_bytes(content)
        with pytest.raises(OSError, match=re.escape(f"{path} is damaged, cut off or compr")):
            index_records([good, path])
    path.write_bytes(whole[:half])
    assert index_records([path])[0][1].tolist() == [1]


@pytest.mark.parametrize("data", [b"", b"text", b"\x0a\xff\xff", b"\x0a\x02\x0a\x09"])
def test_records_of_something_else_are_reported(tmp_path, data):
    path = write(tmp_path / "records", data)
    with pytest.raises(ValueError, match=f"{path} has a record"):
        index_records([path])
