"""SVHN's loader on small files in the original format, whole and damaged."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import io

from tflbt.data import load, load_svhn
from tflbt.data.sets import svhn

COUNTS = {"train": 5, "extra": 17, "test": 4}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(svhn, "_CHUNK", 6)  # so that "extra" has whole ones and a part of one


def arrays(part, count=None):
    """MATLAB's ``X`` [row, column, channel, image] and ``y`` [image, 1]; images of ten known values."""
    count = count or COUNTS[part]
    random = np.random.default_rng(count)
    return {
        "X": random.integers(0, 256, (32, 32, 3, count), np.uint8),
        "y": (1 + np.arange(count) % 10).astype(np.uint8)[:, None],
    }


def write(folder, compressed=True, leave_out=(), **replaced):
    folder.mkdir(exist_ok=True)
    for part in COUNTS:
        content = {**arrays(part), **replaced.get(part, {})}
        content = {key: value for key, value in content.items() if value is not None}
        if part not in leave_out:
            io.savemat(folder / f"{part}_32x32.mat", content, do_compression=compressed)


def images(part):
    return np.stack([arrays(part)["X"][..., i] for i in range(COUNTS[part])])


def digits(part):
    return np.array([label % 10 for label in arrays(part)["y"][:, 0].tolist()])


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("subfolder", ["", "svhn"])
def test_both_training_parts_are_joined(tmp_path, compressed, subfolder):
    write(tmp_path / subfolder, compressed)
    data = load("svhn", tmp_path)
    expected = np.concatenate([images("train"), images("extra")])
    np.testing.assert_array_equal(data.x_train, expected)
    np.testing.assert_array_equal(data.y_train, np.concatenate([digits("train"), digits("extra")]))
    np.testing.assert_array_equal(data.x_test, images("test"))
    np.testing.assert_array_equal(data.y_test, digits("test"))
    assert (data.image_shape, data.classes, data.name) == ((32, 32, 3), 10, "svhn")
    assert data.x_train.flags.c_contiguous


def test_the_extra_part_alone_needs_no_other(tmp_path):
    write(tmp_path, leave_out=["train"])
    data = load("svhn_extra", tmp_path)
    np.testing.assert_array_equal(data.x_train, images("extra"))
    np.testing.assert_array_equal(data.y_train, digits("extra"))
    np.testing.assert_array_equal(data.x_test, images("test"))
    assert data.name == "svhn_extra"


