"""MNIST's loader on small files in the original format, whole and damaged, and on the real ones."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from tflbt.data import load

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
REAL = Path(__file__).parents[4] / "shared" / "data"
RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images": RNG.integers(0, 256, (6, 28, 28), np.uint8),
    "train-labels": RNG.integers(0, 10, 6).astype(np.uint8),
    "t10k-images": RNG.integers(0, 256, (4, 28, 28), np.uint8),
    "t10k-labels": RNG.integers(0, 10, 4).astype(np.uint8),
}


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def write(folder, mark="-", packing=".gz", **replaced):
    """Writes the four files; `replaced` maps 'train_images' and so on to other contents."""
    folder.mkdir(exist_ok=True)
    for name, array in ARRAYS.items():
        content = replaced.get(name.replace("-", "_"), PACK[packing](idx(array)))
        if content is not None:
            (folder / f"{name}{mark}idx{array.ndim}-ubyte{packing}").write_bytes(content)


@pytest.mark.parametrize("packing", ["", ".gz", ".xz"])
@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_every_variant_gives_the_arrays(tmp_path, mark, packing, subfolder):
    write(tmp_path / subfolder, mark, packing)
    data = load("mnist", tmp_path)
    np.testing.assert_array_equal(data.x_train[..., 0], ARRAYS["train-images"])
    np.testing.assert_array_equal(data.y_train, ARRAYS["train-labels"])
    np.testing.assert_array_equal(data.x_test[..., 0], ARRAYS["t10k-images"])
    np.testing.assert_array_equal(data.y_test, ARRAYS["t10k-labels"])
    assert (data.image_shape, data.classes, data.name) == ((28, 28, 1), 10, "mnist")


IMAGES = idx(ARRAYS["train-images"])


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (IMAGES[:-1], ValueError, r"truncated .*\(6, 28, 28\), 4,704 bytes, .* only 4,703"),
        (IMAGES + b"x", ValueError, "holds more"),
        (IMAGES[:9], ValueError, "begins with 0x00000803"),
        (b"", ValueError, "begins with 0x,"),
        (idx(ARRAYS["train-labels"]), ValueError, "begins with 0x00000801, not 0x00000803"),
        (b"\0\0\x08\x03" + b"\xff" * 12, ValueError, "truncated or damaged"),
        (idx(ARRAYS["t10k-images"]), ValueError, "holds 4 images but .*train-labels.* 6 labels"),
        (None, FileNotFoundError, "There is no train-images-idx3-ubyte"),
    ],
)
def test_a_wrong_file_is_named_and_what_it_should_be(tmp_path, content, error, message):
    write(tmp_path, packing="", train_images=content)
    with pytest.raises(error, match=message) as raised:
        load("mnist", tmp_path)
    assert "train-images" in str(raised.value) and str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("packing", [".gz", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "scrambled", "no stream"])
def test_a_damaged_stream_is_named(tmp_path, packing, damage):
    good = PACK[packing](IMAGES)
    middle = len(good) // 2
    bad = {
        "cut": good[:-20],
        "scrambled": good[:middle]
        + bytes(b ^ 0x55 for b in good[middle : middle + 40])
        + good[middle + 40 :],
        "no stream": b"<html>not found</html>",
    }[damage]
    write(tmp_path, packing=packing, train_images=bad)
    with pytest.raises(OSError, match=r"train-images.* is damaged .* It should be an IDX file"):
        load("mnist", tmp_path)


def test_a_label_out_of_range_is_named(tmp_path):
    write(tmp_path, packing="", train_labels=idx(np.full(6, 10, np.uint8)))
    with pytest.raises(ValueError, match="train-labels.* holds the label 10; it should be 0 .. 9"):
        load("mnist", tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(
        ValueError, match="data_dir is not given. It should hold MNIST's four files"
    ):
        load("mnist")
    with pytest.raises(OSError, match="nowhere is not a directory. It should hold MNIST's"):
        load("mnist", tmp_path / "nowhere")


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="the real files are not here")
def test_the_real_files_have_the_published_counts_and_means():
    data = load("mnist", REAL)
    assert (len(data.x_train), len(data.x_test)) == (60_000, 10_000)
    scaled = data.x_train / np.float32(255)
    assert scaled.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert scaled.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
