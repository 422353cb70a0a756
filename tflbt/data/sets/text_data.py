"""`TextData`, the form of a text: windows of words, each with the words that follow; two splits.

A text is one long row of words, given as numbers in a vocabulary. It is cut into windows of T words, each of which is a
sample: x is the window, y the same window one word later, so that every word except the text's first is a label once.
A tail that does not fill a window is dropped.

Each window is read from a zero state, where the authors of "AWD-LSTM" carry the state along B parts of the text: here
samples must be exchangeable, as they are shuffled, dealt to ranks and taken M times. The price: the first words of a
window are predicted without their context, which makes the perplexity higher.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tflbt import checks


@checks.arguments
@dataclass(frozen=True)
class TextData:
    """A text data set, whole.

    Attributes:
        x_train: int32 words of shape `[N, T]`, 0 .. classes - 1.
        y_train: int64 words of shape `[N, T]`: for each word the one that follows it.
        x_test: int32 words of shape `[M, T]`.
        y_test: int64 words of shape `[M, T]`.
        classes: Number of words in the vocabulary.
        name: The name by which it was loaded.
        vocabulary: The words, by number; may be empty.

    Raises:
        ValueError: If shapes, data types or words do not fit together.

    Example:
        >>> x, y = windows(np.array([0, 1, 2, 0, 1]), 2)
        >>> TextData(x, y, x, y, classes=3, name="abc").sample_shape
        (2,)
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    name: str
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        checks.counts(self, "classes", at_least=1)
        for split in ("train", "test"):
            x, y = getattr(self, f"x_{split}"), getattr(self, f"y_{split}")
            if x.dtype != np.int32 or x.ndim != 2:
                raise ValueError(f"x_{split} must be int32 [N, T], got {x.dtype} {x.shape}.")
            if y.dtype != np.int64 or y.shape != x.shape:
                raise ValueError(
                    f"y_{split} must be int64 {list(x.shape)}, got {y.dtype} {y.shape}."
                )
            for name, words in ((f"x_{split}", x), (f"y_{split}", y)):
                if words.size and not 0 <= words.min() <= words.max() < self.classes:
                    raise ValueError(
                        f"{name} must be in 0 .. {self.classes - 1}, got {words.min()} .. {words.max()}."
                    )
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"x_train and x_test must have windows of one length, got {self.x_train.shape[1]} "
                f"and {self.x_test.shape[1]}."
            )
        if self.vocabulary and len(self.vocabulary) != self.classes:
            raise ValueError(
                f"vocabulary must have classes={self.classes} words, got {len(self.vocabulary)}."
            )

    @property
    def sample_shape(self) -> tuple[int]:
        """Words in a window."""
        return (self.x_train.shape[1],)

    @property
    def image_shape(self) -> tuple[int]:
        """The same as `sample_shape`, by its name in the other data sets."""
        return self.sample_shape

    def some_training_images(
        self, count: int, rank: int = 0, size: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first `count` training windows and the words that follow theirs; of several ranks, a share."""
        return self.x_train[rank:count:size], self.y_train[rank:count:size]


def windows(words: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a text into windows of `length` words, int32 `[N, T]`, and the word after each word, int64 `[N, T]`."""
    checks.whole("window", length, at_least=1)
    count = (len(words) - 1) // length
    if count < 1:
        raise ValueError(
            f"window={length!r} must be less than the {len(words)} words of the text, whose last is only a label."
        )
    shape, used = (count, length), count * length
    x = words[:used].astype(np.int32).reshape(shape)
    return x, words[1 : used + 1].astype(np.int64).reshape(shape)
