"""Keeping a part of the training samples out, to tune on without looking at the test set."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


def with_holdout(images: Any, count: int) -> Any:
    """The data set with `count` training samples in the place of its test set, and no longer in training.

    They are spread evenly over the training set in its order, so that files sorted by class give every class.
    (Classes that take turns in step with that spacing would give one; none of our data sets is so.)

    Args:
        images: An `ImageData` or `StoredImages`.
        count: Samples to keep out, at least 1 and fewer than there are.

    Returns:
        A data set of the same kind.

    Raises:
        ValueError: If count is out of its range.

    Example:
        >>> from tflbt import data
        >>> kept = with_holdout(data.load("digits"), 200)
        >>> len(kept.x_train), len(kept.x_test)
        (1237, 200)
    """
    total = len(images.x_train)
    if not 1 <= count < total:
        raise ValueError(
            f"holdout={count!r} must be at least 1 and less than the {total} training samples."
        )
    out = np.zeros(total, bool)
    out[(np.arange(count) * total) // count] = True
    return dataclasses.replace(
        images,
        x_train=images.x_train[~out],
        y_train=images.y_train[~out],
        x_test=images.x_train[out],
        y_test=images.y_train[out],
    )
