"""Small-loss discarding against NumPy: which samples go, and the gradient of what stays."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel, SmallLossDiscarding
from tflbt.training.rules.small_loss import larger

RATE = 0.1


def linear(weight_decay: float = 0.0, dropout: float = 0.0) -> LargeBatchModel:
    """One linear unit with weights of one; the squared error of sample i is (x_i . w - y_i)^2."""
    inputs = tf.keras.Input([5])
    hidden = tf.keras.layers.Dropout(dropout)(inputs) if dropout else inputs
    decay = tf.keras.regularizers.L2(weight_decay)
    unit = tf.keras.layers.Dense(
        1, use_bias=False, kernel_initializer="ones", kernel_regularizer=decay
    )
    model = LargeBatchModel(inputs, unit(hidden))
    model.compile(tf.keras.optimizers.SGD(RATE), "mse")
    return model


def trained(samples, small_loss=None, model=None, **arguments):
    model = model or linear()
    x, y = samples[0], samples[1][:, :1]
    usual = {"batch_size": 16, "sub_batch_size": 4, "shuffle": False, "verbose": 0}
    history = model.fit(x, y, small_loss=small_loss, **{**usual, **arguments})
    return model, history.history


def smallest(losses: np.ndarray, share: float) -> np.ndarray:
    """Places of the floor(share n) smallest, of equal ones the first."""
    return np.argsort(losses, kind="stable")[: int(share * len(losses) + 1e-9)]


def after_an_epoch(x, y, share, compared, weight=None, weight_decay=0.0, batch_size=16):
    """NumPy: updates of `batch_size`, of which each `compared` samples are looked at together."""
    w = np.ones(x.shape[1])
    weight = np.ones(len(x)) if weight is None else weight
    for first in range(0, len(x), batch_size):
        places = np.arange(first, min(first + batch_size, len(x)))
        stay = []
        for at in range(0, len(places), compared):
            part = places[at : at + compared]
            losses = weight[part] * (x[part] @ w - y[part]) ** 2
            stay.extend(np.delete(part, smallest(losses, share)))
        error = weight[stay] * (x[stay] @ w - y[stay])
        w = w - RATE * (2 * x[stay].T @ error / len(stay) + 2 * weight_decay * w)
    return w


@pytest.mark.parametrize("share", [0.0, 0.29, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("losses", ["random", "equal", "with NaN"])
def test_the_smallest_are_discarded_of_equal_ones_the_first(share, losses):
    values = np.random.default_rng(0).random(100).astype("float32")
    if losses == "equal":
        values = np.round(values, 1)
    if losses == "with NaN":
        values[::7] = np.nan
    stay = larger(tf.constant(values), tf.constant(share, tf.float64)).numpy()
    gone = smallest(np.where(np.isnan(values), np.inf, values), share)
    np.testing.assert_array_equal(np.flatnonzero(~stay), np.sort(gone))
    assert stay.sum() == 100 - int(share * 100 + 1e-9)


@functools.cache
def decayed(scope: str) -> tuple[LargeBatchModel, SmallLossDiscarding]:
    """A model and the rule that it is trained with, whose share each test sets: one trace serves all."""
    return linear(0.01), SmallLossDiscarding(0.5, None, scope)


@pytest.mark.parametrize("scope", ["sub_batch", "update"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_epoch_is_that_of_numpy(samples, scope, share, weighted):
    x, y = samples[0].astype("float64"), samples[1][:, 0]
    weight = np.random.default_rng(1).random(len(x)) if weighted else None
    model, rule = decayed(scope)
    model.set_weights([np.ones([5, 1])])
    rule.share = share
    trained(samples, rule, model, sample_weight=weight)
    compared = 16 if scope == "update" else 4
    expected = after_an_epoch(x, y, share, compared, weight, 0.01)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("scope", ["sub_batch", "update"])
def test_no_share_is_bit_for_bit_off(samples, scope):
    found, history = trained(samples, SmallLossDiscarding(0.0, None, scope), epochs=2)
    wanted, expected = trained(samples, epochs=2)
    np.testing.assert_array_equal(found.get_weights()[0], wanted.get_weights()[0])
    assert history == expected


@pytest.mark.parametrize("scope", ["sub_batch", "update"])
def test_after_its_epochs_it_is_bit_for_bit_off_and_nothing_is_traced_anew(samples, scope):
    model, _ = trained(samples, SmallLossDiscarding(0.3, 1, scope))
    weights = model.get_weights()
    two, _ = trained(samples, SmallLossDiscarding(0.3, 1, scope), epochs=2)
    assert two.train_tf_function.experimental_get_tracing_count() == 1
    plain = linear()
    plain.set_weights(weights)
    trained(samples, model=plain)
    np.testing.assert_array_equal(two.get_weights()[0], plain.get_weights()[0])


@pytest.mark.parametrize("scope", ["sub_batch", "update"])
def test_loss_and_samples_shown_are_of_all_samples(samples, scope):
    x, y = samples[0], samples[1][:, 0]
    model, history = trained(samples, SmallLossDiscarding(0.5, None, scope), batch_size=32)
    assert history["loss"][0] == pytest.approx(np.mean((x.sum(1) - y) ** 2), rel=1e-5)
    assert model.samples_seen == len(x)


@pytest.mark.parametrize("scope", ["sub_batch", "update"])
@pytest.mark.parametrize("option", ["run_eagerly", "jit_compile"])
def test_eagerly_or_by_xla_an_epoch_is_that_of_numpy_too(samples, scope, option):
    model = linear()
    model.compile(tf.keras.optimizers.SGD(RATE), "mse", **{option: True})
    trained(samples, SmallLossDiscarding(0.3, None, scope), model)
    compared = 16 if scope == "update" else 4
    expected = after_an_epoch(samples[0].astype("float64"), samples[1][:, 0], 0.3, compared)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], expected, atol=1e-6)


def test_the_first_pass_leaves_no_trace(samples, generators):
    """Comparing whole updates of one sub-batch is comparing sub-batches: moving statistics and dropout included."""

    def normalised() -> LargeBatchModel:
        tf.keras.utils.set_random_seed(3)
        inputs = tf.keras.Input([5])
        hidden = tf.keras.layers.Dense(8, "tanh")(inputs)
        hidden = tf.keras.layers.BatchNormalization()(tf.keras.layers.Dropout(0.5)(hidden))
        model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(hidden))
        model.compile(tf.keras.optimizers.SGD(RATE), "mse", metrics=["mae"])
        return model

    results = [
        trained(
            samples,
            SmallLossDiscarding(0.3, None, scope),
            normalised(),
            sub_batch_size=16,
            epochs=2,
        )
        for scope in ("sub_batch", "update")
    ]
    (first, history), (other, again) = results
    for found, wanted in zip(other.get_weights(), first.get_weights()):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    for name, values in history.items():
        assert again[name] == pytest.approx(values, rel=1e-5)


def test_the_losses_of_several_outputs_add_up_with_their_weights(samples):
    inputs = tf.keras.Input([5])
    outputs = [tf.keras.layers.Dense(1, kernel_initializer="ones")(inputs) for _ in range(2)]
    model = LargeBatchModel(inputs, outputs)
    model.compile(tf.keras.optimizers.SGD(RATE), ["mse", "mae"], loss_weights=[1.0, 3.0])
    x, y = samples[0], samples[1]
    model.fit(
        x, (y[:, :1], y[:, 1:]), batch_size=30, shuffle=False, verbose=0,
        small_loss=SmallLossDiscarding(0.4),
    )  # fmt: skip
    square, absolute = x.sum(1) - y[:, 0], x.sum(1) - y[:, 1]
    stay = np.delete(np.arange(30), smallest(square**2 + 3 * np.abs(absolute), 0.4))
    assert model.get_weights()[1][0] == pytest.approx(-RATE * 2 * square[stay].mean(), abs=1e-5)
    biases = -RATE * 3 * np.sign(absolute[stay]).mean()
    assert model.get_weights()[3][0] == pytest.approx(biases, abs=1e-5)


def test_float16_with_loss_scaling(samples):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        inputs = tf.keras.Input([5])
        hidden = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs)
        model = LargeBatchModel(
            inputs, tf.keras.layers.Activation("linear", dtype="float32")(hidden)
        )
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(
            tf.keras.optimizers.SGD(RATE), dynamic=False, initial_scale=128
        )
        model.compile(scaled, "mse")
        trained(samples, SmallLossDiscarding(0.3, None, "update"), model)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    expected = after_an_epoch(samples[0], samples[1][:, 0], 0.3, 16)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], expected, atol=2e-2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"share": 1.0}, "share=1.0 must be at least 0 and less than 1"),
        ({"share": -0.1}, "share=-0.1 must be"),
        ({"share": float("nan")}, "share=nan must be"),
        ({"epochs": -1}, "epochs=-1 must be a whole number, at least 0; None: all epochs"),
        ({"epochs": 2.5}, "epochs=2.5 must be a whole number, at least 0"),
        ({"scope": "rank"}, "scope='rank' must be one of 'sub_batch', 'update'"),
    ],
)
def test_arguments_that_cannot_be_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        SmallLossDiscarding(**arguments)


def test_a_loss_that_ignores_sample_weights_is_refused(samples):
    class Ignoring(LargeBatchModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return tf.reduce_mean((y - y_pred) ** 2)

    inputs = tf.keras.Input([5])
    model = Ignoring(inputs, tf.keras.layers.Dense(1)(inputs))
    model.compile("sgd")
    with pytest.raises(ValueError, match="compute_loss of Ignoring does not use its sample_weight"):
        trained(samples, SmallLossDiscarding(), model)
