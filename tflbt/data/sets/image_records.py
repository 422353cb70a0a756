"""ImageNet as TFRecord files, as TensorFlow's scripts build_imagenet_data.py and imagenet_to_gcs.py write it.

`train-00000-of-01024` ... and `validation-00000-of-00128` ..., in one folder or in its folders `train` and
`validation`, hold records of a `tf.train.Example` with a JPEG in `image/encoded` and its class in
`image/class/label`, 1 .. 1000 or 0 .. 999. The files are read once (`tflbt.data.sets.record_index`), and a
sample's name says where its record begins: `train-00003-of-01024@1117920`. With names for samples, an epoch is one
permutation over all records of all files, whatever the number of ranks, as for every other data set; and TensorFlow's
reader, which starts at that byte, checks the record's CRC before the JPEG is decoded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.sets import archives, image_folder
from tflbt.data.sets.image_files import AREA
from tflbt.data.sets.record_index import index_records
from tflbt.data.sets.stored_images import StoredImages, check_crops, mixed

_EXPECTED = (
    "TFRecord files train-NNNNN-of-MMMMM and validation-NNNNN-of-MMMMM with the features image/encoded and "
    "image/class/label"
)
_COUNTS = {"train": 1_281_167, "validation": 50_000}  # ImageNet's, published
_BUFFER = 65_536  # bytes read at a time; most JPEGs of ImageNet are one or two
# Of each file, where its records begin, and their labels.
_Indexed = dict[str, "tuple[np.ndarray, np.ndarray]"]


class ImageRecords(StoredImages):
    """A data set of images in TFRecord files.

    The attributes are those of `StoredImages`. The root holds the files; a name looks like
    `train-00003-of-01024@1117920`. The training records are in one random order, always the same; the test records
    are in the order in which they are stored.
    """

    @staticmethod
    def contents(path: tf.Tensor) -> tf.Tensor:
        """Reads the JPEG of one record, `FILE@BYTE`, after checking the record's CRC."""
        file = tf.strings.regex_replace(path, "@[0-9]+$", "")
        begin = tf.strings.to_number(tf.strings.regex_replace(path, "^.*@", ""), tf.int64)
        # The op of tf.data.TFRecordDataset, which has no argument for the byte at which to begin.
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=[file],
            compression_type="",
            buffer_size=tf.constant(_BUFFER, tf.int64),
            byte_offsets=[begin],
        )
        records = tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string))
        example = records.take(1).get_single_element()
        feature = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        return tf.io.parse_single_example(example, feature)["image/encoded"]


@checks.arguments
def load_imagenet(
    data_dir: str | Path | None, image_size: int = 224, crop_area: tuple[float, float] = AREA
) -> StoredImages:
    """Lists ImageNet in either form: TFRecord files where there are any, else folders of JPEG files.

    Args:
        data_dir: The folder that holds either, or holds a folder `imagenet` that does.
        image_size: Side of the crops in pixels, at least 1.
        crop_area: Least and largest area of a random crop, as shares of the image's, above 0, at most 1.

    Raises:
        ValueError: As in `load_image_records` and `tflbt.data.load_image_folder`.
        FileNotFoundError: If the folder holds neither form; other errors as in these two.

    Example:
        >>> load_imagenet(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold the folders train/CLASS ... or TFRecord files ...
    """
    check_crops(image_size, crop_area)
    expected = f"{image_folder.EXPECTED}, or {_EXPECTED}"
    places = archives.folders(data_dir, ["imagenet"], expected)
    if any(_shards(place, "train") for place in places):
        return load_image_records(data_dir, image_size, crop_area=crop_area)
    if not any((place / "train").is_dir() for place in places):
        at = " and ".join(map(str, places))
        raise FileNotFoundError(f"{at} should hold {expected}, but there is no train.")
    return image_folder.load_image_folder(data_dir, image_size, crop_area=crop_area)


