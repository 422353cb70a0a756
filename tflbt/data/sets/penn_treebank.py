"""The Penn Treebank's words from Mikolov's files: one sentence per line, 10,000 words, all others `<unk>`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from tflbt import checks
from tflbt.data.sets.archives import folders, read, required_file, warn_if_other
from tflbt.data.sets.text_data import TextData, windows

_FOLDERS = ("ptb", "penn", "penn_treebank", "simple-examples/data")
# Published; each line's end counts as a word.
_WORDS = {"train": 929_589, "valid": 73_760, "test": 82_430}
_EXPECTED = "Mikolov's files ptb.train.txt, ptb.valid.txt and ptb.test.txt (raw, .gz or .xz)"
_FILE_EXPECTED = "UTF-8 text, one sentence per line, blanks between its words"
END, UNKNOWN = "<eos>", "<unk>"


@checks.arguments
def load_penn_treebank(
    data_dir: str | Path | None, window: int = 70, held_out: str = "test"
) -> TextData:
    """Loads the Penn Treebank (Marcus et al. 1993) as Mikolov et al. (2010) prepared it for language models.

    The vocabulary is that of the training file: its words, and `<eos>`, which stands at the end of every line,
    sorted by how often they occur, the most frequent first, and then by their letters. A word of another file that
    is not in the vocabulary becomes `<unk>`; the published files have no such word.

    Published: 929,589 words for training, 73,760 for validation, 82,430 for testing, `<eos>` included; a vocabulary
    of 10,000. That is 13,279, 1,053 and 1,177 windows of 70 words.

    Args:
        data_dir: The folder with the files, or with a folder `ptb`, `penn`, `penn_treebank` or
            `simple-examples/data` that holds them.
        window: Words in a sample, at least 1; `tflbt.data.sets.text_data` says how a text is cut.
        held_out: The file that the test samples come from: "test", or "valid" for tuning.

    Returns:
        Windows of words of the training file and of the held-out file, and the words that follow each.

    Raises:
        ValueError: If `data_dir` is None, an argument is out of its range, or a file is not what it should be.
        OSError: If a file is missing or its compressed stream is damaged.

    Example:
        >>> load_penn_treebank(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold Mikolov's files ptb.train.txt, ...
    """
    checks.one_of("held_out", held_out, ("test", "valid"))
    checks.whole("window", window, at_least=1)
    places = folders(data_dir, _FOLDERS, _EXPECTED)
    paths = {  # both, before either is read
        part: required_file(places, [f"ptb.{part}.txt"], _EXPECTED) for part in ("train", held_out)
    }
    lines = {part: _read(path, part) for part, path in paths.items()}
    counts = Counter(word for line in lines["train"] for word in line)
    vocabulary = sorted(counts, key=lambda word: (-counts[word], word))
    numbers = {word: number for number, word in enumerate(vocabulary)}
    texts = {part: _numbered(lines[part], numbers, paths[part]) for part in paths}
    for part, text in texts.items():
        if len(text) <= window:
            raise ValueError(
                f"{paths[part]} holds {len(text)} words, too few for one window={window} and the word that follows."
            )
    samples = (*windows(texts["train"], window), *windows(texts[held_out], window))
    return TextData(*samples, len(vocabulary), "penn_treebank", tuple(vocabulary))


def _read(path: Path, part: str) -> list[list[str]]:
    """Returns the words of each line, and `<eos>`."""
    data = read(path, _FILE_EXPECTED)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}, has bytes that are not UTF-8 ({data[error.start]:#04x}). "
            f"It should be {_FILE_EXPECTED}."
        ) from error
    if not text.strip():
        raise ValueError(f"{path} holds no words. It should be {_FILE_EXPECTED}.")
    lines = [[*line.split(), END] for line in text.removesuffix("\n").split("\n")]
    warn_if_other(path, sum(map(len, lines)), _WORDS[part])
    return lines


def _numbered(lines: list[list[str]], numbers: dict[str, int], path: Path) -> np.ndarray:
    """Returns the text as one row of numbers."""
    unknown = numbers.get(UNKNOWN)
    for row, line in enumerate(lines, start=1):
        stranger = next((word for word in line if word not in numbers), None)
        if stranger is not None and unknown is None:
            raise ValueError(
                f"{path}, line {row}, has {stranger!r}, which the training file has not, nor has it {UNKNOWN!r} "
                "to stand for it. The files should be of one set."
            )
    return np.array([numbers.get(word, unknown) for line in lines for word in line], np.int32)
