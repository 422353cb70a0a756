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
    gradient,
    hessian_product,
    input_squares,
    mean_over_samples,
    step_length,
)
from tflbt.curvature.samples import MeasuredSamples, with_nones, without_nones
from tflbt.curvature.selection import last_count, last_variables, variables_of, watched_calls
from tflbt.curvature.total_loss import TotalLoss, with_penalties
from tflbt.curvature.whole_model import compiled, moved_variables, preserved, run_in_full_precision
from tflbt.distributed import comm

#: What the head's tensors of one chunk may take, unless a sub-batch needs more. Small layers see the
#: whole batch in a few calls, large convolutional heads stay within bounded memory.
CHUNK_BYTES = 32 * 2**20


class Block:
    """Layers of a model, and everything compiled to look at their curvature.

    It holds the model's layers but not the model, which may be collected before it.

    Args:
        model: A built model.
        inputs: The `tf.TensorSpec` of its inputs.
        layers: "output", "last_n", or names; see `selection`.

    Attributes:
        variables: The weights that the Hessian is taken over.
        layers: The layers that own them, in the order in which they are called.
        halves: The model in two parts; None if it cannot be cut.
        features: The compiled body: inputs -> list of features.
        reason: Why the model cannot be cut there; None if it can.
        saves_nothing: Whether the head is the whole model, so that nothing can be run once.
        noticed: Whether the user has been warned of that.
    """

    def __init__(self, model: tf.keras.Model, inputs: Any, layers: str | Sequence[str]) -> None:
        self.halves: Halves | None = None
        self.reason: str | None = None
        self.noticed = False
        self._model = weakref.ref(model)
        self._inputs = inputs
        self._heads: dict[tf.DType, Head] = {}
        self._operators: dict[str, tuple[Any, HeadOperator]] = {}
        self._last_inputs: Callable[[Any], list[tf.Tensor]] | None = None
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
            self.features, self._moved = self._compile_body(self.halves)

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
            graph = self._last_inputs.get_concrete_function().graph
        calls.clear()
        self._moved = moved_variables(graph)

    def _compile_body(self, halves: Halves) -> tuple[Callable[[Any], list[tf.Tensor]], list]:
        reference, dtypes = self._model, [spec.dtype for spec in halves.specs()]

        def run(x):
            features = run_in_full_precision(reference(), lambda: halves.body(x))
            return [tf.cast(feature, dtype) for feature, dtype in zip(features, dtypes)]

        body = tf.function(run, input_signature=[self._inputs])
        return body, moved_variables(body.get_concrete_function().graph)

    def last_inputs(self, samples: MeasuredSamples) -> list[list[tf.Tensor]]:
        """Return what the block's last layer reads of each sub-batch, as far as a trace shows it.

        Args:
            samples: The samples; none is allowed.

        Returns:
            One list of tensors per sub-batch.
        """
        if self._last_inputs is None:
            self._watch(self._model(), None)
        with preserved(self._moved):
            return [self._last_inputs(x) for x, _, _ in samples.sub_batches()]

    def run_features(self, samples: MeasuredSamples) -> list[tf.Tensor]:
        """Run the body once over the samples, one sub-batch at a time, and keep the features.

        Args:
            samples: The samples; none is allowed.

        Returns:
            The features of all samples.

        Raises:
            Uncuttable: A feature does not have one row per sample.
        """
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
        """Return the copied head in a type, made at first use.

        Raises:
            Uncuttable: A layer cannot be copied.
        """
        if dtype not in self._heads:
            self._heads[dtype] = Head(self.halves, dtype)
        return self._heads[dtype]

    def operator(
        self,
        total_loss: TotalLoss,
        method: str,
        samples: MeasuredSamples,
        reduction: comm.Reduction,
        regularization: bool = False,
    ) -> HeadOperator:
        """Return the compiled products for this loss and method, the last ones used if they fit.

        Raises:
            Uncuttable: The head cannot be copied, or not all loss terms belong to its layers.
        """
        if regularization and self._own_losses:
            raise Uncuttable("it has loss terms of its own, outside its layers")
        specs = samples.specs()[1:]
        key = (total_loss.key, repr(specs), reduction, regularization)
        last, operator = self._operators.get(method, (None, None))
        if last != key:
            operator = self._compile(method, total_loss, specs, reduction, regularization)
            self._operators[method] = (key, operator)
        return operator

    def _compile(self, method: str, *options: Any) -> HeadOperator:
        """Compile for double precision where differences are taken, if layers and loss allow it.

        Where samples are saturated and wrong, the gradient is as large as the features and the
        curvature next to nothing: in float32 a ResNet-20 early in training came out 28% off.
        """
        if method == "finite_difference":
            try:
                return HeadOperator(self.halves, self.head(tf.float64), method, *options)
            except (Uncuttable, TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
                logging.info("Differences in float32, as float64 is refused: %s", error)
        return HeadOperator(self.halves, self.head(float_type(self.layers)), method, *options)


class HeadOperator:
    """Products of a block's Hessian with vectors, and power iteration around them, as graphs.

    Args:
        halves: Where the model is cut.
        head: The copied head.
        method: "finite_difference" or "exact".
        total_loss: The loss as a sum over samples.
        specs: Shapes and types of `(y, sample_weight)`.
        reduction: Which ranks add up.
        regularization: Whether the loss terms of the head's layers count.

    Attributes:
        product: `(features, targets, chunk, step, vector) -> Hv`, compiled.
        solve: The same, then `start, iterations, tolerance` in place of the vector: `power_loop`.

    Raises:
        TypeError: Layers or loss refuse the head's type.
        ValueError: Shapes of targets and outputs do not fit.
        LookupError: An operation has no second derivative.
    """

    def __init__(
        self,
        halves: Halves,
        head: Head,
        method: str,
        total_loss: TotalLoss,
        specs: tuple[Any, Any],
        reduction: comm.Reduction,
        regularization: bool,
    ) -> None:
        self.head = head
        self._halves = halves
        self._loss = total_loss
        self._exact = method == "exact"
        self._reduction = reduction
        self._specs = specs
        self._regularization = regularization
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
        if self._exact:
            sums = self._over_chunks(
                lambda loss: hessian_product(loss, variables, vector),
                features, targets, count, chunk,
            )  # fmt: skip
        else:
            values = [tf.identity(variable) for variable in variables]
            sums = central_difference(
                lambda: self._over_chunks(
                    lambda loss: gradient(loss, variables), features, targets, count, chunk
                ),
                variables, values, vector, step,
            )  # fmt: skip
            for variable, value in zip(variables, values):
                variable.assign(value)
        return mean_over_samples(sums, count, self._reduction)

    def _solve(self, features, targets, chunk, step, start, iterations, tolerance):
        """Run the power iteration; see `power_loop` for what it returns."""
        return power_loop(
            lambda vector: self.product(features, targets, chunk, step, vector),
            start, iterations, tolerance,
        )  # fmt: skip

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
        total = tf.cast(self._loss(y, outputs, weight), self.head.dtype)
        return with_penalties(total, self.head.losses if self._regularization else None, outputs)

    def step(self, step: float, features: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return how far differences move the weights; exact products need no step."""
        output_change = tf.constant(step, self.head.dtype)
        if self._exact:
            return output_change
        inputs = self._halves.block_inputs(features)
        sums = input_squares(inputs, self.head.variables, self.head.dtype)
        total = comm.all_reduce_sum(sums, "tflbt.curvature.scale", self._reduction)
        return step_length(output_change, *total)

    def chunk(self, sub_batch_size: int) -> tf.Tensor:
        """Return the samples the head takes at once: a sub-batch, or more where they are small."""
        return tf.constant(max(sub_batch_size, CHUNK_BYTES // max(self._halves.sample_bytes, 1)))


def block_of(
    model: tf.keras.Model, samples: MeasuredSamples, layers: str | Sequence[str] = "output"
) -> Block:
    """Return the `Block` compiled for a model and `layers`, made anew if the model has changed."""
    inputs = samples.specs()[0]
    trainable = tuple(id(variable) for variable in model.trainable_variables)
    chosen = layers if isinstance(layers, str) else tuple(layers)
    key = (repr(inputs), trainable)
    return compiled(model, chosen, key, lambda: Block(model, inputs, layers))
