"""Parts of the gradient are summed over the ranks while the rest is computed; every sum is what it would be anyway."""

from __future__ import annotations

import threading
import time

import horovod.tensorflow.keras as hvd
import numpy as np
import pytest
import tensorflow as tf

from tests.ranks.twins import K, X, Y, close, identical_on_ranks, large, network, plain
from tflbt.distributed import comm
from tflbt.training.ranks import early_sums
from tflbt.training.update_state import time_updates


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Every gradient is a part of its own, and begins early, over MPI too."""
    monkeypatch.setattr(comm, "sums_take_the_core", lambda: False)
    monkeypatch.setattr(early_sums, "PART", 8)
    monkeypatch.setattr(early_sums, "PARTS", 99)


def groups(model):
    """The names of Horovod's operations in a model's update."""
    (function,) = model.train_tf_function._list_all_concrete_functions_for_serialization()
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    return sorted(node.name.rpartition("/")[2] for node in nodes if "orovod" in node.op)


class Signal:
    """What one operation of a graph gives and another waits for; `found` says whether it came in time."""

    def __init__(self):
        self.there, self.found = threading.Event(), []

    def given(self, _):
        self.there.set()
        return np.float32(0)

    def awaited(self, _):
        self.found.append(self.there.wait(20))
        self.there.clear()
        return np.float32(0)


def after(function, tensor):
    """0, once the function has been called with the sum of a tensor."""
    zero = tf.numpy_function(function, [tf.reduce_sum(tensor)], tf.float32, stateful=False)
    return tf.ensure_shape(zero, [])


def test_the_last_layers_sum_is_there_before_the_first_layer_has_its_gradient(monkeypatch):
    monkeypatch.setenv("HOROVOD_DISABLE_GROUP_FUSION", "0")  # one after another
    signal = Signal()

    def all_reduce_sum(tensors, name, *arguments, **options):
        sums = in_comm(tensors, name, *arguments, **options)
        if name != "tflbt.update.part0":
            return sums
        zero = after(signal.given, sums[0])
        return [total + zero for total in sums]

    @tf.custom_gradient
    def waits(values):
        return tf.identity(values), lambda upstream: upstream + after(signal.awaited, upstream)

    in_comm = comm.all_reduce_sum
    monkeypatch.setattr(comm, "all_reduce_sum", all_reduce_sum)
    K.utils.set_random_seed(1)
    inputs = K.Input([5])
    hidden = K.layers.Lambda(waits)(K.layers.Dense(8, "tanh")(inputs))
    model, history = large(
        K.optimizers.SGD(0.1, momentum=0.9), K.Model(inputs, K.layers.Dense(2)(hidden)), sub_batch_size=8
    )  # fmt: skip
    assert signal.found == [True] * 6
    parts = [f"tflbt.update.part{number}.float32" for number in range(3)]
    assert groups(model) == ["tflbt.update.float32", *parts]
    wanted, of_keras = plain(K.optimizers.SGD(0.1, momentum=0.9))
    close(model.get_weights(), wanted.get_weights())
    close(history["loss"], of_keras["loss"])
    identical_on_ranks(model.get_weights(), "weights")


def test_a_sum_does_not_wait_for_the_end_of_another(monkeypatch):
    signal = Signal()

    def all_reduce_sum(tensors, name, *arguments, **options):
        functions = {"tflbt.update.part0": signal.awaited, "tflbt.update.part1": signal.given}
        if name in functions:
            zero = after(functions[name], tensors[0])
            tensors = [tensor + zero for tensor in tensors]
        return in_comm(tensors, name, *arguments, **options)

    in_comm = comm.all_reduce_sum
    monkeypatch.setattr(comm, "all_reduce_sum", all_reduce_sum)
    large(K.optimizers.SGD(0.1), network())
    assert comm.groups_stay_apart()
    assert signal.found == [True] * 6


def test_where_sums_would_take_the_only_core_they_begin_when_all_gradients_are_there(monkeypatch):
    monkeypatch.setattr(comm, "sums_take_the_core", lambda: True)
    computed, found = threading.Event(), []

    def late(_):
        time.sleep(0.1)
        computed.set()
        return np.float32(0)

    def begun(_):
        found.append(computed.is_set())
        computed.clear()
        return np.float32(0)

    def all_reduce_sum(tensors, name, *arguments, **options):
        if name == "tflbt.update.part0":
            zero = after(begun, tensors[0])
            tensors = [tensor + zero for tensor in tensors]
        return in_comm(tensors, name, *arguments, **options)

    @tf.custom_gradient
    def ends_late(values):
        return tf.identity(values), lambda upstream: upstream + after(late, upstream)

    in_comm = comm.all_reduce_sum
    monkeypatch.setattr(comm, "all_reduce_sum", all_reduce_sum)
    inputs = K.Input([5])
    hidden = K.layers.Lambda(ends_late)(K.layers.Dense(8, "tanh")(inputs))
    model = K.Model(inputs, K.layers.Dense(2)(hidden))
    large(K.optimizers.SGD(0.1), model, sub_batch_size=8)
    assert found == [True] * 6


def test_sub_batches_compression_and_times(monkeypatch):
    def trained():
        half = hvd.DistributedOptimizer(K.optimizers.SGD(0.1), compression=hvd.Compression.fp16)
        return large(half, network(norm=True))

    parts, history = trained()
    time_updates(parts)
    parts.fit(X, Y, batch_size=16, sub_batch_size=2, verbose=0, shuffle=False)
    seconds = parts.update_state.seconds.numpy()
    assert len(groups(parts)) == 7 and (seconds[1:] > 0).all(), seconds
    monkeypatch.setattr(early_sums, "PART", 2**20)
    whole, of_whole = trained()
    whole.fit(X, Y, batch_size=16, sub_batch_size=2, verbose=0, shuffle=False)
    assert len(groups(whole)) == 2
    for mine, other in zip(parts.get_weights(), whole.get_weights()):
        np.testing.assert_array_equal(mine, other)
    assert history == of_whole
