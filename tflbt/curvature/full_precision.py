"""Trace a mixed-precision model in float32: curvature in 16 bits would be mostly rounding."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import tensorflow as tf
from absl import logging

Result = TypeVar("Result")


@contextlib.contextmanager
def full_precision(model: tf.keras.Model) -> Iterator[None]:
    """Let the model's mixed-precision layers compute in float32 inside the block.

    It is meant for the time of a trace: the graph recorded then computes in float32 for good, while
    the model, its weights (float32 anyway) and all it has compiled stay as they are. The layers'
    policies are put back also after an exception. Layers whose *weights* have 16 bits, and casts that
    a model's own code spells out, are left alone.

    Args:
        model: A built model.

    Example:
        >>> policy = tf.keras.mixed_precision.Policy("mixed_bfloat16")
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, dtype=policy, input_shape=(2,))])
        >>> with full_precision(model):
        ...     inside = model(tf.ones([1, 2])).dtype.name
        >>> inside, model(tf.ones([1, 2])).dtype.name
        ('float32', 'bfloat16')
    """
    mixed = [layer for layer in _layers(model) if _is_mixed(layer)]
    policies = [layer.dtype_policy for layer in mixed]
    try:
        for layer in mixed:
            layer._set_dtype_policy("float32")
        yield
    finally:
        for layer, policy in zip(mixed, policies):
            layer._set_dtype_policy(policy)


def run_in_full_precision(model: tf.keras.Model, run: Callable[[], Result]) -> Result:
    """Return ``run()`` traced in float32, or, after a notice, in the model's own precision.

    Code that spells out its 16 bits (``tf.cast(x, "bfloat16")`` before a product with a weight, say)
    does not run in float32.

    Args:
        model: A built model.
        run: Traces the model; it may be called twice.

    Returns:
        What ``run`` returns.
    """
    try:
        with full_precision(model):
            return run()
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
        if not any(_is_mixed(layer) for layer in _layers(model)):
            raise
        reason = error
    result = run()
    logging.warning(
        "Curvature of %r is measured in the model's own precision, in which it is rough, as float32 "
        "is refused: %s", model.name, str(reason).split("\n")[0],
    )  # fmt: skip
    return result


def _layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    parts = [model, *model.submodules, *model.layers]
    layers = [part for part in parts if isinstance(part, tf.keras.layers.Layer)]
    return list({id(layer): layer for layer in layers}.values())


def _is_mixed(layer: tf.keras.layers.Layer) -> bool:
    return layer.compute_dtype in ("float16", "bfloat16") and layer.variable_dtype == "float32"
