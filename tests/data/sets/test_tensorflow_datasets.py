"""TensorFlow Datasets as a source: a set that is written here, and errors where there is none."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tflbt.data import load

SHAPE = (4, 5, 3)


def images(count):
    return np.random.default_rng(count).integers(0, 256, (count, *SHAPE), np.uint8)


def prepare(tmp_path, held_out="test", shape=SHAPE, labels=3):
    """Writes a set "tiny": 5 training images and 2 to test, of `labels` classes in turn."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        name = "tiny"

        def _info(self):
            label = tfds.features.ClassLabel(num_classes=labels) if labels else np.float32
            features = {"image": tfds.features.Image(shape=shape), "label": label}
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(5), held_out: self._generate_examples(2)}

        def _generate_examples(self, count):
            for number, image in enumerate(images(count)):
                yield number, {"image": image, "label": number % (labels or 1)}

    builder = Tiny(data_dir=str(tmp_path))
    builder.download_and_prepare()
    return tmp_path / "tiny" / "1.0.0"


def by_first_value(x, y):
    order = np.argsort(x.reshape(len(x), -1) @ np.arange(60))
    return x[order], y[order]


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_a_prepared_set_is_loaded(tmp_path, held_out):
    prepare(tmp_path, held_out)
    data = load("tfds:tiny", tmp_path)
    assert (data.classes, data.image_shape, data.name) == (3, SHAPE, "tfds:tiny")
    for (x, y), count in (((data.x_train, data.y_train), 5), ((data.x_test, data.y_test), 2)):
        for got, expected in zip(
            by_first_value(x, y), by_first_value(images(count), np.arange(count) % 3)
        ):
            np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(load("tfds:tiny", tmp_path).x_train, data.x_train)


def test_a_set_of_another_kind_is_refused(tmp_path):
    prepare(tmp_path / "sizes", shape=(None, None, 3))
    with pytest.raises(ValueError, match=r"tfds:tiny has images uint8 \(None, None, 3\); only"):
        load("tfds:tiny", tmp_path / "sizes")
    prepare(tmp_path / "values", labels=None)
    with pytest.raises(ValueError, match="tfds:tiny is no set of images with one label each"):
        load("tfds:tiny", tmp_path / "values")
    prepare(tmp_path / "splits", held_out="extra")
    with pytest.raises(ValueError, match="tfds:tiny has the splits .*; it should have train, and"):
        load("tfds:tiny", tmp_path / "splits")


def test_a_damaged_file_is_reported(tmp_path):
    folder = prepare(tmp_path)
    (path,) = folder.glob("*train*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(OSError, match=f"split train, in {folder} is damaged: .*corrupted record"):
        load("tfds:tiny", tmp_path)


def test_nothing_is_downloaded(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(FileNotFoundError, match=f"tfds:mnist is not in {tmp_path}/mnist/.*once"):
        load("tfds:mnist", tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=f"name='no_such' is no set .*, nor one in {tmp_path}.$"):
        load("tfds:no_such", tmp_path)


def test_where_it_is_not_installed_the_error_says_how_to(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match="cannot be imported .*: pip install tensorflow-datasets"):
        load("tfds:mnist")
    with pytest.raises(ValueError, match="image_size=32 is for imagenet; tfds:mnist has"):
        load("tfds:mnist", image_size=32)
