"""One update: pull sub-batches, add their gradients up, reduce once over the ranks, apply once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tflbt.distributed import comm
from tflbt.training import keras_internals, stopwatch
from tflbt.training.pending_metrics import PendingMetrics, metric_variables
from tflbt.training.rules import adversarial, small_loss, whole_update
from tflbt.training.sub_batches import first_dimension, pull


class UpdateState:
    """What an update needs besides the model: variables that are no weights and must not be saved as such.

    Attributes:
        nominal: Samples of a full sub-batch; a sub-batch of n samples weighs n / nominal.
        samples_seen: Samples of all ranks that went into updates since the model was compiled.
        data_may_end: Whether an update that finds no data ends the epoch, or is passed over.
        adversarial_share: Share of the samples of an update that are adversarial; see `tflbt.training.FGSM`.
        discarded_share: Share of the samples that are discarded; see `tflbt.training.SmallLossDiscarding`.
        seconds: float64 `[3]`, what updates spent waiting for input, computing, and communicating.
    """

    def __init__(self) -> None:
        self.nominal = tf.Variable(1.0, trainable=False, name="tflbt_nominal")
        self.samples_seen = tf.Variable(
            0, trainable=False, dtype=tf.int64, name="tflbt_samples_seen"
        )
        self.data_may_end = tf.Variable(True, trainable=False, name="tflbt_data_may_end")
        with tf.device("CPU:0"):
            self.adversarial_share = tf.Variable(
                0.0, trainable=False, dtype=tf.float64, name="tflbt_adversarial_share"
            )
            self.discarded_share = tf.Variable(
                0.0, trainable=False, dtype=tf.float64, name="tflbt_discarded_share"
            )
            self.seconds = tf.Variable(
                [0.0, 0.0, 0.0], trainable=False, dtype=tf.float64, name="tflbt_seconds"
            )


def sub_batch_gradients(
    model: tf.keras.Model,
    state: UpdateState,
    data: Any,
    choose: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
    """Gradients of one sub-batch's mean loss times its weight n / nominal; updates loss and metrics.

    Mean losses weighted by sample counts make regularisation terms come out once, however many sub-batches there
    are. Under a LossScaleOptimizer the gradients are still scaled.

    Args:
        model: The model.
        state: Its update state.
        data: The sub-batch.
        choose: Which samples count, bool `[n]`, given their losses; None: all.

    Returns:
        n, the number of samples that count, and the gradients.
    """
    x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
    optimizer = model.optimizer
    with tf.GradientTape() as tape:
        y_pred = model(x, training=True)
        if choose is None:
            loss, number = model.compute_loss(x, y, y_pred, sample_weight), first_dimension(x)
        else:
            with tape.stop_recording():
                losses = small_loss.sample_losses(model, x, y, y_pred, sample_weight)
                chosen = choose(losses)
            loss, number = small_loss.loss_of(
                model, x, y, y_pred, sample_weight, chosen, metric_variables(model)
            )
        loss *= tf.cast(number / state.nominal, loss.dtype)
        if isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            loss = optimizer.get_scaled_loss(loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    model.compute_metrics(x, y, y_pred, sample_weight)
    return number, [
        None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients
    ]


def make_update(model: tf.keras.Model, state: UpdateState) -> Any:
    """Builds the train function: one call is one update of `steps_per_execution` sub-batches.

    Returns:
        A function of an iterator over sub-batches that returns the metrics so far in this epoch, over all ranks.
    """
    variables = model.trainable_variables
    unconnected: set[int] = set()

    def gradients_of(data: Any, choose: Any = None) -> list[tf.Tensor]:
        number, gradients = sub_batch_gradients(model, state, data, choose)
        unconnected.update(i for i, gradient in enumerate(gradients) if gradient is None)
        return [
            number,
            *(
                tf.zeros(v.shape, v.dtype) if gradient is None else gradient
                for gradient, v in zip(gradients, variables)
            ),
        ]

    @_compiled_for(model)
    def of_all(data: Any) -> list[tf.Tensor]:
        return gradients_of(data)

    @_compiled_for(model)
    def of_larger_losses(data: Any) -> list[tf.Tensor]:
        share = tf.convert_to_tensor(state.discarded_share)
        return gradients_of(data, lambda losses: small_loss.kept(losses, share))

    @_compiled_for(model)
    def of_chosen(data: Any, chosen: tf.Tensor) -> list[tf.Tensor]:
        return gradients_of(data, lambda losses: chosen)

    def prepared(step: tf.Tensor, data: Any) -> Any:
        if model.adversarial is None:
            return data
        return make_adversarial(model, state, step, data)

    def one_pass(iterator: Iterator[Any], compute: Any, initial: list[tf.Tensor]) -> Any:
        def accumulate(
            step: tf.Tensor, data: Any, seen: tf.Tensor, *sums: tf.Tensor
        ) -> list[tf.Tensor]:
            parts = compute(prepared(step, data))
            return [
                seen + first_dimension(data),
                *(total + part for total, part in zip(sums, parts)),
            ]

        steps = tf.convert_to_tensor(model.sub_batches_variable)
        waited, *sums = pull(iterator, steps, accumulate, initial)
        return [waited, tf.constant(0.0, tf.float64), *sums]

    def collect(iterator: Iterator[Any], initial: list[tf.Tensor]) -> list[tf.Tensor]:
        """Seconds waited and communicated, samples seen, samples that count, sums of gradients."""
        if model.small_loss is None:
            return one_pass(iterator, of_all, initial)

        def discarding() -> list[tf.Tensor]:
            if model.small_loss.scope == "update":
                return whole_update.two_passes(model, state, iterator, prepared, of_chosen, initial)
            return one_pass(iterator, of_larger_losses, initial)

        return tf.cond(
            state.discarded_share > 0, discarding, lambda: one_pass(iterator, of_all, initial)
        )

    def update(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        reduction, counter = model.reduction, keras_internals.train_counter(model)
        pending = PendingMetrics(model, reduction)
        begin = stopwatch.now([])
        zeros = [
            tf.constant(0.0),
            tf.constant(0.0),
            *(tf.zeros(v.shape, v.dtype) for v in variables),
        ]
        waited, compared, *local = collect(iterator, stopwatch.not_before(begin, zeros))
        local += pending.local()
        computed = stopwatch.now(local)
        seen, count, *local = stopwatch.not_before(computed, local)
        seen, count, sums, metrics = reduce_update(
            model, [seen, count], local[: len(variables)], local[len(variables) :]
        )
        reduced = stopwatch.now([count, *sums, *metrics])
        pending.settle(metrics)

        def apply() -> tf.Tensor:
            apply_update(model, sums, count / state.nominal, unconnected)
            state.samples_seen.assign_add(tf.cast(seen, tf.int64))
            return counter.assign_add(1).read_value()

        def pull_again() -> tf.Tensor:
            # No rank had a sample: this raises the end-of-data error that Keras ends an epoch on.
            tf.nest.map_structure(tf.identity, next(iterator))
            return counter.read_value()

        def end_of_data() -> tf.Tensor:
            return tf.cond(state.data_may_end, pull_again, counter.read_value)

        (count,) = stopwatch.not_before(reduced, [count])
        applied = stopwatch.now([tf.cond(count > 0, apply, end_of_data)])
        communicated = reduced - computed + compared
        state.seconds.assign_add([waited, applied - begin - waited - communicated, communicated])
        return model.get_metrics_result()

    return update


def _compiled_for(model: tf.keras.Model) -> Callable[[Any], Any]:
    """Compiles a function of a sub-batch with XLA where the model asks for it."""
    if not model.jit_compile:
        return lambda function: function
    return tf.function(jit_compile=True, reduce_retracing=True)


def make_adversarial(model: tf.keras.Model, state: UpdateState, step: tf.Tensor, data: Any) -> Any:
    """Sub-batch number `step` of this rank's share of an update, with its adversarial samples in it."""
    reduction = model.reduction
    size = tf.cast(state.nominal, tf.int32)
    first = (tf.cast(step, tf.int32) * reduction.size + reduction.rank) * size
    count = tf.cast(first_dimension(data), tf.int32)
    places = adversarial.chosen(first, count, state.adversarial_share)
    return adversarial.with_adversarial_samples(
        model, model.adversarial, data, places, metric_variables(model)
    )


