"""Windows of a text, and what text data may not be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tflbt.data import TextData, with_holdout
from tflbt.data.sets.text_data import windows


@pytest.mark.parametrize(("words", "length"), [(7, 3), (8, 3), (9, 3), (10, 3), (2, 1), (6, 5)])
def test_every_window_is_followed_by_its_next_words_and_the_tail_is_dropped(words, length):
    text = np.arange(words, dtype=np.int32) + 100
    x, y = windows(text, length)
    assert (x.dtype, y.dtype) == (np.int32, np.int64)
    expected = [  # while there are a window and one word more
        text[first : first + length].tolist()
        for first in range(0, words, length)
        if first + length + 1 <= words
    ]
    assert x.tolist() == expected and (y == x + 1).all()


def test_a_text_without_a_window_is_refused():
    with pytest.raises(ValueError, match="^window=5 must be less than the 5 words"):
        windows(np.arange(5), 5)
    with pytest.raises(ValueError, match="^window=0 must be a whole number, at least 1"):
        windows(np.arange(5), 0)


def data(count=10, classes=50):
    x, y = windows(np.arange(count * 4 + 1), 4)
    return TextData(x, y, x[:2], y[:2], classes, "text")


def test_it_says_its_shape_and_gives_some_samples():
    text = data()
    assert text.sample_shape == text.image_shape == (4,)
    x, y = text.some_training_images(3)
    assert x.shape == (3, 4) and (y == x + 1).all()


def test_training_windows_can_be_held_out():
    kept = with_holdout(dataclasses.replace(data(), vocabulary=("word",) * 50), 3)
    assert kept.x_test[:, 0].tolist() == [0, 12, 24]  # evenly spread: windows 0, 3, 6
    assert len(kept.x_train) == 7 and (kept.y_test == kept.x_test + 1).all()
    assert len(kept.vocabulary) == 50 and isinstance(kept, TextData)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros([2, 4], np.int64)}, "x_train must be int32 .N, T., got int64"),
        ({"x_test": np.zeros([2, 4, 1], np.int32)}, "x_test must be int32 .N, T."),
        ({"y_test": np.zeros([2, 3], np.int64)}, r"y_test must be int64 \[2, 4\], got int64"),
        ({"y_train": np.zeros([10, 4], np.int32)}, r"y_train must be int64 \[10, 4\], got int32"),
        ({"classes": 40}, r"y_train must be in 0 .. 39, got 1 .. 40"),
        ({"x_train": np.full([10, 4], -1, np.int32)}, r"x_train must be in 0 .. 49, got -1 .. -1"),
        ({"vocabulary": ("a", "b")}, "vocabulary must have classes=50 words, got 2"),
        (
            {"x_test": np.zeros([2, 3], np.int32), "y_test": np.zeros([2, 3], np.int64)},
            "windows of one length, got 4 and 3",
        ),
    ],
)
def test_parts_that_do_not_fit_are_reported(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(data(), **changes)
