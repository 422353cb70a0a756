"""The ranges of the arguments of `fit` that Keras would take and fail on later; types are checked by annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks

# The least of each number.
COUNTS = {
    "batch_size": 1,
    "epochs": 0,
    "initial_epoch": 0,
    "seed": 0,
    "steps_per_epoch": 1,
    "validation_batch_size": 1,
    "validation_steps": 1,
}

SHORTHANDS = ("accuracy", "acc", "crossentropy", "ce")


def check(validation_freq: Any, callbacks: Any, verbose: Any, shuffle: Any, **others: Any) -> None:
    """Raises ValueError for an argument of `fit` that is out of its range."""
    for name, least in COUNTS.items():
        if others.get(name) is not None:
            checks.whole(name, others[name], at_least=least)
    if checks.is_whole(validation_freq):
        checks.whole("validation_freq", validation_freq, at_least=1)
    if others["validation_split"] is not None:
        checks.number("validation_split", others["validation_split"], at_least=0, at_most=1)
    if others["stall_limit"] is not None and others["stall_limit"] < 0:
        raise ValueError(
            f"stall_limit={others['stall_limit']!r} must be a number of seconds, at least 0."
        )
    checks.one_of("shuffle", shuffle, (True, False, 1, 0, None, "batch"))
    check_loop(callbacks, verbose)
    if others["transform"] is not None and not callable(others["transform"]):
        raise ValueError(f"transform={others['transform']!r} must be a function of (x, seeds).")
    weights = others["class_weight"]
    if weights is not None:
        checks.kind("class_weight", weights, Mapping)
        for label, weight in weights.items():
            name = f"class_weight[{label!r}]"
            single = hasattr(weight, "__array__") and not checks.is_number(weight)
            checks.number(name, checks.single(name, weight) if single else weight, at_least=0)


def steps(value: float | None) -> Any:
    """A number of steps as an integer where it is whole: Keras takes that of `np.ceil(samples / batch)` too."""
    return value if value is None or not float(value).is_integer() else int(value)


def check_compile(loss: Any, metrics: Any, weighted_metrics: Any, loss_weights: Any) -> None:
    """Raises ValueError for what Keras would take in `compile` and fail on in `fit`, without a name."""
    get_loss, get_metric = tf.keras.losses.get, tf.keras.metrics.get
    for name, value, get, shorthands in (
        ("loss", loss, get_loss, ()),
        ("metrics", metrics, get_metric, SHORTHANDS),
        ("weighted_metrics", weighted_metrics, get_metric, SHORTHANDS),
    ):
        for part in tf.nest.flatten(value):
            try:
                known = part is None or part in shorthands or callable(get(part))
            except ValueError as error:
                raise ValueError(f"{name}={value!r}: {error}") from error
            if not known or isinstance(part, type):
                raise ValueError(
                    f"{name}={value!r} must be of Keras's {name}, their names or functions."
                )
    for part in [] if loss_weights is None else tf.nest.flatten(loss_weights):
        for number in np.ravel(part) if isinstance(part, np.ndarray) else (part,):
            checks.kind("loss_weights", number, float | tf.Tensor | tf.Variable)


def check_loop(callbacks: Any, verbose: Any) -> None:
    """Raises ValueError for callbacks or a verbosity that Keras's loops do not take."""
    if not isinstance(verbose, bool):
        checks.one_of("verbose", verbose, ("auto", 0, 1, 2, 3, None))
    if isinstance(callbacks, tf.keras.callbacks.CallbackList):
        return
    for callback in tf.nest.flatten([] if callbacks is None else callbacks):
        if not isinstance(callback, tf.keras.callbacks.Callback):
            raise ValueError(f"callbacks={callbacks!r} must be callbacks of tf.keras, in a list.")
