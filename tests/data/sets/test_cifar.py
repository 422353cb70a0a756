"""The CIFAR loaders on small files in the original formats, whole and damaged, and on real ones."""

from __future__ import annotations

import gzip
import importlib
import lzma
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import load

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
REAL = Path(__file__).parents[4] / "shared" / "data"
FILES = {
    "cifar10": [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"],
    "cifar100": ["train", "test"],
}
FOLDER = {"cifar10": "cifar-10", "cifar100": "cifar-100"}
CLASSES = {"cifar10": 10, "cifar100": 100}


def arrays(name):
    """Rows of planes and labels for each file: {file: (uint8 [3, 3072], labels)}."""
    rng = np.random.default_rng(CLASSES[name])
    return {
        file: (rng.integers(0, 256, (3, 3072), np.uint8), rng.integers(0, CLASSES[name], 3))
        for file in FILES[name]
    }


def binary(name, rows, labels):
    coarse = [b""] * len(labels) if name == "cifar10" else [bytes([19])] * len(labels)
    return b"".join(
        c + bytes([label]) + row.tobytes() for c, label, row in zip(coarse, labels, rows)
    )


def contents(name):
    return {f"{file}.bin": binary(name, *part) for file, part in arrays(name).items()}


def write_files(folder, files, packing=""):
    folder.mkdir(exist_ok=True)
    for file, content in files.items():
        (folder / (file + packing)).write_bytes(PACK[packing](content))


def check(data, name):
    parts = arrays(name)
    rows = np.concatenate([parts[file][0] for file in FILES[name][:-1]])
    images = rows.reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(data.x_train.transpose(0, 3, 1, 2), images)
    np.testing.assert_array_equal(
        data.y_train, np.concatenate([parts[f][1] for f in FILES[name][:-1]])
    )
    rows, labels = parts[FILES[name][-1]]
    np.testing.assert_array_equal(data.x_test.transpose(0, 3, 1, 2).reshape(-1, 3072), rows)
    np.testing.assert_array_equal(data.y_test, labels)
    assert (data.classes, data.name) == (CLASSES[name], name)


@pytest.mark.parametrize("packing", ["", ".gz", ".xz"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_unpacked_files_raw_and_compressed(tmp_path, name, packing):
    write_files(tmp_path, contents(name), packing)
    check(load(name, tmp_path), name)


@pytest.mark.parametrize("subfolder", ["", "-batches-bin", "-binary"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_folders_by_their_usual_names(tmp_path, name, subfolder):
    if subfolder and ("batches" in subfolder) != (name == "cifar10"):
        pytest.skip("the other set's folder")
    write_files(tmp_path / (FOLDER[name] + subfolder), contents(name))
    check(load(name, tmp_path), name)


def test_a_pickle_is_not_read(tmp_path):
    batch = pickle.dumps({b"data": np.zeros([2, 3072], np.uint8), b"labels": [1, 2]})
    write_files(tmp_path, {file: batch for file in FILES["cifar10"]})
    with pytest.raises(FileNotFoundError, match="pickle, which could run anything: it is not read"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_without_a_folder_it_is_what_keras_has_downloaded(tmp_path, monkeypatch, name):
    """Keras's own reader, from an archive of its own form whose sum it would check."""
    monkeypatch.setenv("HOME", str(tmp_path))
    cached, parts = tmp_path / ".keras" / "datasets", arrays(name)
    folder = cached / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    folder.mkdir(parents=True)
    key = "labels" if name == "cifar10" else "fine_labels"
    for file, (rows, labels) in parts.items():
        batch = {b"data": rows, key.encode(): labels.tolist()}
        (folder / file).write_bytes(pickle.dumps(batch, 2))
    module = tf.keras.datasets.cifar10 if name == "cifar10" else tf.keras.datasets.cifar100
    count = sum(len(parts[file][1]) for file in FILES[name][:-1])

    def load_data():
        package = tf.keras.Model.__module__.split(".")[0]  # keras or tf_keras
        theirs = importlib.import_module(f"{package}.src.datasets.cifar")
        read = [theirs.load_batch(str(folder / file), key) for file in FILES[name]]
        x, y = (np.concatenate([part[i] for part in read]) for i in (0, 1))
        x, y = x.transpose(0, 2, 3, 1), y.reshape(-1, 1).astype(np.uint8)
        return (x[:count], y[:count]), (x[count:], y[count:])

    monkeypatch.setattr(module, "load_data", load_data)
    with pytest.raises(ValueError, match="not given. .*load_data.. download it once and leave"):
        load(name)
    with tarfile.open(f"{folder}.tar.gz", "w:gz"):
        pass
    check(load(name), name)

    def no_network():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(module, "load_data", no_network)
    with pytest.raises(OSError, match="cannot be read .URL fetch failure.: remove"):
        load(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\1" + bytes(3071), "is truncated or damaged: it holds 3,072 bytes"),
        (b"", "is truncated or damaged: it holds 0 bytes"),
        (bytes([10]) + bytes(3072), "holds the label 10; it should be 0 .. 9"),
        (bytes(30_730_001), "holds more than 30,730,000 bytes"),
    ],
)
def test_a_wrong_binary_file_is_named_and_what_it_should_be(tmp_path, content, message):
    write_files(tmp_path, {**contents("cifar10"), "data_batch_2.bin": content}, ".gz")
    with pytest.raises(ValueError, match=message) as raised:
        load("cifar10", tmp_path)
    assert "data_batch_2.bin.gz" in str(raised.value)
    assert "It should be 30,730,000 bytes: 10,000 records of 1 label byte" in str(raised.value)


def test_a_file_cut_between_two_records_is_refused(tmp_path):
    """Half of a real file is 5,000 whole records; the other files tell that it should be more."""
    files = contents("cifar10")
    files["test_batch.bin"] = bytes(30_730_000)
    write_files(tmp_path, files)
    with pytest.raises(
        ValueError, match="data_batch_1.bin .* holds 3 images and should hold 10,000"
    ):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("packing", [".gz", ".xz"])
def test_every_flipped_byte_of_a_compressed_file_is_noticed_or_harmless(tmp_path, packing):
    write_files(tmp_path, contents("cifar10"), packing)
    path, good = tmp_path / f"test_batch.bin{packing}", load("cifar10", tmp_path)
    content, noticed = path.read_bytes(), 0
    for place in [
        *range(0, len(content), len(content) // 20),
        *range(len(content) - 8, len(content)),
    ]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            np.testing.assert_array_equal(load("cifar10", tmp_path).x_test, good.x_test)
        except OSError as error:
            assert f"{path.name} is damaged" in str(error) and "It should be" in str(error)
            noticed += 1
    assert noticed > 24
    path.write_bytes(content[:-30])
    with pytest.raises(OSError, match=rf"{path.name} is .*damaged.* It should be"):
        load("cifar10", tmp_path)


def test_a_missing_file_is_named_and_what_the_folder_should_hold(tmp_path):
    files = contents("cifar10")
    del files["data_batch_4.bin"]
    write_files(tmp_path, files)
    with pytest.raises(FileNotFoundError, match="no data_batch_4.bin .* The folder should hold"):
        load("cifar10", tmp_path)


def test_a_missing_folder_or_set_is_named_with_what_is_expected(tmp_path):
    for name in FILES:
        with pytest.raises(ValueError, match=f"not given. It should hold .*{FOLDER[name]}-binary"):
            load(name, "")
        with pytest.raises(
            FileNotFoundError, match=f"There is no {FILES[name][0]}.bin .*{FOLDER[name]}-binary"
        ):
            load(name, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is not a directory. It should hold"):
        load("cifar10", tmp_path / "file")


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "cifar-10").is_dir(), reason="the real files are not here")
def test_the_real_set_has_the_published_counts_and_means():
    data = load("cifar10", REAL)
    assert (len(data.x_train), len(data.x_test)) == (50_000, 10_000)
    means = data.x_train.mean((0, 1, 2), dtype=np.float64) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-5)
