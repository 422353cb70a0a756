"""One update: pull sub-batches, add their gradients up, reduce once over the ranks, apply once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from tflbt.data.user_functions import converted
from tflbt.distributed import comm
from tflbt.training import keras_internals, whole_update
from tflbt.training.batch_scalars import BatchScalars
from tflbt.training.conversion import table_rows
from tflbt.training.interruption import interruption
from tflbt.training.pending_metrics import PendingMetrics, metric_variables
from tflbt.training.ranks import ghost_groups, same_on_ranks
from tflbt.training.ranks.early_sums import EarlySums
from tflbt.training.returned_results import ReturnedResults
from tflbt.training.rules import gradient_statistics
from tflbt.training.sample_losses import loss_of, sample_losses
from tflbt.training.stopwatch import Lap, Stopwatch, untimed
from tflbt.training.sub_batches import first_dimension, pull
from tflbt.training.update_state import TrainingModel


class Total(NamedTuple):
    """What an update adds up, over sub-batches and then over ranks.

    Gradients are of each sub-batch's mean loss times its weight n / nominal, scaled as the optimizer scales losses.
    """

    seen: tf.Tensor  # number of samples
    count: tf.Tensor  # number of those that count, which a rule may have chosen
    gradients: list[tf.Tensor]


class Update:
    r"""The train function: `run` makes one update of `sub_batches_variable` sub-batches per rank.

    $$g = \frac{1}{N} \sum_{\text{ranks}} \sum_{\text{sub-batches}} n \, \nabla \bar\ell(\text{sub-batch})$$

    where a sub-batch has n samples of the N, and the mean loss includes regularisation, which so counts once. The
    model is built and compiled, and its rules take part.
    """

    def __init__(self, model: TrainingModel) -> None:
        self.model, self.state, self.rules = model, model.update_state, model.rules
        self.variables = model.trainable_variables
        self.unconnected: set[int] = set()  # variables without a gradient
        self.traced = False  # whether there are gradients of a sub-batch
        self.results = ReturnedResults(model, "compute_metrics")
        self.numbers = BatchScalars(model)
        self.ranks = EarlySums(model, early=self.rules.chooser is None)
        compiled = _compiled if model.jit_compile else lambda function: function
        self.of_all = compiled(lambda data, targets: self.gradients(data, None, targets))
        self.of_larger = compiled(
            lambda data, targets: self.gradients(data, self.rules.choose, targets)
        )
        self.of_chosen = compiled(lambda data, chosen: self.gradients(data, lambda losses: chosen))

    def run(self, iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        """Makes one update; returns the metrics so far in this epoch, over all ranks."""
        timed = self.state.timed
        lap = Stopwatch(self.state.seconds, self.state.moment) if timed else untimed
        self.state.element_spec = iterator.element_spec  # type: ignore[attr-defined]
        if self.state.skips:
            self.skip(iterator)
        evidence = same_on_ranks.evidence(self.model, of_settings=True)
        pending = PendingMetrics(self.model)
        self.rules.begin_update()
        with ghost_groups.together(self.model):
            total = self.rules.end_sub_batches(self.accumulate(iterator, lap))
        scalars = self.rules.scalars()
        results = self.results.local(total.seen)
        wishes = interruption.wishes(self.model)
        exact = [pending.local(), scalars, results, self.numbers.local(), evidence, wishes]
        if not self.ranks.early:
            total, exact = lap("computation", (total, exact))
        total, exact = lap("communication", self.reduce(total, exact))
        metrics, scalars, sums, numbers, evidence, wishes = exact
        same_on_ranks.require_equal(self.model, evidence)
        interruption.settle(self.model, wishes)
        pending.settle(metrics)
        self.numbers.settle(numbers, total.seen)
        count = tf.cond(
            total.count > 0, lambda: self.apply(total, scalars), lambda: self.end_of_data(iterator)
        )
        lap("computation", count)
        return self.results.merged(sums, total.seen)

    def skip(self, iterator: Iterator[Any]) -> None:
        """Throws away what was left of the epoch before."""
        steps = tf.cast(self.state.skipped, self.model.sub_batches_variable.dtype)
        pull(iterator, steps, lambda step, data, nothing: nothing, tf.constant(0.0))
        self.state.skipped.assign(0)

    def accumulate(self, iterator: Iterator[Any], lap: Lap) -> Total:
        """Adds up the gradients of this rank's sub-batches."""
        gradients = [tf.zeros(v.shape, v.dtype) for v in self.variables]
        zeros = Total(tf.constant(0.0), tf.constant(0.0), gradients)
        steps = tf.convert_to_tensor(self.model.sub_batches_variable)

        def one_pass(compute: Callable[[Any, Any], list[tf.Tensor]]) -> Total:
            def body(step: tf.Tensor, data: Any, total: Total) -> Total:
                data = self.rules.prepare(step, data)
                return self.add(total, data, compute(data, self.rules.targets(step, data)))

            return pull(iterator, steps, body, zeros, lap, after)

        def after(step: tf.Tensor, total: Total) -> Total:
            last = tf.equal(step + 1, steps)
            sums = self.ranks.sub_batch(last, total.gradients, lap)
            return Total(total.seen, total.count, sums)

        def choosing() -> Total:
            if self.rules.chooser.scope == "sub_batch":
                return one_pass(self.of_larger)
            return whole_update.two_passes(self.model, iterator, lap, self.add_chosen, zeros)

        if self.rules.chooser is None:
            return one_pass(self.of_all)
        return tf.cond(self.rules.choosing(), choosing, lambda: one_pass(self.of_all))

    def add(self, total: Total, data: Any, parts: list[tf.Tensor]) -> Total:
        """Adds what `gradients` returned for a sub-batch."""
        number, *gradients = parts
        if self.rules.observers or self.rules.norm_observers:
            weight = tf.maximum(number, 1.0) / self.state.nominal
        if self.rules.norm_observers:
            length = tf.sqrt(gradient_statistics.squared_norm(gradients))
            (norm,) = self.mean([length], weight)
            self.rules.observe_norm(norm, number)
        if self.rules.observers:
            self.rules.observe(self.mean(gradients, weight), number)
        sums = [total + part for total, part in zip(total.gradients, gradients)]
        return Total(total.seen + first_dimension(data), total.count + number, sums)

    def add_chosen(self, total: Total, data: Any, chosen: tf.Tensor) -> Total:
        """Adds the gradients of a sub-batch's chosen samples, bool `[n]`."""
        return self.add(total, data, self.of_chosen(data, chosen))

    def gradients(
        self,
        data: Any,
        choose: Callable[[tf.Tensor], tf.Tensor] | None = None,
        targets: Any = None,
    ) -> list[tf.Tensor]:
        """The number of samples that count and the gradients of a sub-batch; updates loss and metrics.

        `choose` says which samples count, bool `[n]`, given their losses; None: all. The loss is of the targets, if
        there are any, in place of the data's own.
        """
        model, optimizer = self.model, self.model.optimizer
        x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
        goal = y if targets is None else targets
        counting = functools.partial(self.numbers.counting, x)
        size = first_dimension(x)
        with tf.GradientTape() as tape:
            with counting():
                y_pred = model(x, training=True)
            if choose is None:
                with counting():
                    loss = converted(model.compute_loss)(x, goal, y_pred, sample_weight)
                number = size
                keras_internals.check_loss(model, y, loss)
            else:
                with tape.stop_recording(), counting():
                    chosen = choose(sample_losses(model, x, goal, y_pred, sample_weight))
                loss, number = loss_of(
                    model, x, goal, y_pred, sample_weight, chosen, metric_variables(model)
                )
            loss *= tf.cast(number / self.state.nominal, loss.dtype)
            if isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
                loss = optimizer.get_scaled_loss(loss)
        gradients = tape.gradient(loss, model.trainable_variables)
        if not self.traced:
            table_rows.tell(optimizer, gradients, self.variables)
        self.traced = True
        with counting():
            self.results.call(size, x, y, y_pred, sample_weight)
        self.unconnected.update(i for i, gradient in enumerate(gradients) if gradient is None)
        return [
            number,
            *(
                tf.zeros(v.shape, v.dtype) if gradient is None else _of_shape(gradient, v.shape)
                for gradient, v in zip(gradients, self.variables)
            ),
        ]

    def mean(self, gradients: list[tf.Tensor], weight: tf.Tensor) -> list[tf.Tensor]:
        """Summed gradients divided by the weight of their samples, and no longer scaled."""
        gradients = [total / tf.cast(weight, total.dtype) for total in gradients]
        optimizer = self.model.optimizer
        if isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            gradients = optimizer.get_unscaled_gradients(gradients)
        return gradients

    def reduce(self, total: Total, exact: Any) -> tuple[Total, Any]:
        """Sums what is not yet summed of the total, and nested tensors that must be exact, over the ranks in one group.

        With compression the gradients travel in a group of their own; the rest stays exact.
        """
        reduction = self.model.reduction
        mine = [total.gradients[place] for place in self.ranks.rest]
        compressed = reduction.compression is not None
        values = (total[:2], exact, [] if compressed else mine)
        name = "tflbt.counts" if compressed else "tflbt.update"
        sums = comm.all_reduce_sum(tf.nest.flatten(values), name, reduction.uncompressed)
        (seen, count), exact, rest = tf.nest.pack_sequence_as(values, sums)
        if compressed:
            rest = self.ranks.sums(mine, "tflbt.update")
        gradients = list(total.gradients)
        for place, gradient in zip(self.ranks.rest, rest):
            gradients[place] = gradient
        return Total(seen, count, gradients), exact

    def apply(self, total: Total, scalars: list[list[tf.Tensor]]) -> tf.Tensor:
        """Takes one optimizer step with the mean gradient; returns Keras's count of steps.

        The finite check and clipping are Keras's own and see the reduced gradient, so all ranks agree.
        """
        reduction, optimizer = self.model.reduction, self.model.optimizer
        weight = total.count / self.state.nominal
        if reduction.sum_over_ranks:
            weight = weight / reduction.factor
        gradients = self.mean(total.gradients, weight)
        gradients = self.rules.before_step(gradients, total.count, scalars)
        connected = [
            (gradient, variable)
            for i, (gradient, variable) in enumerate(zip(gradients, self.variables))
            if i not in self.unconnected
        ]
        # Keras's own aggregation, which would do nothing here, leaves a part of every graph behind for ever.
        known = inspect.signature(optimizer.apply_gradients).parameters
        done = {"skip_gradients_aggregation": True} if "skip_gradients_aggregation" in known else {}
        converted(optimizer.apply_gradients)(connected, **done)
        self.rules.after_update()
        self.state.samples_seen.assign_add(tf.cast(total.seen, tf.int64))
        return keras_internals.train_counter(self.model).assign_add(1).read_value()

    def end_of_data(self, iterator: Iterator[Any]) -> tf.Tensor:
        """Where no rank had a sample: raises the error on which Keras ends an epoch, unless it must go on."""
        counter = keras_internals.train_counter(self.model)

        def pull_again() -> tf.Tensor:
            tf.nest.map_structure(tf.identity, next(iterator))
            return counter.read_value()

        return tf.cond(self.state.data_may_end, pull_again, counter.read_value)


def _of_shape(gradient: Any, shape: tf.TensorShape) -> tf.Tensor:
    """A gradient as a dense tensor; where inputs have an unknown size, a kernel's gradient may have one too."""
    gradient = tf.convert_to_tensor(gradient)
    # Only there: TensorFlow sums the gradients of a graph in another order where each passes through an operation more.
    return gradient if gradient.shape.is_fully_defined() else tf.ensure_shape(gradient, shape)


def _compiled(function: Any) -> Any:
    """Compiles a function of a sub-batch with XLA."""
    return tf.function(function, jit_compile=True, reduce_retracing=True)
