"""ImageNet, and any data set that has a folder of image files for each class.

`train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`: the sorted names of the class folders are the labels 0, 1, ... Memory
holds the files' names; a file is read when its turn comes (`tflbt.data.sets.stored_images`).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tflbt import checks
from tflbt.data.sets import archives
from tflbt.data.sets.image_files import AREA
from tflbt.data.sets.stored_images import StoredImages, check_crops, mixed

ENDINGS = (".jpeg", ".jpg", ".png")  # in small or capital letters
EXPECTED = "the folders train/CLASS and val/CLASS of JPEG or PNG files"


class ImageFolder(StoredImages):
    """A data set of image files in one folder per class.

    The attributes are those of `StoredImages`. A name looks like `train/n01440764/n01440764_10026.JPEG`. The training
    files are in one random order, always the same, so that the first samples are of many classes; the test files are
    sorted.
    """


@checks.arguments
def load_image_folder(
    data_dir: str | Path | None,
    image_size: int = 224,
    name: str = "imagenet",
    crop_area: tuple[float, float] = AREA,
) -> ImageFolder:
    """Lists a data set of class folders.

    Args:
        data_dir: The folder that holds `train` and `val`, or holds a folder `name` that does.
        image_size: Side of the crops in pixels, at least 1.
        name: Name of the data set.
        crop_area: Least and largest area of a random crop, as shares of the image's area, above 0, at most 1.

    Returns:
        Names and labels; no file is opened. Names that start with a dot or do not end in .jpeg, .jpg or .png are left
        out.

    Raises:
        ValueError: If `data_dir` is not given, `image_size` or `crop_area` is out of its range, or `val` does not
            have the classes of `train`.
        FileNotFoundError: If a folder is missing or a class has no training image.

    Example:
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for file in ("train/cat/1.JPEG", "train/dog/2.JPEG", "val/cat/3.JPEG", "val/dog/4.JPEG"):
        ...     (root / file).parent.mkdir(parents=True)
        ...     (root / file).touch()
        >>> load_image_folder(root).x_test.tolist()
        [b'val/cat/3.JPEG', b'val/dog/4.JPEG']
    """
    check_crops(image_size, crop_area)
    candidates = archives.folders(data_dir, [name], EXPECTED)
    root = next((folder for folder in candidates if (folder / "train").is_dir()), None)
    if root is None or not (root / "val").is_dir():
        at = root or " and ".join(map(str, candidates))
        raise FileNotFoundError(f"{at} should hold {EXPECTED}, but there is no train or no val.")
    train, val = (_files_by_class(root, split) for split in ("train", "val"))
    if set(train) != set(val):
        differing = sorted(set(train) ^ set(val))
        raise ValueError(
            f"{root}/train and {root}/val must have folders of the same names, one per class; {len(differing)} are in "
            f"one only, such as {differing[0]!r}. (ImageNet's validation files come without folders: sort them first.)"
        )
    empty = next((class_name for class_name, names in train.items() if not names), None)
    if empty is not None or not any(val.values()):
        at = f"train/{empty}" if empty is not None else "val"
        raise FileNotFoundError(f"{root}/{at} holds no image: it should hold {', '.join(ENDINGS)}.")
    samples = (*mixed(*_arrays(train)), *_arrays(val))
    return ImageFolder(root, *samples, tuple(train), image_size, name, crop_area)


def _files_by_class(root: Path, split: str) -> dict[str, list[str]]:
    """Returns the names of the images in each class folder, sorted, because every rank needs the same order."""
    with os.scandir(root / split) as entries:
        classes = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    return {class_name: image_names(root, f"{split}/{class_name}") for class_name in classes}


def image_names(root: Path, folder: str) -> list[str]:
    """Returns the names of the images in a folder, which may be missing: `folder/NAME`, sorted."""
    names = os.listdir(root / folder) if (root / folder).is_dir() else []
    images = (name for name in names if name.lower().endswith(ENDINGS) and name[0] != ".")
    return sorted(f"{folder}/{name}" for name in images)


def _arrays(files: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Turns names by class into names and labels."""
    names = [os.fsencode(name) for class_files in files.values() for name in class_files]
    counts = [len(class_files) for class_files in files.values()]
    return np.array(names), np.repeat(np.arange(len(files), dtype=np.int64), counts)
