"""Lets a computation that writes into variables leave no trace in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def preserved(variables: list[tf.Variable]) -> Iterator[None]:
    """Puts back what the body writes into variables."""
    before = [variable.read_value() for variable in variables]
    yield
    for variable, value in zip(variables, before):
        variable.assign(value)