def test_the_label_10_is_the_digit_0(tmp_path):
    write(tmp_path)
    data = load("svhn_extra", tmp_path)
    assert data.y_train[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


@pytest.mark.parametrize("kind", [np.float64, np.uint8, np.int32])
@pytest.mark.parametrize("row", [False, True])
def test_labels_of_any_numeric_type_and_lying_or_standing(tmp_path, kind, row):
    labels = arrays("test")["y"].astype(kind)
    write(tmp_path, test={"y": labels.T if row else labels})
    np.testing.assert_array_equal(load("svhn_extra", tmp_path).y_test, digits("test"))


def test_axes_are_exchanged_in_the_memory_that_the_file_was_read_into():
    stored = np.asfortranarray(arrays("extra")["X"])
    expected = images("extra")
    exchanged = svhn._images(stored)
    np.testing.assert_array_equal(exchanged, expected)
    assert np.shares_memory(exchanged, stored)
    # Of an array that may not be written, or lies otherwise, a copy.
    for other in (
        np.asfortranarray(arrays("test")["X"]),
        np.ascontiguousarray(arrays("test")["X"]),
    ):
        other.flags.writeable = False
        np.testing.assert_array_equal(svhn._images(other), images("test"))
        np.testing.assert_array_equal(other, arrays("test")["X"])


def test_one_part_is_handed_over_in_the_memory_that_scipy_read_it_into(tmp_path, monkeypatch):
    """There is never a second copy of 531,131 images."""
    write(tmp_path)
    read, contents = svhn._matlab, []
    monkeypatch.setattr(
        svhn, "_matlab", lambda path: contents.append(read(path)) or dict(contents[-1])
    )
    data = load("svhn_extra", tmp_path)
    assert np.shares_memory(data.x_train, contents[0]["X"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"X": None}, "holds no 'X'"),
        ({"y": None}, "holds no 'y'"),
        ({"X": np.zeros([32, 32, 3, 5])}, r"holds X float64 \(32, 32, 3, 5\)"),
        ({"X": np.zeros([5, 32, 32, 3], np.uint8)}, r"holds X uint8 \(5, 32, 32, 3\)"),
        ({"X": np.zeros([32, 32, 3], np.uint8)}, r"holds X uint8 \(32, 32, 3\)"),
        ({"X": np.zeros([32, 32, 3, 0], np.uint8)}, r"holds X uint8 \(32, 32, 3, 0\)"),
        ({"y": np.ones([4, 1])}, r"holds y float64 \(4, 1\) with 5 images"),
        ({"y": np.ones([5, 2])}, r"holds y float64 \(5, 2\) with 5 images"),
        ({"y": np.array(list("12345"))}, "holds y <U1 .* with 5 images"),
    ],
)
def test_wrong_contents_are_named_and_what_they_should_be(tmp_path, wrong, message):
    write(tmp_path, train=wrong)
    with pytest.raises(ValueError, match=f"train_32x32.mat {message}") as raised:
        load("svhn", tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert "It should be a MATLAB file (before 7.3) with uint8 images 'X'" in str(raised.value)


@pytest.mark.parametrize("label", [0, 11, 255, -1, 2.5, float("nan")])
def test_a_label_out_of_range_is_named(tmp_path, label):
    write(tmp_path, extra={"y": np.array([[1.0]] * 16 + [[label]])})
    with pytest.raises(ValueError, match=rf"extra_32x32.mat holds the label {label}.*be 1 .. 10"):
        load("svhn", tmp_path)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("damage", ["empty", "cut in the header", "cut", "no MATLAB file"])
def test_a_damaged_file_is_named(tmp_path, compressed, damage):
    write(tmp_path, compressed)
    path = tmp_path / "test_32x32.mat"
    good = path.read_bytes()
    bad = {
        "empty": b"",
        "cut in the header": good[:100],
        "cut": good[: len(good) // 2],
        "no MATLAB file": b"<html>not found</html>" * 20,
    }[damage]
    path.write_bytes(bad)
    with pytest.raises(OSError, match=r"test_32x32.mat is damaged .* It should be a MATLAB file"):
        load("svhn_extra", tmp_path)


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_flipped_byte_in_the_compressed_stream_is_noticed(tmp_path, where):
    write(tmp_path)
    path = tmp_path / "extra_32x32.mat"
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(OSError, match="extra_32x32.mat is damaged"):
        load("svhn_extra", tmp_path)


def test_every_flipped_byte_of_a_compressed_file_is_noticed_or_harmless(tmp_path, monkeypatch):
    """SciPy alone does not look at all sums; what it reads is what was written, or nothing."""
    write(tmp_path)
    path, good = tmp_path / "test_32x32.mat", load("svhn_extra", tmp_path)
    content = path.read_bytes()
    for place in range(128, len(content), len(content) // 60):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            x, y = svhn._read(path, "test")
        except (OSError, ValueError):
            continue
        np.testing.assert_array_equal(x, good.x_test)
        np.testing.assert_array_equal(y, good.y_test)


def test_no_more_is_inflated_than_a_set_can_hold(tmp_path, monkeypatch):
    write(tmp_path, extra={"X": np.zeros([32, 32, 3, 3000], np.uint8), "y": np.ones([3000, 1])})
    assert (tmp_path / "extra_32x32.mat").stat().st_size < 60_000
    monkeypatch.setattr(svhn, "_MOST_BYTES", 10**6)
    with pytest.raises(OSError, match="extra_32x32.mat is damaged .*more than 1,000,000 bytes"):
        load("svhn_extra", tmp_path)


@pytest.mark.parametrize("part", COUNTS)
def test_a_missing_file_is_named_before_any_is_read(tmp_path, monkeypatch, part):
    write(tmp_path, leave_out=[part])
    monkeypatch.setattr(svhn, "_matlab", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(FileNotFoundError, match=f"There is no {part}_32x32.mat in {tmp_path}"):
        load("svhn", tmp_path)


def test_a_missing_folder_or_unknown_part_is_reported(tmp_path):
    with pytest.raises(ValueError, match="data_dir is not given. It should hold SVHN's files"):
        load("svhn")
    for parts, message in (
        ((), "of 'train' and 'extra'"),
        (("test",), "of 'train' and 'extra'"),
        ("train", "a list, each text"),
    ):
        with pytest.raises(ValueError, match=f"^parts=.* must be {message}"):
            load_svhn(tmp_path, parts=parts)
