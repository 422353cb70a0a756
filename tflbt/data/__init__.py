"""Data sets by name, standardisation, augmentation, and dealing samples to ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tflbt import checks
from tflbt.data.batch_augmentation import BatchAugmentation, augmented_batches
from tflbt.data.sets.cifar import load_cifar10, load_cifar100
from tflbt.data.sets.digits import load_digits
from tflbt.data.sets.holdout import with_holdout
from tflbt.data.sets.image_data import ImageData
from tflbt.data.sets.image_files import unreadable_named
from tflbt.data.sets.image_folder import ImageFolder, load_image_folder
from tflbt.data.sets.image_records import ImageRecords, load_image_records, load_imagenet
from tflbt.data.sets.mnist import load_mnist
from tflbt.data.sets.mushroom import load_mushroom
from tflbt.data.sets.penn_treebank import load_penn_treebank
from tflbt.data.sets.stored_images import StoredImages
from tflbt.data.sets.svhn import load_svhn
from tflbt.data.sets.tensorflow_datasets import load_tensorflow_datasets
from tflbt.data.sets.text_data import TextData
from tflbt.data.sets.tiny_imagenet import load_tiny_imagenet
from tflbt.data.sharding import one_epoch, steps_per_epoch, sub_batches
from tflbt.data.shares import shard
from tflbt.data.transforms.colour import ColourJitter
from tflbt.data.transforms.cutout import Cutout
from tflbt.data.transforms.pad_crop_flip import PadCropFlip, chain
from tflbt.data.transforms.random_resized_crop import RandomResizedCrop
from tflbt.data.transforms.standardize import Standardize, fit_standardize

_LOADERS: dict[str, Callable[[Any], ImageData | StoredImages | TextData]] = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "digits": lambda data_dir: load_digits(),  # part of scikit-learn, so there is no folder
    "imagenet": load_imagenet,
    "mnist": load_mnist,
    "mushroom": load_mushroom,
    "penn_treebank": load_penn_treebank,
    "svhn": load_svhn,
    "svhn_extra": lambda data_dir: load_svhn(data_dir, parts=("extra",)),
    "tiny_imagenet": load_tiny_imagenet,
}

_TFDS = "tfds:"


@checks.arguments
def load(
    name: str,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    crop_area: Sequence[float] | None = None,
) -> ImageData | StoredImages | TextData:
    """Loads a data set by its name, as configuration files do.

    Args:
        name: "cifar10", "cifar100", "digits", "imagenet", "mnist", "mushroom", "penn_treebank", "svhn" (whose training
            set is its parts "train" and "extra"), "svhn_extra" ("extra" alone) or "tiny_imagenet"; or "tfds:NAME", a
            set of TensorFlow Datasets (see `load_tensorflow_datasets`).
        data_dir: The folder with the original files; "digits" needs none, nor "cifar10" and "cifar100" if
            `tf.keras.datasets` has downloaded them. The files may be in the folder itself, or in its folder `mnist`;
            `cifar-10`, `cifar-10-batches-bin`; `cifar-100`, `cifar-100-binary`; `imagenet`, with the folders
            `train/CLASS` and `val/CLASS` of JPEG files, or with TFRecord files `train-NNNNN-of-MMMMM` and
            `validation-NNNNN-of-MMMMM`; `mushroom`; `ptb`, `penn`, `penn_treebank`, `simple-examples/data`; `svhn`;
            `tiny-imagenet-200`. For "tfds:NAME": the folder in which it was prepared.
        image_size: Side in pixels to which "imagenet" is cropped and resized, default 224; the other sets have a size
            of their own.
        crop_area: Least and largest area of a random crop of "imagenet", as shares of the image's area, default
            (0.08, 1.0); the other sets are not cropped when they are read.

    Returns:
        Training and test images, uint8 `[N, height, width, channels]`, and int64 labels. For "imagenet" a
        `StoredImages`: the images' names and how to read them. For "penn_treebank" a `TextData`: words. A mushroom is
        an image of one pixel.

    Raises:
        ValueError: If the name is unknown, the folder is not given, or a file is not what it should be.
        OSError: If the folder or a file is missing, or a compressed file is damaged.

    Example:
        >>> import tflbt.data
        >>> tflbt.data.load("digits").classes
        10
    """
    if name not in _LOADERS and not name.startswith(_TFDS):
        raise ValueError(
            f"There is no data set {name!r}; name one of {sorted(_LOADERS)}, or 'tfds:NAME'."
        )
    if str(data_dir).isspace():
        raise ValueError(f"data_dir={data_dir!r} is blank: name a folder ('.' is where you are).")
    area = None if crop_area is None else tuple(crop_area)
    options: dict[str, Any] = {"image_size": image_size, "crop_area": area}
    crops = {key: value for key, value in options.items() if value is not None}
    if name == "imagenet":
        return load_imagenet(data_dir, **crops)
    for key, value in crops.items():
        raise ValueError(
            f"{key}={value} is for imagenet; {name} has images of one size, used whole."
        )
    if name.startswith(_TFDS):
        return load_tensorflow_datasets(name[len(_TFDS) :], data_dir)
    return _LOADERS[name](data_dir)


__all__ = [
    "BatchAugmentation",
    "ColourJitter",
    "Cutout",
    "ImageData",
    "ImageFolder",
    "ImageRecords",
    "PadCropFlip",
    "RandomResizedCrop",
    "Standardize",
    "StoredImages",
    "TextData",
    "augmented_batches",
    "chain",
    "fit_standardize",
    "load",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_image_folder",
    "load_image_records",
    "load_imagenet",
    "load_mnist",
    "load_mushroom",
    "load_penn_treebank",
    "load_svhn",
    "load_tensorflow_datasets",
    "load_tiny_imagenet",
    "one_epoch",
    "shard",
    "steps_per_epoch",
    "sub_batches",
    "unreadable_named",
    "with_holdout",
]
