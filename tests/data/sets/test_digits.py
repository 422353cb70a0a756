"""The digits: scikit-learn's integers, split once and for all."""

from __future__ import annotations

import numpy as np
from sklearn import datasets

from tflbt.data import load


def test_every_digit_is_in_exactly_one_part_unchanged():
    data, original = load("digits"), datasets.load_digits()
    images = np.concatenate([data.x_train, data.x_test])[..., 0]
    labels = np.concatenate([data.y_train, data.y_test])
    ours = sorted((image.tobytes(), int(label)) for image, label in zip(images, labels))
    theirs = sorted(
        (image.astype(np.uint8).tobytes(), int(label))
        for image, label in zip(original.images, original.target)
    )
    assert ours == theirs
    assert images.max() == 16


def test_a_fifth_of_each_class_is_held_out():
    data = load("digits")
    train, test = np.bincount(data.y_train), np.bincount(data.y_test)
    assert len(data.y_test) == 360
    np.testing.assert_allclose(test / (train + test), 0.2, atol=0.01)


def test_the_split_is_always_the_same():
    np.testing.assert_array_equal(load("digits").x_test, load("digits").x_test)