def reduce_update(
    model: tf.keras.Model,
    counts: list[tf.Tensor],
    sums: list[tf.Tensor],
    metrics: list[tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    """Sums two counts of samples, gradients, and metric states over the ranks in one Horovod group.

    With compression the gradients travel in a group of their own, divided beforehand by the number of
    sub-batches of the whole update so that float16 cannot overflow; the counts stay exact.
    """
    reduction = model.reduction
    if reduction.compression is None:
        seen, count, *rest = comm.all_reduce_sum(
            [*counts, *sums, *metrics], "tflbt.update", reduction
        )
        return seen, count, rest[: len(sums)], rest[len(sums) :]
    plain = reduction.uncompressed
    seen, count, *metrics = comm.all_reduce_sum([*counts, *metrics], "tflbt.counts", plain)
    parts = tf.cast(model.sub_batches_variable, tf.float32) * reduction.size
    shares = [total / tf.cast(parts, total.dtype) for total in sums]
    shares = comm.all_reduce_sum(shares, "tflbt.update", reduction)
    return seen, count, [share * tf.cast(parts, share.dtype) for share in shares], metrics


def apply_update(
    model: tf.keras.Model, sums: list[tf.Tensor], weight: tf.Tensor, unconnected: set[int]
) -> None:
    """Divides the summed gradients by their weight and takes one optimizer step.

    Unscaling, the finite check and clipping are Keras's own and see the reduced gradient, so all ranks agree.
    """
    if model.reduction.sum_over_ranks:
        weight = weight / model.reduction.size
    gradients = [total / tf.cast(weight, total.dtype) for total in sums]
    optimizer = model.optimizer
    if isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
        gradients = optimizer.get_unscaled_gradients(gradients)
    connected = [
        (gradient, variable)
        for i, (gradient, variable) in enumerate(zip(gradients, model.trainable_variables))
        if i not in unconnected
    ]
    # Keras's own aggregation, which would do nothing here, leaves a part of every graph behind for ever.
    known = inspect.signature(optimizer.apply_gradients).parameters
    done = {"skip_gradients_aggregation": True} if "skip_gradients_aggregation" in known else {}
    optimizer.apply_gradients(connected, **done)
