"""The container of a data set refuses parts that do not fit together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tflbt.data import ImageData, load

X, Y = np.zeros([2, 8, 8, 1], np.uint8), np.array([0, 1])
GOOD = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, "classes": 2, "name": "two"}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"x_train": X.astype(np.float32)}, "x_train must be uint8"),
        ({"x_test": X[..., 0]}, "x_test must be uint8"),
        ({"y_train": Y[:1]}, "y_train must be int64"),
        ({"y_test": Y.astype(np.uint8)}, "y_test must be int64"),
        ({"classes": 1}, "y_train must be in 0 .. 0, got 0 .. 1"),
        ({"x_test": np.zeros([2, 9, 8, 1], np.uint8)}, "images of one shape"),
    ],
)
def test_parts_that_do_not_fit_are_named(part, message):
    with pytest.raises(ValueError, match=message):
        ImageData(**{**GOOD, **part})


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ImageData(**GOOD).classes = 3


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(
        ValueError,
        match="'mnits'; name one of .'cifar10', 'cifar100', 'digits', 'imagenet', 'mnist', 'mushroom', 'penn",
    ):
        load("mnits")
