"""What an overridden `compute_metrics` or `test_step` returns is logged as in Keras, or as a mean, with a notice."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel

K = tf.keras


def network(base, **methods):
    """The same network with methods of its own, as a plain model or a LargeBatchModel."""
    K.utils.set_random_seed(1)
    inputs = K.Input([5])
    model = type("Own", (base,), methods)(inputs, K.layers.Dense(2)(inputs))
    model.own = K.metrics.Mean("own")
    return model


def compute_metrics(self, x, y, y_pred, sample_weight):
    """Results of metrics, under other names too; means and maxima of a batch; what depends on no sample."""
    self.own.update_state(tf.reduce_sum(y_pred, 1))
    results = K.Model.compute_metrics(self, x, y, y_pred, sample_weight)
    results["renamed"] = self.own.result()
    results["root"] = tf.sqrt(self.own.result() ** 2)
    results["mean"] = tf.reduce_mean(y_pred)
    results["columns"] = tf.reduce_mean(y_pred, 0)
    results["largest"] = tf.reduce_max(y_pred)
    results["rate"] = self.optimizer.learning_rate
    results["constant"] = 42
    return results


def test_step(self, data):
    x, y = data
    self.own.update_state(self(x))
    return {"own": self.own.result(), "error": tf.reduce_mean(tf.abs(self(x) - y)), "answer": 42.0}


test_step.__test__ = False


def test_what_compute_metrics_returns_is_also_that_of_evaluation(samples, caplog):
    def only(self, x, y, y_pred, sample_weight):
        results = K.Model.compute_metrics(self, x, y, y_pred, sample_weight)
        return {"only": results["mae"], "largest": tf.reduce_max(y_pred)}

    histories = []
    for base in (K.Model, LargeBatchModel):
        model = network(base, compute_metrics=only)
        model.compile("sgd", "mse", ["mae"], run_eagerly=base is K.Model)  # Keras needs no trace
        model.evaluate(*samples, verbose=0)  # the metrics do not exist yet
        histories.append(model.fit(*samples, validation_data=samples, verbose=0).history)
    wanted, found = histories
    assert list(found) == list(wanted) == ["only", "largest", "val_only", "val_largest"]
    for name in wanted:  # one sub-batch is all, so even the maximum is
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5)
    assert caplog.text.count("Own.compute_metrics returns largest, not results") == 2


@pytest.mark.parametrize("arguments", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_results_are_kerass(arguments, samples, caplog):
    x, y = (part[:24] for part in samples)
    histories, scores = [], []
    plain, large = (K.Model, {}), (LargeBatchModel, {"sub_batch_size": 4})
    for (base, more), how in ((plain, {"run_eagerly": True}), (large, arguments)):
        model = network(base, compute_metrics=compute_metrics, test_step=test_step)
        model.compile(K.optimizers.SGD(0.1), "mse", ["mae"], **how)
        fit = {"batch_size": 12, "epochs": 2, "shuffle": False, "verbose": 0, **more}
        validation = {"validation_data": (x, y), "validation_batch_size": 8}
        histories.append(model.fit(x, y, **fit, **validation).history)
        scores.append(model.evaluate(x, y, batch_size=8, verbose=0))
    wanted, found = histories
    assert list(found) == list(wanted)
    # The mean over sub-batches of a maximum is none, which the notice says.
    assert np.all(np.array(found["largest"]) <= wanted["largest"])
    # Outside of a graph nothing says that a value depends on metrics alone.
    apart = {"largest", "root"} if arguments.get("run_eagerly") else {"largest"}
    for name in wanted.keys() - apart:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-5)
    text = "Own.compute_metrics returns root, mean, columns, largest, rate, constant, not results"
    assert caplog.text.count(text) == 1
    assert caplog.text.count("Own.test_step returns error, answer, not results") == 1


def test_kerass_own_results_cost_nothing(samples, caplog):
    model = network(LargeBatchModel)
    model.compile("sgd", "mse")
    model.fit(*samples, verbose=0)
    assert "not results of metrics" not in caplog.text


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (lambda y_pred: {"outputs": y_pred}, "returns 'outputs', which is neither"),
        (lambda y_pred: {"nested": {"a": 1}}, "returns 'nested', which is neither"),
        (lambda y_pred: {"text": "a"}, "returns 'text', which is neither"),
        (lambda y_pred: [tf.reduce_mean(y_pred)], "must return a dict"),
    ],
)
def test_results_that_cannot_be_merged(results, message, samples):
    model = network(LargeBatchModel, compute_metrics=lambda self, x, y, y_pred, w: results(y_pred))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=f"Own.compute_metrics {message}"):
        model.fit(*samples, verbose=0)
