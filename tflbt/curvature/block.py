"""A block of layers of one model: trace and cut it once, then look at its curvature many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.curvature.cut import Cut, Uncuttable, cut, inputs_of, owners
from tflbt.curvature.full_precision import run_in_full_precision
from tflbt.curvature.head import Head, feature_dtype
from tflbt.curvature.head_operator import HeadOperator
from tflbt.curvature.kept_variables import kept, moved_variables
from tflbt.curvature.recording import leaf_layers, recorded_calls
from tflbt.curvature.samples import Samples
from tflbt.curvature.selection import last_count, last_variables, variables_of
from tflbt.curvature.total_loss import TotalLoss
from tflbt.distributed import comm

_ATTRIBUTE = "_tflbt_blocks"


class Block:
    """Layers of a model, and everything compiled to look at their curvature.

    Args:
        model: A built model.
        inputs: The `tf.TensorSpec` of its inputs.
        layers: "output", "last_n", or names; see `selection`.

    Attributes:
        variables: The weights that the Hessian is taken over.
        layers: The layers that own them, in the order called.
        head: What follows the features, in float32 (float64 for float64 weights), if it can be cut.
        reason: Why the model cannot be cut there; None if it can.
        saves_nothing: Whether the head is the whole model, so that nothing can be run once.
        moved: Variables that running ``features`` might write.
        noticed: Whether the user has been told so.
        features: The compiled part that is run once, ``inputs -> list of tensors``; where the model
            cannot be cut, the inputs of the last layer, as far as the trace shows them.
    """

    def __init__(self, model: tf.keras.Model, inputs: Any, layers: str | Sequence[str]):
        """Trace the model and cut it."""
        self.reason: str | None = None
        self.saves_nothing = False
        self.noticed = False
        self._heads: dict[tf.DType, Head] = {}
        self._operators: dict[str, tuple[Any, HeadOperator]] = {}
        self._trace(model, inputs, layers)

    def _trace(self, model: tf.keras.Model, inputs: Any, layers: str | Sequence[str]) -> None:
        count = last_count(layers)
        named = variables_of(model, layers) if count is None else []
        found: dict[str, Any] = {}

        @tf.autograph.experimental.do_not_convert
        def features_of(outputs):
            graph = tf.compat.v1.get_default_graph()
            found["variables"] = named or last_variables(calls, count or 1)
            found["layers"] = owners(calls, found["variables"])
            # As many as the layers' own, or else the model itself has some that no copy can have.
            found["own_losses"] = len(model.losses) > sum(len(c.losses) for c in leaf_layers(model))
            try:
                found["cut"] = cut(calls, outputs, graph, found["variables"])
            except Uncuttable as reason:
                found["reason"] = str(reason)
                return inputs_of(calls, found["layers"][-1], graph) if found["layers"] else []
            dtype = feature_dtype(found["layers"])
            return [tf.cast(x, dtype) if x.dtype.is_floating else x for x in found["cut"].features]

        def call(inputs):
            calls.clear()
            return model(inputs, training=False)

        def run(inputs):
            return features_of(run_in_full_precision(model, lambda: call(inputs)))

        with recorded_calls(model) as calls:
            self.features = tf.function(run, input_signature=[inputs])
            graph = self.features.get_concrete_function().graph
        calls.clear()
        self.variables, self.layers = found["variables"], found["layers"]
        self.reason = found.get("reason")
        self.moved = moved_variables(graph)
        self._own_losses = found["own_losses"]
        if self.reason is None:
            self._copy_head(found["cut"])

    def _copy_head(self, parts: Cut) -> None:
        self.saves_nothing = parts.saves_nothing
        if not self.saves_nothing:
            try:
                self._cut = parts
                self.head = self._heads[tf.float32] = Head(parts, feature_dtype(self.layers))
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
                    raise Uncuttable("what enters the layers chosen is not a row a sample")
        if not parts:
            specs = self.head.feature_specs()
            return [tf.zeros([d or 0 for d in spec.shape], spec.dtype) for spec in specs]
        return [part[0] if len(part) == 1 else tf.concat(part, 0) for part in zip(*parts)]

    def operator(
        self,
        total_loss: TotalLoss,
        method: str,
        samples: Samples,
        reduction: comm.Reduction,
        regularization: bool = False,
    ) -> HeadOperator:
        """Return the compiled products for this loss and method, the last ones used if they fit.

        Raises:
            Uncuttable: The regularisation is not all of the head's layers' own.
        """
        if regularization and self._own_losses:
            raise Uncuttable("it has loss terms of its own, outside its layers")
        _, *targets = samples.specs()
        key = (total_loss.key, repr(targets), reduction, regularization)
        last = self._operators.get(method)
        if last is None or last[0] != key:
            operator = self._compile(method, total_loss, tuple(targets), reduction, regularization)
            last = self._operators[method] = (key, operator)
        return last[1]

    def _compile(self, method, *options) -> HeadOperator:
        """Compile for double precision where differences are taken, if layers and loss allow it.

        Where samples are saturated and wrong, the gradient is as large as the features and the
        curvature next to nothing: in float32 a ResNet-20 early in training came out 28% off.
        """
        if method == "finite_difference":
            try:
                if tf.float64 not in self._heads:
                    self._heads[tf.float64] = Head(self._cut, tf.float64)
                return HeadOperator(self._heads[tf.float64], method, *options)
            except (Uncuttable, TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
                logging.info("Differences in float32, as float64 is refused: %s", error)
        return HeadOperator(self.head, method, *options)


def block_of(
    model: tf.keras.Model, samples: Samples, layers: str | Sequence[str] = "output"
) -> Block:
    """Return the `Block` kept with the model, made anew if the model has changed.

    It lives in the model's ``__dict__``, past Keras's attribute tracking, so that it is
    neither saved with the model nor outlives it.

    Args:
        model: A built model.
        samples: The samples, for the shapes of their inputs.
        layers: Default "output"; or "last_n", or names.

    Returns:
        The block.
    """
    inputs = samples.specs()[0]
    trainable = tuple(id(variable) for variable in model.trainable_variables)
    key = (repr(inputs), trainable, id(model))
    blocks = model.__dict__.setdefault(_ATTRIBUTE, _Blocks()).known
    chosen = layers if isinstance(layers, str) else tuple(layers)
    last, block = blocks.get(chosen, (None, None))
    if last != key:
        block = Block(model, inputs, layers)
        blocks[chosen] = (key, block)
    return block


class _Blocks:
    """What is kept with a model: opaque to Keras, which walks through dictionaries."""

    def __init__(self) -> None:
        """Start with none."""
        self.known: dict[Any, tuple[Any, Block]] = {}
