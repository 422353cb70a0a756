"""Samples in: data sets by name, standardisation, augmentation, and dealing to ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tflbt.data.augment import PadCropFlip, chain
from tflbt.data.cifar import load_cifar10, load_cifar100
from tflbt.data.digits import load_digits
from tflbt.data.holdout import with_holdout
from tflbt.data.image_data import ImageData
from tflbt.data.image_files import unreadable_named
from tflbt.data.image_folder import ImageFolder, load_image_folder
from tflbt.data.mnist import load_mnist
from tflbt.data.mushroom import load_mushroom
from tflbt.data.sharding import one_epoch, steps_per_epoch, sub_batches
from tflbt.data.standardize import Standardize, fit_standardize
from tflbt.data.svhn import load_svhn

_LOADERS: dict[str, Callable[[Any], ImageData | ImageFolder]] = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "digits": lambda data_dir: load_digits(),  # they come with scikit-learn, from no folder
    "imagenet": load_image_folder,
    "mnist": load_mnist,
    "mushroom": load_mushroom,
    "svhn": load_svhn,
    "svhn_extra": lambda data_dir: load_svhn(data_dir, parts=("extra",)),
}


def load(
    name: str, data_dir: str | Path | None = None, image_size: int | None = None
) -> ImageData | ImageFolder:
    """Loads a data set by its name, as configuration files do.

    Args:
        name: "cifar10", "cifar100", "digits", "imagenet", "mnist", "mushroom", "svhn" (trained on its parts "train"
            and "extra") or "svhn_extra" (on "extra" alone).
        data_dir: Folder with the original files; "digits" needs none. The folder itself is looked
            in, and its ``mnist``; ``cifar-10``, ``cifar-10-batches-bin``, ``cifar-10-batches-py``;
            ``cifar-100``, ``cifar-100-binary``, ``cifar-100-python``; ``imagenet``, with the folders
            ``train/CLASS`` and ``val/CLASS`` of JPEG files; ``mushroom``; ``svhn``.
        image_size: Side in pixels to which "imagenet" is cropped and resized, default 224; the
            others have a size of their own.

    Returns:
        Training and test images, uint8 ``[N, height, width, channels]``, and int64 labels; of
        "imagenet" the files' names and how they are read. A mushroom is an image of one pixel.

    Raises:
        ValueError: When the name is unknown, the folder not given, or a file is not what it should
            be.
        OSError: When the folder or a file is missing, or a compressed file is damaged.

    Example:
        >>> import tflbt.data
        >>> tflbt.data.load("digits").classes
        10
    """
    if name not in _LOADERS:
        raise ValueError(f"There is no data set {name!r}; name one of {sorted(_LOADERS)}.")
    if image_size is None:
        return _LOADERS[name](data_dir)
    if name != "imagenet":
        raise ValueError(f"image_size={image_size} is for imagenet; {name} has a size of its own.")
    return load_image_folder(data_dir, image_size)


__all__ = [
    "ImageData",
    "ImageFolder",
    "PadCropFlip",
    "Standardize",
    "chain",
    "fit_standardize",
    "load",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_image_folder",
    "load_mnist",
    "load_mushroom",
    "load_svhn",
    "one_epoch",
    "steps_per_epoch",
    "sub_batches",
    "unreadable_named",
    "with_holdout",
]
