"""Where a model's random layers keep the state of what they draw."""

from __future__ import annotations

import tensorflow as tf


def generators(model: tf.keras.Model) -> list[tf.random.Generator]:
    """The random generators of a model's layers, in the order of the layers; none where Keras draws otherwise."""
    owners = (getattr(layer, "_random_generator", None) for layer in model.submodules)
    found = (getattr(owner, "_generator", None) for owner in owners)
    return [generator for generator in found if isinstance(generator, tf.random.Generator)]
