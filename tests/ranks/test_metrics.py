"""Metrics whose states are no sums have Keras's values over two ranks with sub-batches, or are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.ranks.twins import USUAL, K, X, Y, close, identical_on_ranks, large, plain
from tflbt.distributed import comm
from tflbt.training import LargeBatchModel


class OfErrors(K.metrics.Metric):
    """Takes the states' names and initial values from its class; `take` sees the errors."""

    dtypes = {"value": "float32"}
    start = 0.0

    def __init__(self, name=None, **options):
        super().__init__(name=name or type(self).__name__.lower(), **options)
        for state, dtype in self.dtypes.items():
            setattr(self, state, self.add_weight(state, dtype=dtype, initializer="zeros"))
        self.reset_state()

    def reset_state(self):
        for variable in self.weights:
            variable.assign(tf.cast(self.start, variable.dtype))

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.take(y_true - y_pred)

    def result(self):
        return tf.cast(self.value, tf.float32)


class Largest(OfErrors):
    def take(self, errors):
        self.value.assign(tf.maximum(self.value, tf.reduce_max(abs(errors))))


class Smallest(OfErrors):
    start = np.inf

    def take(self, errors):
        self.value.assign(tf.minimum(self.value, tf.reduce_min(abs(errors))))


class RunningMean(OfErrors):
    dtypes = {"value": "float32", "count": "float32"}

    def take(self, errors):
        number = tf.cast(tf.shape(errors)[0], tf.float32)
        self.count.assign_add(number)
        self.value.assign_add((tf.reduce_mean(errors) - self.value) * number / self.count)


class Exceeds(OfErrors):
    dtypes = {"value": "bool"}

    def take(self, errors):
        self.value.assign(self.value | tf.reduce_any(abs(errors) > 0.9 * self.limit))

    limit = 0.5


class Counts(OfErrors):
    dtypes = {"value": "int64", "count": "int32"}

    def take(self, errors):
        self.value.assign_add(tf.math.count_nonzero(abs(errors) > 0.5))
        self.count.assign_add(tf.size(errors))

    def result(self):
        return {"share": self.value / tf.cast(self.count, tf.int64), "number": self.count}


class Smoothed(Counts):
    dtypes = {"value": "float32", "count": "float32"}
    start = 1.0

    def take(self, errors):
        self.value.assign_add(tf.reduce_sum(errors))
        self.count.assign_add(tf.cast(tf.size(errors), tf.float32))

    def result(self):
        return self.value / self.count


class FromOne(Counts):
    """Begins with the value that its initializer has; Keras resets it to 0."""

    def __init__(self):
        super().__init__()
        self.value.assign(1)

    reset_state = K.metrics.Metric.reset_state


class Variance(OfErrors):
    dtypes = {"value": "float32", "count": "float32", "squares": "float32"}

    def join(self, mean, count, squares):
        apart, both = mean - self.value, self.count + count
        self.squares.assign_add(squares + apart**2 * self.count * count / both)
        self.value.assign_add(apart * count / both)
        self.count.assign(both)

    def take(self, errors):
        mean = tf.reduce_mean(errors)
        self.join(mean, tf.cast(tf.size(errors), tf.float32), tf.reduce_sum((errors - mean) ** 2))

    def merge_state(self, metrics):
        for metric in metrics:
            self.join(metric.value, metric.count, metric.squares)

    def result(self):
        return self.squares / self.count


class Unmerged(Variance):
    merge_state = K.metrics.Metric.merge_state


class Last(OfErrors):
    def take(self, errors):
        self.value.assign(tf.reduce_max(abs(errors)))


class InPython(OfErrors):
    dtypes = {}

    def reset_state(self):
        self.found = []

    def take(self, errors):
        tf.py_function(lambda e: self.found.append(float(tf.reduce_mean(e))), [errors], [])

    def result(self):
        return tf.py_function(lambda: np.float32(np.mean(self.found or [0])), [], tf.float32)


MERGED = [Largest, Smallest, RunningMean, Exceeds, Counts, Smoothed, FromOne, Variance]


def test_metrics_of_any_form_are_those_of_keras():
    options = {"validation_data": (X[:7], Y[:7]), "epochs": 2}
    (model, found), (twin, wanted) = (
        train(K.optimizers.SGD(0.1), metrics=[cls() for cls in MERGED], **options)
        for train in (large, plain)
    )
    assert found.keys() == wanted.keys()
    for name in found:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, err_msg=name)
    identical_on_ranks(found.values(), "metrics")
    close(model.evaluate(X[4:], Y[4:], verbose=0), twin.evaluate(X[4:], Y[4:], verbose=0), 1e-4)


def test_numbers_for_a_batch_count_once_per_update():
    def build(base):
        inputs = K.Input([5])
        code = K.layers.Dense(2)(inputs)
        model = base(inputs, code)
        model.add_loss(tf.reduce_mean((code - inputs[:, :2]) ** 2))
        model.add_metric(tf.reduce_mean(code), name="code")
        return model

    # The second update has 14 samples: on each rank 2 + 2 + 2 and a sub-batch of 2 on one of them alone.
    options = {"loss": None, "metrics": (), "data": (X,), "validation_data": (X[:7],)}
    histories = []
    for train, base in ((large, LargeBatchModel), (plain, K.Model)):
        K.utils.set_random_seed(1)
        histories.append(train(K.optimizers.SGD(0.1), build(base), **options)[1])
    history, wanted = histories
    assert history.keys() == wanted.keys() == {"loss", "code", "val_loss", "val_code"}
    for name in history:
        np.testing.assert_allclose(history[name], wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)
    identical_on_ranks(history.values(), "numbers")


@pytest.mark.parametrize("cls", [Unmerged, Last, InPython])
def test_metrics_that_nobody_can_merge_are_refused(cls):
    with pytest.raises(ValueError, match=rf"metric '{cls.__name__.lower()}' \({cls.__name__}\)"):
        large(K.optimizers.SGD(0.1), metrics=[cls()])
    comm.gather_objects(None, "refused")


def test_a_loss_that_is_a_sum_is_refused():
    with pytest.raises(ValueError, match="is a sum over samples"):
        large(K.optimizers.SGD(0.1), loss=lambda t, p: tf.reduce_sum((t - p) ** 2), **USUAL)
