"""Two ranks with sub-batches make the updates, and report the metrics, of one process with one batch."""

from __future__ import annotations

import horovod.tensorflow.keras as hvd
import numpy as np
import pytest
import tensorflow as tf

from tests.ranks.twins import (
    USUAL,
    K,
    X,
    Y,
    alone,
    check,
    close,
    identical_on_ranks,
    large,
    network,
    plain,
)
from tflbt.optimizers import LARS
from tflbt.training import LargeBatchModel

OPTIMIZERS = {
    "sgd": lambda: K.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: K.optimizers.Adam(0.01),
    "lars": lambda: LARS(0.5, momentum=0.9, weight_decay=1e-3, trust_coefficient=0.01),
    # A limit that an update's whole gradient exceeds: clipped once, after the reduction, or not equal.
    "clipped": lambda: K.optimizers.SGD(0.5, momentum=0.9, global_clipnorm=0.05),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_ranks_equal_plain_keras(name):
    optimizer = OPTIMIZERS[name]
    wanted, trained = plain(optimizer()), large(optimizer())
    check(trained, wanted)
    assert int(trained[0].optimizer.iterations) == 6 and trained[0].samples_seen == 90
    if name in ("lars", "clipped"):  # the wrapper comes off, whatever is in it
        check(large(hvd.DistributedOptimizer(optimizer())), wanted)
    if name == "clipped":
        free, _ = plain(K.optimizers.SGD(0.5, momentum=0.9))
        assert not np.allclose(wanted[0].get_weights()[0], free.get_weights()[0], atol=1e-2)


def test_eager_training_is_the_same():
    model = LargeBatchModel.from_model(network())
    model.compile(OPTIMIZERS["adam"](), "mse", ["mae"], run_eagerly=True)
    check((model, model.fit(X, Y, **USUAL).history), plain(OPTIMIZERS["adam"]()))


def test_metrics_that_are_no_means_sample_weights_validation_and_evaluation():
    labels, weight = (X.sum(1) > 0).astype("int64"), np.linspace(0, 1, 30).astype("float32")
    results = [
        train(
            K.optimizers.SGD(0.1),
            network(outputs=1, activation="sigmoid"),
            "binary_crossentropy",
            ["accuracy", K.metrics.AUC(name="auc"), K.metrics.Precision(name="precision")],
            (X, labels),
            sample_weight=weight,
            validation_data=(X[:7], labels[:7]),
        )
        for train in (large, plain)
    ]
    check(*results)
    evaluated = [model.evaluate(X, labels, sample_weight=weight, verbose=0) for model, _ in results]
    close(*evaluated)
    identical_on_ranks([evaluated[0]], "evaluated")


def reductions(model):
    """The kinds of Horovod's operations in a model's update."""
    (function,) = model.train_tf_function._list_all_concrete_functions_for_serialization()
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    return [node.op for node in nodes if "orovod" in node.op]


@pytest.mark.parametrize("wrapper", [lambda optimizer: optimizer, hvd.DistributedOptimizer])
def test_an_update_has_one_group_of_all_reduces(wrapper):
    model, _ = large(wrapper(K.optimizers.Adam(0.01)))
    assert reductions(model) == ["HorovodGroupedAllreduce"], reductions(model)


def test_batch_norm_sees_sub_batches():
    """Two ranks of k samples equal one rank of 2 k."""
    trained, _ = large(K.optimizers.SGD(0.1), network(norm=True))
    reference, _ = large(alone(K.optimizers.SGD(0.1)), network(norm=True))
    close(
        [v.numpy() for v in trained.trainable_variables],
        [v.numpy() for v in reference.trainable_variables],
    )
    identical_on_ranks(trained.get_weights(), "moving statistics too")
    assert not np.allclose(trained.get_weights()[4], 0)


def test_each_rank_trains_its_own_model_at_the_same_time(rank):
    """In its own process set."""
    mine = {"data": (X[rank::2], Y[rank::2]), "epochs": 2 + rank}
    model, _ = large(alone(K.optimizers.Adam(0.01)), network(seed=rank), **mine)
    wanted, _ = plain(K.optimizers.Adam(0.01), network(seed=rank), **mine)
    close(model.get_weights(), wanted.get_weights())
    assert model.reduction.size == 1 and model.batch_plan.sub_batches == 8


def test_compression_and_sum():
    sgd = OPTIMIZERS["sgd"]
    half = hvd.DistributedOptimizer(sgd(), compression=hvd.Compression.fp16)
    (compressed, _), (exact, _), (wanted, _) = large(half), large(sgd()), plain(sgd())
    close(compressed.get_weights(), wanted.get_weights(), 2e-3)
    identical_on_ranks(compressed.get_weights(), "compressed")
    assert set(reductions(compressed)) == {"HorovodGroupedAllreduce"}
    assert not np.array_equal(compressed.get_weights()[0], exact.get_weights()[0])
    check(
        large(hvd.DistributedOptimizer(K.optimizers.SGD(0.05), op=hvd.Sum)),
        plain(K.optimizers.SGD(0.1)),
    )


def of_unknown_length(x, y, size):
    return tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda *_: True).batch(size)


