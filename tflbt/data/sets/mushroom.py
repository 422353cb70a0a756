"""The UCI mushrooms from their original file: 22 attributes as one-hot features, edible or poisonous."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import logging

from tflbt.data.sets.archives import find_file, folders, opened
from tflbt.data.sets.image_data import ImageData

_FILE, _ROWS = "agaricus-lepiota.data", 8124
_FOLDERS = ("mushroom",)
_EXPECTED = (
    f"{_FILE} (raw, .gz or .xz): 23 letters a line with commas between them, the class e or p first"
)
CLASSES = "ep"  # edible 0, poisonous 1
# The values of each attribute in the order of agaricus-lepiota.names; "?", missing, is one of the stalk's root.
ATTRIBUTES = {
    "cap-shape": "bcxfks",
    "cap-surface": "fgys",
    "cap-color": "nbcgrpuewy",
    "bruises?": "tf",
    "odor": "alcyfmnps",
    "gill-attachment": "adfn",
    "gill-spacing": "cwd",
    "gill-size": "bn",
    "gill-color": "knbhgropuewy",
    "stalk-shape": "et",
    "stalk-root": "bcuezr?",
    "stalk-surface-above-ring": "fyks",
    "stalk-surface-below-ring": "fyks",
    "stalk-color-above-ring": "nbcgopewy",
    "stalk-color-below-ring": "nbcgopewy",
    "veil-type": "pu",
    "veil-color": "nowy",
    "ring-number": "not",
    "ring-type": "ceflnpsz",
    "spore-print-color": "knbhrouwy",
    "population": "acnsvy",
    "habitat": "glmpuwd",
}
_TRAINING_PERCENT = 85
_SPLIT_SEED = 0
_WHITE = 255  # a feature that is there, so that "divide_255" makes it 1 and pixels are 0 .. 1 as in images


def load_mushroom(data_dir: str | Path | None, seed: int = _SPLIT_SEED) -> ImageData:
    """Loads the mushrooms (Schlimmer, 1987) as black and white "images" of one pixel with 126 channels.

    A channel is a value of an attribute, 255 where the mushroom has it and 0 where not, so the standardisation
    "divide_255" makes 1 and 0 of them. All values that `agaricus-lepiota.names` lists have a channel; 9 of the
    126 do not occur, are always 0, and change nothing in a linear model.

    The samples are split at random into 85% for training, 6,905 of the 8,124 as in `abs-absa.txt`, and the rest. The
    paper prints 1,819 for validation, but 8,124 - 6,905 is 1,219. Its own split is not known.

    Args:
        data_dir: Folder with the file, or with a folder `mushroom` that has it.
        seed: Of the split, 0 or more: training samples are the first of NumPy's
            `Generator(PCG64(seed)).permutation`, in that order, so that any stretch of them is of both classes.

    Returns:
        6,905 training and 1,219 test samples of shape `[1, 1, 126]`, 2 classes: edible 0, poisonous 1.

    Raises:
        ValueError: If `data_dir` is None, or a line is not what it should be.
        OSError: If the file is missing or its compressed stream is damaged.

    Example:
        >>> from tflbt.data.sets.mushroom import load_mushroom
        >>> load_mushroom(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold agaricus-lepiota.data ...
    """
    places = folders(data_dir, _FOLDERS, _EXPECTED)
    path = next((path for place in places if (path := find_file(place, [_FILE]))), None)
    if path is None:
        raise FileNotFoundError(
            f"There is no {_FILE} (raw, .gz or .xz) in {', '.join(map(str, places))}. "
            f"The folder should hold {_EXPECTED}."
        )
    x, y = _read(path)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(x))
    train, test = np.split(order, [len(x) * _TRAINING_PERCENT // 100])
    return ImageData(x[train], y[train], x[test], y[test], len(CLASSES), "mushroom")


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with opened(path, _EXPECTED) as stream:
        text = stream.read()
    lines = text.decode("latin-1").rstrip().splitlines()
    if len(lines) < 2:
        raise ValueError(f"{path} holds {len(lines)} line(s). It should be {_EXPECTED}.")
    if len(lines) != _ROWS:
        logging.warning("%s is not the published set of %d lines: %d.", path, _ROWS, len(lines))
    x = np.zeros([len(lines), 1, 1, sum(map(len, ATTRIBUTES.values()))], np.uint8)
    y = np.empty(len(lines), np.int64)
    for row, line in enumerate(lines):
        y[row], channels = _parse(line, f"{path}, line {row + 1},")
        x[row, 0, 0, channels] = _WHITE
    return x, y


def _parse(line: str, where: str) -> tuple[int, list[int]]:
    """The class of a line, and the channels that its values are."""
    label, *values = line.split(",")
    if len(values) != len(ATTRIBUTES):
        raise ValueError(
            f"{where} has {len(values) + 1} columns, not 23. It should be {_EXPECTED}."
        )
    if label not in tuple(CLASSES):
        raise ValueError(f"{where} has the class {label!r}, neither e nor p.")
    channels, first = [], 0
    for value, (name, known) in zip(values, ATTRIBUTES.items()):
        if value not in tuple(known):
            raise ValueError(f"{where} has {name} {value!r}, which is none of {', '.join(known)}.")
        channels.append(first + known.index(value))
        first += len(known)
    return CLASSES.index(label), channels
