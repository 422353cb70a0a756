"""Optimizers that move the rows of an Embedding that a batch has in another way than the whole table."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from absl import logging

from tflbt import legacy_keras
from tflbt.training import keras_internals

# Keras's optimizers whose step by some rows of a table is that by all rows, the gradients of the others being zero.
AS_A_WHOLE = frozenset(
    (
        *("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Adafactor", "Lion"),
        "Ftrl",
    )
)
LEGACY_AS_A_WHOLE = frozenset(("Adam", "Adagrad", "Adadelta"))
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def tell(optimizer: Any, gradients: list[Any], variables: list[tf.Variable]) -> None:
    """Names tables, by their gradients of a sub-batch, with which an optimizer takes another step than in Keras.

    Keras hands it the gradients of those rows that a batch has, some of them several times; sums over sub-batches and
    ranks are of whole tables.
    """
    pairs = zip(gradients, variables)
    tables = [v.name for gradient, v in pairs if isinstance(gradient, tf.IndexedSlices)]
    plain = keras_internals.plain_optimizer(optimizer)
    limits = {name: getattr(plain, name, None) for name in CLIPPING}
    clips = [f"{name}={value}" for name, value in limits.items() if value is not None]
    if tables and (clips or not _takes_a_table_as_a_whole(plain)):
        logging.warning(
            "%s%s gets the gradient of %s as a whole table, where Keras hands it the rows that a batch has, as often "
            "as it has them: rows that no sample has may move too, and clipping sees sums. The step may be another "
            "than Keras's.",
            type(plain).__name__,
            f"({', '.join(clips)})" if clips else "",
            ", ".join(tables),
        )


def _takes_a_table_as_a_whole(optimizer: Any) -> bool:
    kind, package = type(optimizer).__name__, legacy_keras.package_of(optimizer)
    if package != "keras":
        return package == "tflbt"  # which have no other way
    if not isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer):
        return kind in AS_A_WHOLE
    momentum = optimizer.get_config().get("momentum")
    return kind in LEGACY_AS_A_WHOLE or kind in ("SGD", "RMSprop") and momentum == 0