@checks.arguments
def load_image_records(
    data_dir: str | Path | None,
    image_size: int = 224,
    name: str = "imagenet",
    crop_area: tuple[float, float] = AREA,
    classes: int = 1000,
    first_label: int | None = None,
) -> ImageRecords:
    """Lists the records of a data set.

    The first time one rank of each host reads every file, for ImageNet some minutes; the index is then in a cache in
    the home directory (`tflbt.data.sets.record_index`). Nothing is written beside the data.

    Args:
        data_dir: The folder that holds the files, or holds a folder `name` that does.
        image_size: Side of the crops in pixels, at least 1.
        name: Name of the data set.
        crop_area: Least and largest area of a random crop, as shares of the image's, above 0, at most 1.
        classes: Number of classes, at least 1.
        first_label: The label in the files that is class 0. Default: 0 if a training record has the label 0, else 1.

    Returns:
        Names, and labels that begin at 0; no image is read.

    Raises:
        ValueError: If an argument is out of its range, or a file is empty, belongs to another number of files, or
            holds a label that is missing or out of range.
        FileNotFoundError: If a folder or file is missing.
        OSError: If a file is damaged or cut off.

    Example:
        >>> load_image_records(".", classes=0)
        Traceback (most recent call last):
        ...
        ValueError: classes=0 must be a whole number, at least 1.
    """
    if first_label is not None:
        checks.whole("first_label", first_label, at_least=0)
    check_crops(image_size, crop_area)
    checks.whole("classes", classes, at_least=1)
    places = archives.folders(data_dir, [name], _EXPECTED)
    root = next((place for place in places if _shards(place, "train")), places[0])
    shards = {split: _shards(root, split) for split in _COUNTS}
    absent = next((split for split, names in shards.items() if not names), None)
    if absent is not None:
        raise FileNotFoundError(
            f"{root} holds no {absent}-NNNNN-of-MMMMM. It should hold {_EXPECTED}."
        )
    indexed = {split: _indexed(root, names) for split, names in shards.items()}
    if first_label is None:
        first_label = int(min(labels.min() for _, labels in indexed["train"].values()) != 0)
    known = range(first_label, first_label + classes)
    arrays = {}
    for split in shards:
        arrays[split] = _arrays(root, indexed[split], known)
        if name == "imagenet":
            archives.warn_if_other(f"{root}/{split}", len(arrays[split][0]), _COUNTS[split])
    samples = (*mixed(*arrays["train"]), *arrays["validation"])
    return ImageRecords(root, *samples, tuple(map(str, known)), image_size, name, crop_area)


def _shards(root: Path, split: str) -> list[str]:
    """Returns the names of a split's files, sorted: all of them or none."""
    for folder in (root, root / split):
        listed = os.listdir(folder) if folder.is_dir() else []
        names = sorted(n for n in listed if re.fullmatch(rf"{split}-\d{{5}}-of-\d{{5}}", n))
        if names:
            _check_complete(folder, split, names)
            return [os.path.relpath(folder / name, root) for name in names]
    return []


def _check_complete(folder: Path, split: str, names: list[str]) -> None:
    """Raises unless the files are exactly those that the first one's name promises."""
    total = names[0][-5:]
    every = [f"{split}-{number:05}-of-{total}" for number in range(int(total))]
    stray = next((name for name in names if name not in set(every)), None)
    if stray is not None:
        raise ValueError(
            f"{folder}/{stray} does not belong to the {int(total)} files that {names[0]} is one of."
        )
    missing = sorted(set(every) - set(names))
    if missing:
        raise FileNotFoundError(
            f"{folder}/{missing[0]} is missing, {len(missing)} of {len(every)} files in all."
        )


def _indexed(root: Path, shards: Sequence[str]) -> _Indexed:
    found = index_records([root / name for name in shards], expected=_EXPECTED)
    return dict(zip(shards, found))


def _arrays(root: Path, indexed: _Indexed, known: range) -> tuple[np.ndarray, np.ndarray]:
    """Returns the names and labels of a split's samples, whose files may have the labels `known`."""
    names: list[bytes] = []
    for shard, (begins, labels) in indexed.items():
        archives.require_labels(f"{root}/{shard}", labels, known)
        names += [os.fsencode(f"{shard}@{begin}") for begin in begins.tolist()]
    return np.array(names), np.concatenate([y for _, y in indexed.values()]) - known.start