def test_datasets_of_unequal_unknown_lengths(rank):
    """Nobody waits for ever, every sample counts."""
    first = 22  # rank 0: 11 sub-batches, rank 1: 4
    share = slice(0, first) if rank == 0 else slice(first, 30)
    model, history = large(
        K.optimizers.SGD(0.1),
        data=(of_unknown_length(X[share], Y[share], 2),),
        batch_size=16,
        sub_batch_size=2,
        validation_data=of_unknown_length(X[share], Y[share], 2),
        epochs=2,
    )
    assert int(model.optimizer.iterations) == 6 and model.samples_seen == 60
    identical_on_ranks([*model.get_weights(), *history.values()], "unknown")

    # The samples that the two ranks' sub-batches bring to each update, one process at a time.
    updates = [[*range(8), *range(22, 30)], [*range(8, 16)], [*range(16, 22)]]
    reference = network()
    reference.compile(K.optimizers.SGD(0.1), "mse")
    for update in updates * 2:
        reference.train_on_batch(X[update], Y[update])
    close(model.get_weights(), reference.get_weights())
    close(history["val_loss"][-1:], [reference.evaluate(X, Y, verbose=0)])
    close(
        model.evaluate(of_unknown_length(X[share], Y[share], 2), verbose=0),
        [history["val_loss"][-1], history["val_mae"][-1]],
    )


class Late(LargeBatchModel):
    """A model whose weights and metrics do not exist before the first batch."""

    def __init__(self):
        super().__init__()
        self.inner = K.Sequential([K.layers.Dense(8, "tanh"), K.layers.Dense(2)])

    def call(self, inputs):
        return self.inner(inputs)


def test_a_generator_and_a_model_that_is_built_late(rank):
    def generated():
        while True:
            for start in range(2 * rank, 28, 4):
                yield X[start : start + 2], Y[start : start + 2]

    def metrics():
        return ["mae", K.metrics.RootMeanSquaredError(name="root")]

    options = {"batch_size": 28, "steps_per_epoch": 7, "verbose": 0}
    late = Late()
    late.compile(K.optimizers.SGD(0.1), "mse", metrics())
    history = late.fit(generated(), **options).history
    identical_on_ranks([*late.get_weights(), *history.values()], "late")
    assert late.batch_plan.sub_batches == 7 and int(late.optimizer.iterations) == 1
    # The loss of the one update is that of the weights before it, which are the chief's: undo nothing, compare with
    # Keras.
    again = Late()
    again(X)
    again.set_weights(late.get_weights())
    again.compile(K.optimizers.SGD(0.0), "mse", metrics())
    history = again.fit(generated(), **options).history
    twin = K.Sequential([K.Input([5]), K.layers.Dense(8, "tanh"), K.layers.Dense(2)])
    twin.set_weights(late.get_weights())
    twin.compile("sgd", "mse", metrics())
    close(
        [history[name][0] for name in ("loss", "mae", "root")],
        twin.evaluate(X[:28], Y[:28], verbose=0),
    )


def compute_metrics(self, x, y, y_pred, sample_weight):
    """Results of metrics, also under another name, and values that are no metric's."""
    self.spread.update_state(tf.abs(y_pred))
    results = K.Model.compute_metrics(self, x, y, y_pred, sample_weight)
    mean = tf.reduce_mean(y_pred)
    return {**results, "renamed": self.spread.result(), "mean": mean, "constant": 42.0}


def test_step(self, data):
    x, y = data
    self.spread.update_state(tf.abs(self(x)))
    return {"spread": self.spread.result(), "error": tf.reduce_mean(tf.abs(self(x) - y))}


test_step.__test__ = False


def test_what_a_class_returns_and_what_hangs_on_a_model():
    """Two ranks evaluate 4 samples each at a time, as Keras does 8."""
    data, results = (X[:24], Y[:24]), []
    for base in (K.Model, LargeBatchModel):
        body = network()
        own = {"compute_metrics": compute_metrics, "test_step": test_step}
        model = type("Own", (base,), own)(body.input, body.output)
        model.spread = K.metrics.Mean("spread")
        model.add_loss(0.1 * tf.reduce_mean(body.layers[1].output ** 2))
        model.compile(K.optimizers.SGD(0.1), "mse", ["mae"])
        more, size = ({}, 8) if base is K.Model else ({"sub_batch_size": 2}, 4)
        fit = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0, **more}
        history = model.fit(*data, validation_data=data, validation_batch_size=size, **fit).history
        results.append((model, history))
    check(*reversed(results))


def test_single_batches_of_ranks_that_never_fit_are_the_chiefs_model(rank):
    """Each rank gives its own batch, of its own size."""
    shares = (slice(0, 18), slice(18, 30))
    model = LargeBatchModel.from_model(network(seed=1 + rank))
    model.compile(K.optimizers.Adam(0.01), "mse", ["mae"])
    wanted = network(seed=1)
    wanted.compile(K.optimizers.Adam(0.01), "mse", ["mae"])
    for _ in range(3):
        found = model.train_on_batch(X[shares[rank]], Y[shares[rank]])
        close(found, wanted.train_on_batch(X, Y))
    close(model.get_weights(), wanted.get_weights())
    identical_on_ranks(model.get_weights(), "single batches")
    close(model.test_on_batch(X[shares[rank]], Y[shares[rank]]), wanted.test_on_batch(X, Y))
    assert int(model.optimizer.iterations) == 3


@pytest.mark.parametrize("call", ["evaluate", "test_on_batch"])
def test_an_evaluation_before_any_fit_is_of_the_chiefs_model(call, rank):
    model = LargeBatchModel.from_model(network(seed=1 + rank))
    model.compile("sgd", "mse", ["mae"])
    wanted = network(seed=1)
    wanted.compile("sgd", "mse", ["mae"])
    share = slice(None) if call == "evaluate" else slice(15 * rank, 15 * rank + 15)
    close(getattr(model, call)(X[share], Y[share]), getattr(wanted, call)(X, Y))
    identical_on_ranks(model.get_weights(), "evaluated")
