"""A block of layers of a model, and all that is compiled to look at its curvature many times."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.curvature.halves import Graph, Halves, Head, Uncuttable, float_type, graph_of, owners
from tflbt.curvature.power_iteration import power_loop
from tflbt.curvature.products import (
    central_difference,
    fitted_step,
    gradient,
    hessian_product,
    mean_over_samples,
)
from tflbt.curvature.samples import MeasuredSamples, with_nones, without_nones
from tflbt.curvature.selection import last_count, last_variables, variables_of, watched_calls
from tflbt.curvature.total_loss import TotalLoss
from tflbt.curvature.whole_model import compiled, moved_variables, preserved, run_in_full_precision
from tflbt.distributed import comm

#: What the head's tensors of one chunk may take, unless a sub-batch needs more. Small layers see the whole batch in a
#: few calls, large convolutional heads stay within bounded memory.
CHUNK_BYTES = 32 * 2**20


class Block:
    """Layers of a model, and everything compiled to look at their curvature; it does not hold the model itself.

    `variables` are the weights of the Hessian, `layers` their owners in the order of calls, `halves` the model in two
    parts and `features` the compiled body (None, where `reason` says why the model cannot be cut). If the head
    `saves_nothing`, it is the whole model.
    """

    def __init__(self, model: tf.keras.Model, inputs: Any, layers: str | Sequence[str]) -> None:
        self.halves: Any = None
        self.reason: str | None = None
        self._warned = False
        self._model: Callable[[], Any] = weakref.ref(model)
        self._inputs = inputs
        self._heads: dict[tf.DType, Head] = {}
        self._operators: dict[str, tuple[Any, HeadOperator]] = {}
        self._last_inputs: Any = None
        count = last_count(layers)
        self.variables = variables_of(model, layers) if count is None else []
        try:
            graph = graph_of(model)
        except Uncuttable as reason:
            self.reason = str(reason)
            self._watch(model, count)
        else:
            self._cut(model, graph, count)
        self.saves_nothing = self.halves is not None and self.halves.saves_nothing
        if self.halves is not None and not self.saves_nothing:
            self._compile_body(self.halves)

    def _cut(self, model: tf.keras.Model, graph: Graph, count: int | None) -> None:
        """Choose the weights by the order of the graph, if it shows every layer, and cut the model there."""
        if any(isinstance(layer, tf.keras.Model) for layer in graph.layers):
            self._watch(model, count)
        else:
            self._choose(graph.layers, count)
        try:
            self.halves = Halves(model, graph, self.variables)
        except Uncuttable as reason:
            self.reason = str(reason)
        called = {id(layer): layer for layer in graph.layers}.values()
        # As many as the layers' own, or else the model itself has some that no copy can have.
        self._own_losses = len(model.losses) > sum(len(layer.losses) for layer in called)

    def _choose(self, called: Sequence[tf.keras.layers.Layer], count: int | None) -> None:
        if count is not None:
            self.variables = last_variables(called, count)
        self.layers = owners(called, self.variables)

    def _watch(self, model: tf.keras.Model, count: int | None) -> None:
        """Trace the model once to see which layers its code calls, in what order and with what."""
        reference = self._model

        def call(x):
            calls.clear()
            return reference()(x, training=False)

        @tf.autograph.experimental.do_not_convert
        def last_inputs():
            self._choose([layer for layer, _ in calls], count)
            last = [args for layer, args in calls if layer in self.layers[-1:]][-1:]
            graph = tf.compat.v1.get_default_graph()
            return [x for x in tf.nest.flatten(last) if getattr(x, "graph", None) is graph]

        def run(x):
            run_in_full_precision(reference(), lambda: call(x))
            return last_inputs()

        with watched_calls(model) as calls:
            self._last_inputs = tf.function(run, input_signature=[self._inputs])
            self._moved = moved_variables(self._last_inputs)
        calls.clear()

    def _compile_body(self, halves: Halves) -> None:
        reference, dtypes = self._model, [spec.dtype for spec in halves.specs()]

        def run(x):
            features = run_in_full_precision(reference(), lambda: halves.body(x))
            return [tf.cast(feature, dtype) for feature, dtype in zip(features, dtypes)]

        self.features = tf.function(run, input_signature=[self._inputs])
        self._moved = moved_variables(self.features)

    def last_inputs(self, samples: MeasuredSamples) -> list[list[tf.Tensor]]:
        """Return what the block's last layer reads of each sub-batch (none is allowed), as far as a trace shows it."""
        if self._last_inputs is None:
            self._watch(self._model(), None)
        with preserved(self._moved):
            return [self._last_inputs(x) for x, _, _ in samples.sub_batches()]

    def run_features(self, samples: MeasuredSamples) -> list[tf.Tensor]:
        """Return the features of all samples; raises `Uncuttable` if a feature has not one row per sample."""
        parts = []
        with preserved(self._moved):
            for x, _, _ in samples.sub_batches():
                parts.append(self.features(x))
                rows = {int(part.shape[0]) for part in parts[-1]}
                if rows != {len(tf.nest.flatten(x)[0])}:
                    raise Uncuttable(
                        "what enters the layers chosen does not have one row per sample"
                    )
        if not parts:
            specs = self.halves.specs()
            return [tf.zeros([size or 0 for size in spec.shape], spec.dtype) for spec in specs]
        return [part[0] if len(part) == 1 else tf.concat(part, 0) for part in zip(*parts)]

    def head(self, dtype: tf.DType) -> Head:
        """Return the copied head in a type, made at first use; raises `Uncuttable` if a layer cannot be copied."""
        if dtype not in self._heads:
            self._heads[dtype] = Head(self.halves, dtype)
        return self._heads[dtype]

    def operator(
        self,
        total_loss: TotalLoss,
        method: str,
        samples: MeasuredSamples,
        reduction: comm.Reduction,
    ) -> HeadOperator:
        """Return the compiled products for a loss and method, the last ones used if they fit, or raise `Uncuttable`."""
        if self.reason is not None:
            raise Uncuttable(self.reason)
        if total_loss.regularization and self._own_losses:
            raise Uncuttable("it has loss terms of its own, outside its layers")
        specs = samples.specs()[1:]
        # What is reduced over everyone depends on comm.process_set_scope.
        key = (total_loss.key, repr(specs), reduction, reduction.options)
        if self._operators.get(method, (None,))[0] != key:
            operator = self._compile(method, total_loss, specs, reduction)
            self._operators[method] = (key, operator)
        return self._operators[method][1]

    def warn(self, reason: str, method: str) -> None:
        """Note why the model cannot be cut, and tell the user once."""
        self.reason = reason
        if not self._warned:
            self._warned = True
            logging.warning(
                "Curvature of %r: the model cannot be cut at %s because %s. The whole model runs at "
                "every iteration instead (%s).",
                self._model().name, ", ".join(repr(layer.name) for layer in self.layers) or "its weights",
                reason, method,
            )  # fmt: skip

    def _compile(self, method: str, *options: Any) -> HeadOperator:
        """Compile for double precision where differences are taken, if layers and loss allow it.

        Where samples are saturated and wrong, the gradient is as large as the features and the curvature next to
        nothing: in float32 a ResNet-20 early in training came out 28% off.
        """
        if method == "finite_difference":
            try:
                return HeadOperator(self.halves, self.head(tf.float64), method, *options)
            except (Uncuttable, TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
                logging.info("Differences in float32, as float64 is refused: %s", error)
        return HeadOperator(self.halves, self.head(float_type(self.layers)), method, *options)


class HeadOperator:
    """Products of a block's Hessian with vectors, and power iteration around them, as graphs.

    `product` is `(features, targets, chunk, step, vector) -> Hv`, compiled; `solve` takes `start, iterations,
    tolerance` in place of the vector. `specs` are those of `(y, sample_weight)`. Types and shapes that layers or loss
    refuse, and operations without a second derivative, raise TensorFlow's errors.
    """

    def __init__(
        self,
        halves: Halves,
        head: Head,
        method: str,
        total_loss: TotalLoss,
        specs: tuple[Any, Any],
        reduction: comm.Reduction,
    ) -> None:
        self.head = head
        self._halves = halves
        self._loss = total_loss
        self._exact = method == "exact"
        self._reduction = reduction
        self._specs = specs
        vector = [tf.TensorSpec(variable.shape, head.dtype) for variable in head.variables]
        whole, real = (tf.TensorSpec([], dtype) for dtype in (tf.int32, head.dtype))
        batch = [halves.specs(), without_nones(specs), whole, real]
        self.product = tf.function(self._product, input_signature=[*batch, vector])
        self.product.get_concrete_function()  # Types and shapes that do not fit are refused here.
        self.solve = tf.function(self._solve, input_signature=[*batch, vector, whole, real])

    def _product(self, features, targets, chunk, step, vector) -> list[tf.Tensor]:
        """Return Hv, averaged over the samples of all ranks."""
        count = tf.shape(tf.nest.flatten(targets)[0])[0]
        variables = self.head.variables

        def sums(differentiate):
            return self._over_chunks(differentiate, features, targets, count, chunk)

        def slopes():
            return sums(lambda loss: gradient(loss, variables))

        if self._exact:
            product = sums(lambda loss: hessian_product(loss, variables, vector))
        else:
            values = [tf.identity(variable) for variable in variables]
            product = central_difference(slopes, variables, values, vector, step)
            for variable, value in zip(variables, values):
                variable.assign(value)
        return mean_over_samples(product, count, self._reduction)

    def _solve(self, features, targets, chunk, step, start, iterations, tolerance):
        """Run the power iteration; see `power_loop` for what it returns."""

        def matvec(vector):
            return self.product(features, targets, chunk, step, vector)

        return power_loop(matvec, start, iterations, tolerance)

    def _over_chunks(self, differentiate, features, targets, count, chunk) -> list[tf.Tensor]:
        """Add up what `differentiate` makes of the loss of each chunk of samples; zeros for no samples."""

        def body(begin, sums):
            rows = slice(begin, tf.minimum(begin + chunk, count))
            x, y = [part[rows] for part in features], [part[rows] for part in targets]
            parts = differentiate(lambda: self._total(x, y))
            return begin + chunk, [total + part for total, part in zip(sums, parts)]

        zeros = [tf.zeros(variable.shape, self.head.dtype) for variable in self.head.variables]
        return tf.while_loop(
            lambda begin, _: begin < count, body, (0, zeros), parallel_iterations=1
        )[1]

    def _total(self, features, targets) -> tf.Tensor:
        y, weight = with_nones(self._specs, targets)
        outputs = self.head(features)
        return self._loss.of_pass(self.head, outputs, y, weight, self.head.dtype)

    def batch(
        self, samples: MeasuredSamples, features: list[tf.Tensor], step: float | None
    ) -> tuple[Any, ...]:
        """Return the arguments of `product` and `solve` that come before the vector."""
        # The samples the head takes at once: a sub-batch, or more where they are small.
        chunk = max(samples.sub_batch_size, CHUNK_BYTES // max(self._halves.sample_bytes, 1))
        variables, dtype = self.head.variables, self.head.dtype
        if self._exact:
            length = tf.zeros([], dtype)  # exact products need no step
        else:
            inputs = self._halves.block_inputs(features)
            length = fitted_step(step, [inputs], variables, dtype, self._reduction)
        return features, without_nones(samples.all()), tf.constant(chunk), length


def block_of(
    model: tf.keras.Model, samples: MeasuredSamples, layers: str | Sequence[str] = "output"
) -> Block:
    """Return the `Block` compiled for a model and `layers`, made anew if the model has changed."""
    inputs = samples.specs()[0]
    trainable = tuple(id(variable) for variable in model.trainable_variables)
    chosen = layers if isinstance(layers, str) else tuple(layers)
    key = (repr(inputs), trainable)
    return compiled(model, chosen, key, lambda: Block(model, inputs, layers))
