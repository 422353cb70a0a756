"""The output layer's eigenvalue of one model: trace and cut it once, then estimate many times."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.curvature.head import Head, feature_dtype
from tflbt.curvature.head_operator import HeadOperator
from tflbt.curvature.kept_variables import kept, moved_variables
from tflbt.curvature.output_layer import Uncuttable, cut, find_output_layer, inputs_of
from tflbt.curvature.recording import recorded_calls
from tflbt.curvature.samples import Samples
from tflbt.curvature.total_loss import TotalLoss
from tflbt.distributed import comm

_ATTRIBUTE = "_tflbt_output_layer"


class OutputLayer:
    """A model's output layer, and everything compiled to look at its curvature.

    Args:
        model: A built model.
        inputs: The `tf.TensorSpec` of its inputs.

    Attributes:
        layer: The last weighted layer.
        head: What follows the features, in float32 (float64 for float64 weights), if it can be cut.
        reason: Why the model cannot be cut there; None if it can.
        moved: Variables that running ``features`` might write.
        noticed: Whether the user has been told so.
        features: The compiled part that is run once, ``inputs -> list of tensors``; where the model
            cannot be cut, the inputs of the layer, as far as the trace shows them.
    """

    def __init__(self, model: tf.keras.Model, inputs: Any):
        """Trace the model and cut it."""
        self.reason: str | None = None
        self.noticed = False
        self._heads: dict[tf.DType, Head] = {}
        self._operators: dict[str, tuple[Any, HeadOperator]] = {}
        self._trace(model, inputs)

    def _trace(self, model: tf.keras.Model, inputs: Any) -> None:
        found: dict[str, Any] = {}

        @tf.autograph.experimental.do_not_convert
        def features_of(outputs):
            graph = tf.compat.v1.get_default_graph()
            found["layer"] = find_output_layer(calls)
            dtype = feature_dtype(found["layer"])
            try:
                found["cut"] = cut(calls, outputs, graph)
            except Uncuttable as reason:
                found["reason"] = str(reason)
                return inputs_of(calls, found["layer"], graph)
            return [tf.cast(x, dtype) if x.dtype.is_floating else x for x in found["cut"].features]

        def run(inputs):
            calls.clear()
            return features_of(model(inputs, training=False))

        with recorded_calls(model) as calls:
            self.features = tf.function(run, input_signature=[inputs])
            graph = self.features.get_concrete_function().graph
        calls.clear()
        self.layer = found["layer"]
        self.reason = found.get("reason")
        self.moved = moved_variables(graph)
        if self.reason is None:
            try:
                self._cut = found["cut"]
                self.head = self._heads[tf.float32] = Head(self._cut, feature_dtype(self.layer))
            except Uncuttable as reason:
                self.reason = str(reason)

    def run_features(self, samples: Samples) -> list[tf.Tensor]:
        """Run the network once over ``samples``, a sub-batch at a time, and keep the features.

        Args:
            samples: The samples; none is allowed.

        Returns:
            The features of all samples.

        Raises:
            Uncuttable: The features are not one row a sample.
        """
        parts = []
        with kept(self.moved):
            for x, _, _ in samples.sub_batches():
                parts.append(self.features(x))
                rows = {int(part.shape[0]) for part in parts[-1]}
                if rows != {len(tf.nest.flatten(x)[0])}:
                    raise Uncuttable("the input of its last weighted layer is not a row a sample")
        if not parts:
            specs = self.head.feature_specs()
            return [tf.zeros([d or 0 for d in spec.shape], spec.dtype) for spec in specs]
        return [part[0] if len(part) == 1 else tf.concat(part, 0) for part in zip(*parts)]

    def operator(
        self, total_loss: TotalLoss, method: str, samples: Samples, reduction: comm.Reduction
    ) -> HeadOperator:
        """Return the compiled iteration for this loss and method, the last one used if it fits."""
        _, *targets = samples.specs()
        key = (total_loss.key, method, repr(targets), reduction)
        last = self._operators.get(method)
        if last is None or last[0] != key:
            operator = self._compile(total_loss, method, tuple(targets), reduction)
            last = self._operators[method] = (key, operator)
        return last[1]

    def _compile(self, total_loss, method, targets, reduction) -> HeadOperator:
        """Compile for double precision where differences are taken, if layers and loss allow it.

        Where samples are saturated and wrong, the gradient is as large as the features and the
        curvature next to nothing: in float32 a ResNet-20 early in training came out 28% off.
        """
        if method == "finite_difference":
            try:
                if tf.float64 not in self._heads:
                    self._heads[tf.float64] = Head(self._cut, tf.float64)
                head = self._heads[tf.float64]
                return HeadOperator(head, total_loss, method, targets, reduction)
            except (Uncuttable, TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
                logging.info("Differences in float32, as float64 is refused: %s", error)
        return HeadOperator(self.head, total_loss, method, targets, reduction)


def output_layer(model: tf.keras.Model, samples: Samples) -> OutputLayer:
    """Return the `OutputLayer` kept with the model, made anew if the model has changed.

    It lives in the model's ``__dict__``, past Keras's attribute tracking, so that it is
    neither saved with the model nor outlives it.

    Args:
        model: A built model.
        samples: The samples, for the shapes of their inputs.

    Returns:
        The output layer.
    """
    inputs = samples.specs()[0]
    trainable = tuple(id(variable) for variable in model.trainable_variables)
    key = (repr(inputs), trainable, id(model))
    last, layer = model.__dict__.get(_ATTRIBUTE, (None, None))
    if last != key:
        layer = OutputLayer(model, inputs)
        model.__dict__[_ATTRIBUTE] = (key, layer)
    return layer
