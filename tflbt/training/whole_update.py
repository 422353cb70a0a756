"""Choosing samples by the losses of a whole update: a pass for the losses, then one for the gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tflbt.distributed import comm
from tflbt.training.keras_internals import random_generators
from tflbt.training.pending_metrics import metric_variables, preserved
from tflbt.training.rules.rule import Rules
from tflbt.training.sample_losses import sample_losses
from tflbt.training.stopwatch import Lap
from tflbt.training.sub_batches import pull
from tflbt.training.update_state import TrainingModel


def two_passes(
    model: TrainingModel,
    iterator: Iterator[Any],
    lap: Lap,
    add: Callable[[Any, Any, tf.Tensor], Any],
    total: Any,
) -> Any:
    """Adds up the gradients of the samples that are chosen when all losses of an update are compared.

    The first pass leaves no trace: batch normalisation's moving statistics, metrics and random generators are restored
    after every sub-batch. Sub-batch i of rank r is the update's sub-batch i R + r, which gives each sample its place in
    the vector of losses that the ranks add up, so that samples are compared in the update's order, whatever the split.
    `add(total, sub-batch, chosen)` takes in a sub-batch, with which of its samples are chosen, bool `[n]`.
    """
    reduction, ranks = model.reduction.uncompressed, model.reduction.size_in_graph
    spec = iterator.element_spec  # type: ignore[attr-defined]
    steps = tf.convert_to_tensor(model.sub_batches_variable)
    size = tf.cast(model.update_state.nominal, tf.int32)
    room = tf.cast(steps, tf.int32) * ranks * size
    temporary = [
        *model.non_trainable_variables,
        *metric_variables(model),
        *(generator.state for generator in random_generators(model)),
    ]

    def places(number: tf.Tensor, data: Any) -> tf.Tensor:
        count = tf.shape(tf.nest.flatten(data)[0])[0]
        message = "a sub-batch has more samples than sub_batch_size says"
        tf.debugging.assert_less_equal(count, size, message)
        return (number * ranks + reduction.rank_in_graph) * size + tf.range(count)

    def measure(step: tf.Tensor, data: Any, state: Any) -> Any:
        number, losses, stored = state
        data = model.rules.prepare(step, data)
        with preserved(temporary):
            x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
            new = sample_losses(model, x, y, model(x, training=True), sample_weight)
        new = tf.stack([new, tf.ones_like(new)], axis=1)
        losses = tf.tensor_scatter_nd_update(losses, places(number, data)[:, None], new)
        return number + 1, losses, tf.nest.map_structure(_push, stored, tf.nest.flatten(data))

    empty = [_empty(leaf) for leaf in tf.nest.flatten(spec)]
    nothing = (tf.constant(0), tf.zeros([room, 2]), empty)
    number, losses, stored = pull(iterator, steps, measure, nothing, lap)
    losses = lap("computation", losses)
    (losses,) = comm.all_reduce_sum([losses], "tflbt.losses", reduction)
    chosen = _chosen(model.rules, lap("communication", losses))

    def again(i: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
        leaves = [_item(leaf, values, i) for leaf, values in zip(tf.nest.flatten(spec), stored)]
        data = tf.nest.pack_sequence_as(spec, leaves)
        return i + 1, add(total, data, tf.gather(chosen, places(i, data)))

    start = (tf.constant(0), total)
    return tf.while_loop(lambda i, _: i < number, again, start, parallel_iterations=1)[1]


def _chosen(rules: Rules, losses: tf.Tensor) -> tf.Tensor:
    """What the chooser of the rules chooses, bool `[room]`, given losses and whether there is a sample, `[room, 2]`."""
    there = tf.where(losses[:, 1] > 0)
    best = rules.choose(tf.gather_nd(losses[:, 0], there))
    return tf.scatter_nd(there, tf.cast(best, tf.int32), tf.shape(losses, tf.int64)[:1]) > 0


# Lists of tensors of different lengths, in the host's memory; tf.TensorArray cannot pass through `pull`'s loop.
def _empty(leaf: tf.TensorSpec) -> tf.Tensor:
    with tf.device("CPU:0"):
        return tf.raw_ops.EmptyTensorList(
            element_shape=-1, max_num_elements=-1, element_dtype=leaf.dtype
        )


def _push(values: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    with tf.device("CPU:0"):
        return tf.raw_ops.TensorListPushBack(input_handle=values, tensor=value)


def _item(leaf: tf.TensorSpec, values: tf.Tensor, i: tf.Tensor) -> tf.Tensor:
    with tf.device("CPU:0"):
        value = tf.raw_ops.TensorListGetItem(
            input_handle=values, index=i, element_shape=-1, element_dtype=leaf.dtype
        )
    return tf.ensure_shape(value, [None, *leaf.shape[1:]])
