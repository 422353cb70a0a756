"""Tests of `LayerWise` around every optimizer of Keras's and a user's own, and of what it refuses to hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LARS, LayerWise, MedianCurvature, PercentDelta

K = tf.keras.optimizers
INNERS = [
    "SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Nadam", "Adamax", "Adadelta", "Lion", "Ftrl", "Adafactor",
]  # fmt: skip


class TowardsZero(K.Optimizer):
    """A user's optimizer, whose update depends on the weights and on the iterations."""

    def __init__(self, learning_rate, weight_decay=None, name="TowardsZero", **kwargs):
        super().__init__(name, weight_decay=weight_decay, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def update_step(self, gradient, variable):
        share = self.learning_rate / tf.cast(self.iterations + 1, tf.float32)
        variable.assign(variable - share * (tf.sign(gradient) * tf.abs(variable) + variable**3))

    def get_config(self):
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate}


def make(inner, rate=0.05, **arguments):
    """An optimizer of Keras's, or the user's."""
    return getattr(K, inner, TowardsZero)(rate, **arguments)


@pytest.fixture
def trained(network):
    """Returns the weights after some steps with an optimizer."""

    def train(optimizer, how="eager", steps=6):
        net = network(steps=steps)

        def step(gradients):
            optimizer.apply_gradients(zip(gradients, net.variables))

        if how != "eager":
            optimizer.build(net.variables)
            step = tf.function(step, jit_compile=how == "xla")
        for gradients in net.gradients:
            step([tf.constant(gradient, tf.float32) for gradient in gradients])
        return net.values()

    return train


def same(ones, others, atol=1e-6):
    for one, other in zip(ones, others):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


# Around every optimizer of Keras's, and a user's.


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("inner", [*INNERS, "TowardsZero"])
def test_with_equal_bounds_it_is_the_inner_optimizer(trained, inner, weight_decay):
    # Keras's Nadam takes other steps in a graph.
    for how in ("eager", "graph") if inner == "Nadam" else ("eager",):
        plain, held = (make(inner, weight_decay=weight_decay) for _ in range(2))
        one = trained(LayerWise(held, ratio_bounds=(1.0, 1.0)), how)
        same(one, trained(plain, how), atol=4e-6)  # Keras's Adam rounds 1 - 0.999


@pytest.mark.parametrize("inner", [each for each in INNERS if each not in ("Ftrl", "Adafactor")])
def test_equal_bounds_and_coefficient_multiply_the_rate(trained, inner):
    """Where a move is in proportion to the rate."""
    optimizer = LayerWise(
        make(inner, 0.05, weight_decay=0.1), trust_coefficient=0.5, ratio_bounds=(0.4, 0.4)
    )
    same(trained(optimizer), trained(make(inner, 0.01, weight_decay=0.1)), atol=4e-6)


@pytest.mark.parametrize("how", ["graph", "xla"])
@pytest.mark.parametrize("inner", [*INNERS[6:], "TowardsZero"])
def test_observed_moves_are_the_same_in_a_graph(trained, inner, how):
    arguments = {"ratio_bounds": (0.1, 2.0), "exclude_from_adaptation": ["bias"]}
    eager, graph = (LayerWise(make(inner, weight_decay=0.1), **arguments) for _ in range(2))
    same(trained(graph, how, steps=3), trained(eager, steps=3), atol=1e-5)


def test_a_users_update_is_scaled_by_its_ratio():
    w = np.array([3.0, -4.0])
    update = np.sign([2.0, 1.0]) * np.abs(w) + w**3
    variable = tf.Variable(w, dtype=tf.float32)
    optimizer = LayerWise(TowardsZero(0.1), trust_coefficient=0.5)
    optimizer.apply_gradients([(tf.constant([2.0, 1.0]), variable)])
    expected = w - 0.1 * 0.5 * 5 / np.linalg.norm(update) * update
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("inner", [*(each for each in INNERS if each != "Ftrl"), "TowardsZero"])
def test_a_rate_of_zero_leaves_the_weights_bit_for_bit(trained, network, inner):
    """Ftrl divides by its rate, in Keras too."""
    same(trained(LayerWise(make(inner, 0.0, weight_decay=0.1))), network().values(), atol=0)


@pytest.mark.parametrize("inner", ["SGD", "RMSprop"])
def test_a_rate_that_falls_to_zero_stops_the_momentum_too(inner):
    """Keras's buffer holds the old rates; a ratio of 1 there would be a jump of 100 steps in this one."""
    w = tf.Variable([3.0, 4.0])
    optimizer = LayerWise(make(inner, 0.1, momentum=0.9), trust_coefficient=0.01)
    gradient = tf.constant([0.0, 200.0])
    optimizer.apply_gradients([(gradient, w)])
    before, optimizer.learning_rate = w.numpy(), 0.0
    optimizer.apply_gradients([(gradient, w)])
    assert w.numpy().tolist() == before.tolist()


# What it refuses.


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (lambda: K.legacy.SGD(0.1), r"^inner=SGD is a legacy optimizer: use tf\.keras\.optimizers\.SGD"),
        (lambda: tf.keras.mixed_precision.LossScaleOptimizer(K.SGD()), "^inner=LossScaleOptimizerV3 is wrapped"),
        (lambda: LARS(0.1), "^inner=LARS is layer-wise already"),
        (lambda: LayerWise("sgd"), "^inner=LayerWise is layer-wise already"),
        (lambda: MedianCurvature(0.1), "^inner=MedianCurvature is layer-wise already"),
        (lambda: PercentDelta(0.1), "^inner=PercentDelta is layer-wise already"),
        (lambda: K.SGD(0.1, use_ema=True), "^inner=SGD has use_ema=True"),
        (lambda: K.SGD, "^inner=type must be a Keras optimizer"),
        (lambda: 0.1, "^inner=float must be a Keras optimizer"),
        (lambda: None, "^inner=NoneType must be a Keras optimizer"),
        (lambda: "sdg", "sdg"),
    ],
)  # fmt: skip
def test_a_wrong_inner_optimizer_is_named(inner, message):
    with pytest.raises(ValueError, match=message):
        LayerWise(inner())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("trust_coefficient", value) for value in (0.0, -1.0, math.nan)),
        *(("ratio_bounds", value) for value in ((2, 1), (math.nan, 1))),
        ("bound_on", "x"),
        ("exclude_from_adaptation", "bias"),
    ],
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        LayerWise(K.SGD(0.1), **{name: value})
