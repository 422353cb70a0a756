"""A LargeBatchModel of a built Keras model: taken apart into its layers, or as the single layer of another."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.training import keras_internals, keras_loop
from tflbt.training.conversion import overrides
from tflbt.training.keras_internals import Functional


def taken_over(model: tf.keras.Model, of_graph: type, around: type) -> Any:
    """Makes a model, as `LargeBatchModel.from_model`, that shares the layers and weights of a built one.

    Args:
        model: The model.
        of_graph: The class for inputs and outputs of a model that is taken apart.
        around: The class for those of a model that stays whole.

    Raises:
        ValueError: If the model cannot be taken over.
    """
    found = overrides.check_carried_over(model)
    if keras_internals.made_under_strategy(model):
        raise ValueError(keras_loop.UNDER_STRATEGY)
    if (
        getattr(model, "inputs", None)
        and isinstance(model, Functional)
        and overrides.leaves_the_graph(found)
    ):
        ours = of_graph(model.input, model.output, name=model.name, trainable=model.trainable)
        keras_internals.carry_over(model, ours)
    else:
        inputs = symbolic_inputs(model)
        ours = around(inputs, model(inputs), name=model.name)
    keras_internals.take_precision(model, ours)
    return ours


def symbolic_inputs(model: tf.keras.Model) -> Any:
    """Keras inputs of the shapes and types that a subclassed model was built with."""
    spec = model.save_spec()
    if model.built and spec is not None:
        (inputs, *_), _ = spec
        return tf.nest.map_structure(lambda s: tf.keras.Input(s.shape[1:], dtype=s.dtype), inputs)
    if not model.built:
        raise ValueError(
            f"model={model.name!r} is not built, so its weights do not exist yet: call it on a batch of inputs first."
        )
    shapes = (model.get_build_config() or {}).get("input_shape")
    if shapes is None:
        raise ValueError(
            f"model={model.name!r} has a build of its own that does not call super().build(input_shape), so that the "
            "shapes of its inputs are not known: call it on a batch of inputs first."
        )
    return _inputs_of_shapes(shapes)


def _inputs_of_shapes(shapes: Any) -> Any:
    """Keras inputs, of Keras's own float type, as `build` has them for a shape or shapes in lists and dictionaries."""
    if isinstance(shapes, dict):
        return {name: _inputs_of_shapes(shape) for name, shape in shapes.items()}
    if all(isinstance(part, (list, tuple)) for part in shapes):
        return [_inputs_of_shapes(shape) for shape in shapes]
    return tf.keras.Input(tuple(shapes)[1:])
