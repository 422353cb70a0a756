"""Validation samples taken from the training set, to tune on without looking at the test set."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tflbt import checks


@checks.arguments
def with_holdout(images: Any, count: int) -> Any:
    """Returns a data set whose test set is replaced by `count` of its training samples, which leave the training set.

    They are spread evenly over the training set in its order, so that files sorted by class yield every class.
    (If classes took turns in step with that spacing, only one would be drawn; none of our data sets is like that.)

    Args:
        images: An `ImageData`, `StoredImages` or `TextData`.
        count: Samples to take out, at least 1 and fewer than there are.

    Raises:
        ValueError: If count is out of its range.

    Example:
        >>> from tflbt import data
        >>> split = with_holdout(data.load("digits"), 200)
        >>> len(split.x_train), len(split.x_test)
        (1237, 200)
    """
    if not hasattr(images, "x_train"):
        raise ValueError(f"images={images!r} must be a data set, such as tflbt.data.load returns.")
    total = len(images.x_train)
    if not 1 <= count < total:
        raise ValueError(
            f"holdout={count!r} must be at least 1 and less than the {total} training samples: it is count."
        )
    chosen = np.zeros(total, bool)
    chosen[(np.arange(count) * total) // count] = True
    return dataclasses.replace(
        images,
        x_train=images.x_train[~chosen],
        y_train=images.y_train[~chosen],
        x_test=images.x_train[chosen],
        y_test=images.y_train[chosen],
    )
