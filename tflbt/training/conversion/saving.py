"""Files that plain Keras opens: functional models are saved under Keras's own name, and can be had as plain models."""

from __future__ import annotations

from typing import TypeVar

import tensorflow as tf

from tflbt.training import keras_internals
from tflbt.training.conversion import overrides
from tflbt.training.keras_internals import Functional

ModelClass = TypeVar("ModelClass", bound=type)


def under_keras_name(cls: ModelClass) -> ModelClass:
    """Makes files name a functional model's class as Keras's `Functional`, whatever writes them.

    Where tflbt is not imported, Keras finds its own class of that name. Where it is, the registered name, which stands
    beside it in a `.keras` file and a SavedModel, leads to `cls` again. HDF5 and JSON have no such second name: they
    lead to a plain model, and of a model inside another they have the registered name alone.
    """
    own_name = cls.__name__
    tf.keras.utils.register_keras_serializable("tflbt", own_name)(cls)
    # Older files in HDF5 name the class without its package.
    tf.keras.utils.get_custom_objects()[own_name] = cls
    cls.__module__, cls.__qualname__ = Functional.__module__, Functional.__qualname__
    cls.__name__ = Functional.__name__
    return cls


def plain_model(model: tf.keras.Model) -> tf.keras.Model:
    """Returns a plain Keras model of the same layers, weights, added losses and compilation.

    Raises:
        ValueError: If the model is no functional model, or its class overrides what Keras does.
    """
    if not isinstance(model, Functional):
        raise ValueError(
            f"{type(model).__name__} has a call of its own, which no plain Keras model can share: derive the class "
            "from tf.keras.Model instead, and give its instances this model's weights (set_weights)."
        )
    may_differ = overrides.CONFIGURATION | overrides.LEFT_BEHIND
    overridden = [name for name in overrides.of_model(model) if name not in may_differ]
    if overridden:
        raise ValueError(
            f"{type(model).__name__} overrides {', '.join(overridden)}, which a plain Keras model would not have: "
            "derive the class from tf.keras.Model instead, and give its instances this model's weights (set_weights)."
        )
    plain = tf.keras.Model(model.input, model.output, name=model.name, trainable=model.trainable)
    keras_internals.carry_over(model, plain)
    keras_internals.take_precision(model, plain)
    arguments = keras_internals.compile_values(model)
    if arguments:
        plain.compile(**{**arguments, "optimizer": model.optimizer})
    return plain
