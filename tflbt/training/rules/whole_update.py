"""Small-loss discarding over a whole update: one pass for all losses, one for the gradients of what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tflbt.distributed import comm
from tflbt.training import stopwatch
from tflbt.training.keras_internals import random_generators
from tflbt.training.pending_metrics import metric_variables
from tflbt.training.preserved import preserved
from tflbt.training.rules import small_loss
from tflbt.training.sub_batches import pull


def two_passes(
    model: tf.keras.Model,
    state: Any,
    iterator: Iterator[Any],
    prepared: Callable[[tf.Tensor, Any], Any],
    gradients: Callable[[Any, tf.Tensor], list[tf.Tensor]],
    initial: list[tf.Tensor],
) -> list[tf.Tensor]:
    """Adds up the gradients of the samples that are kept when all losses of an update are compared.

    The first pass leaves no trace: batch normalisation's moving statistics, metrics and random generators are put back
    after every sub-batch. Sub-batch i of rank r is the update's sub-batch i R + r, which gives each sample its place in
    the vector of losses that the ranks add up: equal losses are discarded in the update's order, whatever the split.

    Args:
        model: The model in training.
        state: Its update state.
        iterator: Over this rank's sub-batches.
        prepared: Makes a sub-batch's adversarial samples, given its number.
        gradients: (number of samples that count, gradients...) of a sub-batch, given what is chosen of it.
        initial: Zeros for the samples seen, those that count, and the sums of gradients.

    Returns:
        Seconds waited for data, seconds of communication, and what `initial` became.
    """
    reduction, ranks = model.reduction.uncompressed, model.reduction.size
    spec = iterator.element_spec  # type: ignore[attr-defined]
    steps = tf.convert_to_tensor(model.sub_batches_variable)
    size = tf.cast(state.nominal, tf.int32)
    room = tf.cast(steps, tf.int32) * ranks * size
    temporary = [
        *model.non_trainable_variables,
        *metric_variables(model),
        *(generator.state for generator in random_generators(model)),
    ]

    def places(number: tf.Tensor, data: Any) -> tf.Tensor:
        count = tf.shape(tf.nest.flatten(data)[0])[0]
        tf.debugging.assert_less_equal(
            count, size, "a sub-batch has more samples than sub_batch_size says"
        )
        return (number * ranks + reduction.rank) * size + tf.range(count)

    def measure(
        step: tf.Tensor, data: Any, number: tf.Tensor, told: tf.Tensor, *kept: tf.Tensor
    ) -> list[tf.Tensor]:
        data = prepared(step, data)
        with preserved(temporary):
            x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
            losses = small_loss.sample_losses(model, x, y, model(x, training=True), sample_weight)
        losses = tf.stack([losses, tf.ones_like(losses)], axis=1)
        told = tf.tensor_scatter_nd_update(told, places(number, data)[:, None], losses)
        return [number + 1, told, *map(_push, kept, tf.nest.flatten(data))]

    nothing = [tf.constant(0), tf.zeros([room, 2]), *map(_empty, tf.nest.flatten(spec))]
    waited, number, told, *kept = pull(iterator, steps, measure, nothing)
    asked = stopwatch.now([told])
    (told,) = comm.all_reduce_sum(stopwatch.not_before(asked, [told]), "tflbt.losses", reduction)
    answered = stopwatch.now([told])
    (told,) = stopwatch.not_before(answered, [told])
    chosen = _chosen(told, state.discarded_share)

    def accumulate(one: tf.Tensor, seen: tf.Tensor, *sums: tf.Tensor) -> list[tf.Tensor]:
        data = tf.nest.map_structure(
            lambda leaf, held: _item(leaf, held, one), spec, tf.nest.pack_sequence_as(spec, kept)
        )
        here = tf.gather(chosen, places(one, data))
        parts = gradients(data, here)
        seen += tf.cast(tf.size(here), seen.dtype)
        return [one + 1, seen, *(total + part for total, part in zip(sums, parts))]

    _, *sums = tf.while_loop(
        lambda one, *_: one < number, accumulate, [tf.constant(0), *initial], parallel_iterations=1
    )
    return [waited, answered - asked, *sums]


def _chosen(told: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """What is kept, bool `[room]`, given losses and whether there is a sample, `[room, 2]`."""
    there = tf.where(told[:, 1] > 0)
    best = small_loss.kept(tf.gather_nd(told[:, 0], there), tf.convert_to_tensor(share))
    return tf.scatter_nd(there, tf.cast(best, tf.int32), tf.shape(told, tf.int64)[:1]) > 0


# Lists of tensors of different lengths, in the host's memory; tf.TensorArray cannot pass through `pull`'s loop.
def _empty(leaf: tf.TensorSpec) -> tf.Tensor:
    with tf.device("CPU:0"):
        return tf.raw_ops.EmptyTensorList(
            element_shape=-1, max_num_elements=-1, element_dtype=leaf.dtype
        )


def _push(held: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    with tf.device("CPU:0"):
        return tf.raw_ops.TensorListPushBack(input_handle=held, tensor=value)


def _item(leaf: tf.TensorSpec, held: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    with tf.device("CPU:0"):
        value = tf.raw_ops.TensorListGetItem(
            input_handle=held, index=number, element_shape=-1, element_dtype=leaf.dtype
        )
    return tf.ensure_shape(value, [None, *leaf.shape[1:]])
