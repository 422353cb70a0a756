"""The UCI mushrooms from their original file: 22 attributes as one-hot features; edible or poisonous."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tflbt import checks
from tflbt.data.sets.archives import folders, read, required_file, warn_if_other
from tflbt.data.sets.image_data import ImageData

_FILE, _ROWS = "agaricus-lepiota.data", 8124
_EXPECTED = f"{_FILE} (raw, .gz or .xz): 23 letters per line with commas between them, the class e or p first"
CLASSES = "ep"  # edible 0, poisonous 1
# The values of each attribute in the order of agaricus-lepiota.names. "?" (missing) is a value of stalk-root.
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
_WHITE = 255  # a feature that is present: "divide_255" makes 1 of it, so that pixels are 0 .. 1 as in images


@checks.arguments
def load_mushroom(data_dir: str | Path | None, seed: int = 0) -> ImageData:
    """Loads the mushrooms (Schlimmer, 1987) as black and white "images" of one pixel with 126 channels.

    A channel stands for one value of an attribute: 255 where the mushroom has that value, else 0. The
    standardisation "divide_255" makes 1 and 0 of them. Every value that `agaricus-lepiota.names` lists has a channel;
    9 of the 126 never occur, are always 0, and change nothing in a linear model.

    The samples are split at random: 85%, 6,905 of the 8,124 as in `abs-absa.txt`, for training, the others for
    testing. The paper prints 1,819 for validation, but 8,124 - 6,905 is 1,219. Its own split is not known.

    Args:
        data_dir: The folder with the file, or with a folder `mushroom` that holds it.
        seed: Seed of the split, 0 or more. Training samples are the first of NumPy's
            `Generator(PCG64(seed)).permutation`, in that order, so that any stretch of them has both classes.

    Returns:
        6,905 training and 1,219 test samples of shape `[1, 1, 126]`, 2 classes: edible 0, poisonous 1.

    Raises:
        ValueError: If `data_dir` is None, or a line is not what it should be.
        OSError: If the file is missing or its compressed stream is damaged.

    Example:
        >>> load_mushroom(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold agaricus-lepiota.data ...
    """
    x, y = _read(required_file(folders(data_dir, ["mushroom"], _EXPECTED), [_FILE], _EXPECTED))
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(x))
    train, test = np.split(order, [len(x) * _TRAINING_PERCENT // 100])
    return ImageData(x[train], y[train], x[test], y[test], len(CLASSES), "mushroom")


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    lines = read(path, _EXPECTED).decode("latin-1").rstrip().splitlines()
    if len(lines) < 2:
        raise ValueError(f"{path} holds {len(lines)} line(s). It should be {_EXPECTED}.")
    warn_if_other(path, len(lines), _ROWS)
    x = np.zeros([len(lines), 1, 1, sum(map(len, ATTRIBUTES.values()))], np.uint8)
    y = np.empty(len(lines), np.int64)
    for row, line in enumerate(lines):
        y[row], channels = _parse(line, f"{path}, line {row + 1},")
        x[row, 0, 0, channels] = _WHITE
    return x, y


def _parse(line: str, where: str) -> tuple[int, list[int]]:
    """Returns the class of a line, and the channels of its values."""
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
