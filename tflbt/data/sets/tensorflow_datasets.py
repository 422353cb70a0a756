"""Image sets of TensorFlow Datasets, `tfds:NAME`, where it is installed and has the set on disk.

Nothing is downloaded: nodes of a cluster often have no network, and all ranks would download at once. Prepare a set
once, where there is a network, and pass its folder as `data_dir`:

    python -c "import tensorflow_datasets as tfds; tfds.load('NAME', data_dir='DIR')"

TensorFlow 2.15's protobuf (below 5) works with tensorflow-datasets 4.9.10 and tensorflow-metadata below 1.18; pip has
to be asked for the latter. Preparing a set also needs importlib_resources.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.sets.archives import require_labels
from tflbt.data.sets.image_data import ImageData

_NAME = r"[\w.-]+(/[\w.+-]+)*(:[\d*][\w.*]*)?"
_INSTALL = "pip install tensorflow-datasets 'tensorflow-metadata<1.18'"
_TEST_SPLITS = ("test", "validation")  # the first that exists is used


@checks.arguments
def load_tensorflow_datasets(name: str, data_dir: str | Path | None = None) -> ImageData:
    """Loads a whole set into memory: its split "train", and "test", or "validation" if it has no "test".

    Args:
        name: Its name there, such as "mnist", "svhn_cropped" or "cifar10:3.0.2", or that of a set of your own that
            was written to `data_dir`.
        data_dir: The folder in which it was prepared. Default: that of TensorFlow Datasets, `~/tensorflow_datasets`.

    Returns:
        Images and labels in the order in which they are stored; the name is `tfds:NAME`.

    Raises:
        ImportError: If TensorFlow Datasets cannot be imported.
        ValueError: If there is no such set, or it does not consist of uint8 images of one size with one label each.
        FileNotFoundError: If the set is not on disk.
        OSError: If it is damaged.

    Example:
        >>> load_tensorflow_datasets("mnist", data_dir=".")  # doctest: +SKIP
        Traceback (most recent call last):
        ...
        FileNotFoundError: tfds:mnist is not in ./mnist/3.0.1. Nothing is downloaded here: prepare it once with ...
    """
    tfds = _library()
    builder = _builder(tfds, name, data_dir)
    if not tf.io.gfile.isdir(str(builder.data_dir)):
        raise FileNotFoundError(
            f"tfds:{name} is not in {builder.data_dir}. Nothing is downloaded here: prepare it once with "
            f"tfds.load({name!r}, data_dir=...), where there is a network."
        )
    test_split = next((split for split in _TEST_SPLITS if split in builder.info.splits), None)
    if test_split is None or "train" not in builder.info.splits:
        raise ValueError(
            f"tfds:{name} has the splits {', '.join(builder.info.splits) or 'none'}; it should have train, and test "
            "or validation."
        )
    classes = _classes(tfds, builder, name)
    train, test = (_read(tfds, builder, name, split, classes) for split in ("train", test_split))
    return ImageData(*train, *test, classes=classes, name=f"tfds:{name}")


def _library() -> ModuleType:
    try:
        import tensorflow_datasets  # it takes a second to import
    except ImportError as error:
        raise ImportError(
            f"Data sets named tfds:NAME need TensorFlow Datasets, which cannot be imported ({error}): {_INSTALL}."
        ) from error
    return tensorflow_datasets


def _builder(tfds: ModuleType, name: str, data_dir: str | Path | None) -> Any:
    folder = None if data_dir is None else str(Path(data_dir).expanduser())
    if not re.fullmatch(_NAME, name):
        raise ValueError(
            f"name={name!r} must be a set's name, with /CONFIG and :VERSION if wanted: a set of a name space would "
            "run somebody's code."
        )
    try:
        return tfds.builder(name, data_dir=folder)
    except tfds.core.DatasetNotFoundError as error:  # its message lists a thousand sets
        raise ValueError(
            f"name={name!r} is no set of TensorFlow Datasets, nor one in {folder or 'its own folder'}."
        ) from error


def _classes(tfds: ModuleType, builder: Any, name: str) -> int:
    """Returns the number of classes, after checking that the set consists of images and labels."""
    keys = builder.info.supervised_keys
    kinds = [builder.info.features[key] for key in keys] if keys and len(keys) == 2 else []
    if [type(kind) for kind in kinds] != [tfds.features.Image, tfds.features.ClassLabel]:
        raise ValueError(f"tfds:{name} is no set of images with one label each: it has {kinds}.")
    image, label = kinds
    if image.np_dtype != np.uint8 or None in image.shape:
        raise ValueError(
            f"tfds:{name} has images {np.dtype(image.np_dtype)} {image.shape}; only uint8 images of one size can be "
            "held in memory."
        )
    return label.num_classes


def _read(
    tfds: ModuleType, builder: Any, name: str, split: str, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    try:
        whole = builder.as_dataset(split=split, batch_size=-1, as_supervised=True)
    except tf.errors.OpError as error:
        raise OSError(
            f"tfds:{name}, split {split}, in {builder.data_dir} is damaged: {error.message}"
        ) from error
    x, y = tfds.as_numpy(whole)
    require_labels(f"tfds:{name}, split {split}, in {builder.data_dir}", y, range(classes))
    return x, y.astype(np.int64)
