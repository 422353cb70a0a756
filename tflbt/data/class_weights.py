"""Class weights as sample weights of a data set; Keras's own mapping needs the batch size where there are both."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def weighted(dataset: tf.data.Dataset, class_weight: dict[int, float]) -> tf.data.Dataset:
    r"""Gives each sample of a data set (x, y) or (x, y, sample_weight) the weight of its class, times its own.

    The class is y, rounded, or the position of y's largest value where its last dimension, of two or more, is larger
    than 1.

    Args:
        dataset: Batches of this form, y a single tensor.
        class_weight: Class to weight, for classes 0 .. n - 1.

    Raises:
        ValueError: If the classes have gaps, or y is missing or not a single tensor.

    Example:
        >>> batches = tf.data.Dataset.from_tensors(([[1.0], [2.0]], [0, 1], [1.0, 3.0]))
        >>> next(iter(weighted(batches, {0: 0.5, 1: 2.0})))[2].numpy().tolist()
        [0.5, 6.0]
    """
    classes = sorted(class_weight)
    if classes != list(range(len(classes))):
        raise ValueError(
            "Expected `class_weight` to be a dict with keys from 0 to one less than the number of classes, found "
            f"{class_weight}"
        )
    _, targets, _ = tf.keras.utils.unpack_x_y_sample_weight(dataset.element_spec)
    if not isinstance(targets, tf.TensorSpec):
        raise ValueError(
            "`class_weight` is only supported for Models with a single output, whose targets y are a single array; "
            f"they are {targets}."
        )
    weights = tf.convert_to_tensor([class_weight[name] for name in classes])

    @tf.autograph.experimental.do_not_convert
    def with_weights(*batch: Any) -> Any:
        x, y, own = tf.keras.utils.unpack_x_y_sample_weight(batch)
        factors = tf.gather(weights, _classes(y))
        if own is None:
            return x, y, factors
        rank = max(own.shape.rank, factors.shape.rank)
        return x, y, _of_rank(own, rank) * _of_rank(tf.cast(factors, own.dtype), rank)

    return dataset.map(with_weights)


def _of_rank(values: tf.Tensor, rank: int) -> tf.Tensor:
    """The values with dimensions of 1 at the end, up to a rank."""
    missing = tf.ones(rank - values.shape.rank, tf.int32)
    return tf.reshape(values, tf.concat([tf.shape(values), missing], axis=0))


def _classes(y: tf.Tensor) -> tf.Tensor:
    """The class of each target."""

    def rounded(targets: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.round(targets), tf.int64)

    if y.shape.rank < 2:
        return rounded(y)
    if y.shape[-1] is not None:
        return tf.argmax(y, axis=-1) if y.shape[-1] > 1 else rounded(tf.squeeze(y, axis=-1))
    return tf.cond(tf.shape(y)[-1] > 1, lambda: tf.argmax(y, axis=-1), lambda: rounded(y[..., 0]))
