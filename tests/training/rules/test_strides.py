"""Strides of gradients, weights and loss against NumPy; radii by variable; which layer is watched."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel, Strides
from tflbt.training.rules.strides import watched

K = tf.keras
MOMENTUM = 0.5


def network(eager=True) -> LargeBatchModel:
    """A linear unit with a bias, both of ones; at a rate that falls from update to update."""
    inputs = K.Input([5])
    unit = K.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones", name="unit")
    model = LargeBatchModel(inputs, unit(inputs))
    rate = K.optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0)
    model.compile(K.optimizers.SGD(rate, MOMENTUM), "mse", run_eagerly=eager)
    return model


def train(model, samples, rule, **arguments):
    usual = {"batch_size": 16, "sub_batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(samples[0], samples[1][:, :1], rules=[rule], **{**usual, **arguments})
    return rule.columns(0)


def by_hand(samples, epochs):
    """NumPy: the columns of the last epoch, of updates of 10 samples, and the radii at its first one."""
    x = np.concatenate([samples[0], np.ones([30, 1])], 1).astype("float64")
    y, w, speed, update = samples[1][:, 0], np.ones(6), np.zeros(6), 0
    for _ in range(epochs):
        rows, losses, rates = [], [], []
        for first in (0, 10, 20):
            part = slice(first, first + 10)
            error = x[part] @ w - y[part]
            gradient = 2 * x[part].T @ error / 10
            if not rows:
                median = np.sort(np.abs(w[:5]))[2] / np.sort(np.abs(gradient[:5]))[2]
                radii = {
                    "median": (median, abs(w[5] / gradient[5])),
                    "l2": (
                        np.linalg.norm(w[:5]) / np.linalg.norm(gradient[:5]),
                        abs(w[5] / gradient[5]),
                    ),
                }
            rate, update = 0.1 / (1 + update), update + 1
            speed = MOMENTUM * speed - rate * gradient
            w = w + speed
            losses.append(np.mean(error**2))
            rates.append(rate)
            step = np.abs(speed[:5]).mean()
            rows.append(
                [np.abs(gradient[:5]).mean(), step, step / rate, np.mean(gradient[:5] ** 2)]
            )
        names = (
            *("gradient_stride", "parameter_stride", "normalized_stride"),
            "loss_stride_first_order",
        )
        columns = dict(zip(names, np.mean(rows, axis=0)))
        columns["gradient_stride_first"] = rows[0][0]
        columns["path_length"] = 3 * columns["parameter_stride"]
        columns["loss_stride"] = np.mean(-np.diff(losses) / rates[:2])
    return columns, radii


@pytest.mark.parametrize("kind", ["median", "l2"])
def test_strides_and_radii_are_what_numpy_computes(samples, kind):
    columns, radii = by_hand(samples, 2)
    wanted = {**columns, "radius/unit/kernel": radii[kind][0], "radius/unit/bias": radii[kind][1]}
    split = {"batch_size": 10, "sub_batch_size": 5}
    found = train(network(eager=kind == "l2"), samples, Strides(radii=kind), epochs=2, **split)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=2e-4), name


def test_the_gradient_stride_falls_with_the_root_of_the_batch():
    """Gaussian gradients of mean 0 and deviation 2: sigma sqrt(2 / (pi n)), not equation 4's 2 sigma / sqrt(pi n)."""
    random, strides = np.random.default_rng(0), []
    x = np.ones([64, 1], "float32")
    y = random.normal(size=[64, 2000]).astype("float32")
    inputs = K.Input([1])
    wide = K.layers.Dense(2000, use_bias=False, kernel_initializer="zeros")
    model = LargeBatchModel(inputs, wide(inputs))
    # The derivative of half of the sum of squares is -y, of the loss here -2 y / 2000.
    model.compile(K.optimizers.SGD(0.0), "mse", run_eagerly=True)
    for batch in (4, 64):
        rule = Strides()
        model.fit(x, 2 * y, batch_size=batch, verbose=0, rules=[rule])
        strides.append(rule.columns(0)["gradient_stride_first"] * 1000)
    expected = [2 * np.sqrt(2 / (np.pi * n)) for n in (4, 64)]
    assert strides == pytest.approx(expected, rel=0.05)


def test_the_layer_that_is_watched():
    inputs = K.Input([4, 4, 1])
    conv = K.layers.Conv2D(2, 3, name="conv")
    inside = K.Sequential([K.layers.Dense(3, name="first"), K.layers.Dense(2, name="second")])
    model = K.Model(inputs, inside(K.layers.Flatten()(conv(inputs))))
    names = [v.name for v in model.trainable_variables]
    for layer, variable in (("first_dense", "first"), ("second", "second"), ("conv", "conv")):
        (place,) = watched(model, layer)
        assert names[place] == f"{variable}/kernel:0"
    assert watched(model, "all") == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"layer='third' must be .*: conv, first, second\."):
        watched(model, "third")
    inside.trainable = False
    with pytest.raises(ValueError, match="layer='first_dense' must be"):
        watched(model, "first_dense")
    with pytest.raises(ValueError, match="radii='mean' must be one of 'none', 'median', 'l2'"):
        Strides(radii="mean")
