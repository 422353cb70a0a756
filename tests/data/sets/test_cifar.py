"""The CIFAR loaders on small files in the original formats, whole and damaged, and on real ones."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tflbt.data import load
from tflbt.data.sets.archives import opened
from tflbt.data.sets.cifar_records import parse_binary

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


def pickled(name, rows, labels, protocol=2, keys=bytes):
    batch = {"data": rows, "filenames": [b"a.png"] * len(rows), "batch_label": b"one of five"}
    batch["labels" if name == "cifar10" else "fine_labels"] = labels.tolist()
    batch["coarse_labels"] = [99] * len(rows)
    return pickle.dumps(
        {key.encode() if keys is bytes else key: value for key, value in batch.items()}, protocol
    )


def contents(name, version, **options):
    write = binary if version == "binary" else pickled
    ending = ".bin" if version == "binary" else ""
    return {file + ending: write(name, *part, **options) for file, part in arrays(name).items()}


def write_files(folder, files, packing=""):
    folder.mkdir(exist_ok=True)
    for file, content in files.items():
        (folder / (file + packing)).write_bytes(PACK[packing](content))


def write_tar(path, files, mode="w", inside="cifar-batches/"):
    with tarfile.open(path, mode) as tar:
        for file, content in {"readme.html": b"hello", **files}.items():
            member = tarfile.TarInfo(inside + file)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


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
@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_unpacked_files_raw_and_compressed(tmp_path, name, version, packing):
    write_files(tmp_path, contents(name, version), packing)
    check(load(name, tmp_path), name)


@pytest.mark.parametrize("subfolder", ["", "-batches-bin", "-batches-py", "-binary", "-python"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_folders_by_their_usual_names(tmp_path, name, subfolder):
    if subfolder and ("batches" in subfolder) != (name == "cifar10"):
        pytest.skip("the other set's folder")
    version = "binary" if "bin" in subfolder else "python"
    write_files(tmp_path / (FOLDER[name] + subfolder), contents(name, version))
    check(load(name, tmp_path), name)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.xz"])
@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_unopened_tar(tmp_path, name, version, ending):
    mode = {".tar": "w", ".tar.gz": "w:gz", ".tar.xz": "w:xz"}[ending]
    write_tar(tmp_path / f"{FOLDER[name]}-{version}{ending}", contents(name, version), mode)
    check(load(name, tmp_path), name)


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("keys", [bytes, str])
def test_pickles_of_any_protocol_with_keys_as_bytes_or_text(tmp_path, protocol, keys):
    write_files(tmp_path, contents("cifar10", "python", protocol=protocol, keys=keys))
    check(load("cifar10", tmp_path), "cifar10")


class _Evil:
    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({b"data": _Evil(), b"labels": [1]}),
        b"cos\nsystem\n(S'touch owned'\ntR.",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": np.zeros([2, 3072]), b"labels": [1, 2]}),
        pickle.dumps({b"data": np.zeros([2, 3072], np.uint8), b"labels": [1]}),
        pickle.dumps({b"data": np.zeros([1, 3072], np.uint8), b"labels": [10]}),
        pickle.dumps({b"labels": [10]}),
        contents("cifar10", "python")["test_batch"][:-400],
        b"",
    ],
)
def test_a_pickle_of_anything_else_is_refused_and_runs_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, {**contents("cifar10", "python"), "data_batch_3": content})
    with pytest.raises(
        ValueError, match=r"data_batch_3 .*It should be a pickled dict of uint8 'data'"
    ):
        load("cifar10", tmp_path)
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\1" + bytes(3071), "is truncated or damaged: it holds 3,072 bytes"),
        (b"", "is truncated or damaged: it holds 0 bytes"),
        (bytes([10]) + bytes(3072), "holds the label 10, not 0 .. 9"),
        (bytes(30_730_001), "holds more than 30,730,000 bytes"),
    ],
)
def test_a_wrong_binary_file_is_named_and_what_it_should_be(tmp_path, content, message):
    write_files(tmp_path, {**contents("cifar10", "binary"), "data_batch_2.bin": content}, ".gz")
    with pytest.raises(ValueError, match=message) as raised:
        load("cifar10", tmp_path)
    assert "data_batch_2.bin.gz" in str(raised.value)
    assert "It should be 30,730,000 bytes: 10,000 records of 1 label byte" in str(raised.value)


def test_a_file_cut_between_two_records_is_refused(tmp_path):
    """Half of a real file is 5,000 whole records; the other files tell that it should be more."""
    files = contents("cifar10", "binary")
    files["test_batch.bin"] = bytes(30_730_000)
    write_files(tmp_path, files)
    with pytest.raises(ValueError, match="data_batch_1 .* holds 3 images and should hold 10,000"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("packing", [".gz", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "no stream"])
def test_a_damaged_stream_is_named(tmp_path, version, packing, damage):
    files = contents("cifar10", version)
    write_files(tmp_path, files, packing)
    path = tmp_path / f"test_batch{'.bin' if version == 'binary' else ''}{packing}"
    path.write_bytes(path.read_bytes()[:-30] if damage == "cut" else b"<html>not found</html>")
    with pytest.raises((OSError, ValueError), match=rf"{path.name} is .*damaged.* It should be"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.xz"])
def test_a_damaged_tar_is_named(tmp_path, version, ending):
    path = tmp_path / f"cifar-10-{version}{ending}"
    write_tar(path, contents("cifar10", version), "w:" + ending[5:] if ending[5:] else "w")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((OSError, ValueError), match=rf"{path.name}.*(damaged|has no).*should"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("version", ["binary", "python"])
def test_a_missing_file_is_named_and_what_it_should_be(tmp_path, version):
    files = contents("cifar10", version)
    missing = [name for name in files if "4" in name][0]
    del files[missing]
    write_files(tmp_path, files)
    with pytest.raises(FileNotFoundError, match=f"{missing} .* is missing .* It should be"):
        load("cifar10", tmp_path)


def test_a_missing_folder_or_set_is_named_with_what_is_expected(tmp_path):
    for name in FILES:
        with pytest.raises(ValueError, match=f"not given. It should hold .*{FOLDER[name]}-binary"):
            load(name)
        with pytest.raises(FileNotFoundError, match=f"There is no {name} in .*{FILES[name][0]}"):
            load(name, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is not a directory. It should hold"):
        load("cifar10", tmp_path / "file")


@pytest.mark.skipif(not (REAL / "cifar-10").is_dir(), reason="the real files are not here")
def test_a_real_file_has_the_published_count():
    with opened(REAL / "cifar-10" / "test_batch.bin.xz", "") as stream:
        images, labels = parse_binary(stream, 1, 10_000, 10)
    assert images.shape == (10_000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [1000] * 10


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "cifar-10").is_dir(), reason="the real files are not here")
def test_the_real_set_has_the_published_counts_and_means():
    data = load("cifar10", REAL)
    assert (len(data.x_train), len(data.x_test)) == (50_000, 10_000)
    means = data.x_train.mean((0, 1, 2), dtype=np.float64) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-5)
