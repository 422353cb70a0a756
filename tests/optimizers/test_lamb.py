"""Tests of LAMB alone: beside TensorFlow Addons' of the same name, its traps, its errors and its count of bounds."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LAMB, addons

STEPS = 10
NOT_DECAYED = ["bias", "gamma", "beta"]


def train(optimizer, net):
    """Ten steps; returns the weights."""
    for number in range(STEPS):
        net.step(optimizer, number)
    return net.values()


def distance(ones, others):
    """The largest difference of any weight."""
    return max(np.abs(one - other).max() for one, other in zip(ones, others))


@pytest.fixture
def theirs():
    """TensorFlow Addons' LAMB."""
    pytest.importorskip("tensorflow_addons")
    return addons.get("tfa.LAMB")


# TensorFlow Addons' LAMB.


@pytest.mark.parametrize("rate", [0.001, 0.05])
@pytest.mark.parametrize(
    ("no_decay", "no_adaptation"),
    [
        ([], []),
        (NOT_DECAYED, NOT_DECAYED),
        (NOT_DECAYED, ["bias"]),
        (["kernel"], ["gamma", "beta"]),
    ],
)
def test_ten_steps_equal_tensorflow_addons(theirs, network, no_decay, no_adaptation, rate):
    shared = {"weight_decay": 0.01, "exclude_from_weight_decay": no_decay}
    other = train(
        theirs(rate, exclude_from_layer_adaptation=no_adaptation, **shared), network(steps=STEPS)
    )
    one = train(LAMB(rate, exclude_from_adaptation=no_adaptation, **shared), network(steps=STEPS))
    assert distance(one, network().values()) > rate  # they moved
    assert distance(one, other) < 1e-6


@pytest.mark.parametrize("arguments", [{"beta_1": 0.5}, {"beta_2": 0.9}, {"epsilon": 0.1}])
def test_its_numbers_mean_the_same_in_tensorflow_addons(theirs, network, arguments):
    other = train(theirs(0.05, **arguments), network(steps=STEPS))
    assert distance(train(LAMB(0.05, **arguments), network(steps=STEPS)), other) < 1e-6
    assert distance(train(LAMB(0.05), network(steps=STEPS)), other) > 1e-3


def test_an_empty_list_is_no_list_in_tensorflow_addons_and_none_here(theirs, network):
    shared = {"weight_decay": 0.01, "exclude_from_weight_decay": ["bias"]}
    other = train(theirs(0.05, exclude_from_layer_adaptation=[], **shared), network(steps=STEPS))
    one = train(LAMB(0.05, exclude_from_adaptation=[], **shared), network(steps=STEPS))
    same = train(LAMB(0.05, exclude_from_adaptation=["bias"], **shared), network(steps=STEPS))
    assert distance(same, other) < 1e-6
    differing = [np.abs(a - b).max() > 1e-2 for a, b in zip(one, other)]
    assert differing == [False, True, False, False]  # the bias


def test_neither_takes_an_epsilon_of_zero(theirs):
    with pytest.raises(AttributeError):  # they look for a default where there is none
        theirs(epsilon=0.0)
    with pytest.raises(ValueError, match=r"^epsilon=0\.0 must be more than 0"):
        LAMB(epsilon=0.0)


def test_bounds_are_ours_alone(theirs, network):
    with pytest.raises(TypeError, match="ratio_bounds"):
        theirs(ratio_bounds=(0.0, 1.0))
    other = train(theirs(0.05), network(steps=STEPS))
    wide = train(LAMB(0.05, ratio_bounds=(0.0, math.inf)), network(steps=STEPS))
    narrow = train(LAMB(0.05, ratio_bounds=(0.0, 0.5)), network(steps=STEPS))
    assert distance(wide, other) < 1e-6
    assert distance(narrow, other) > 1e-2


# What the docstring says of its steps.


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_an_adapted_variable_moves_by_the_rate_times_its_norm(scale):
    random = np.random.default_rng(0)
    w = tf.Variable(random.normal(size=(5, 4)), dtype=tf.float32)
    optimizer = LAMB(0.1, weight_decay=0.1, epsilon=1e-12)
    for _ in range(5):
        before = w.numpy()
        optimizer.apply_gradients([(scale * random.normal(size=(5, 4)).astype("float32"), w)])
        moved = np.linalg.norm(w.numpy() - before)
        assert moved == pytest.approx(0.1 * np.linalg.norm(before), rel=1e-5)


def test_an_excluded_variable_takes_adams_steps(network):
    """Without decay, and with Keras's epsilon too small to matter."""
    adam = train(tf.keras.optimizers.Adam(0.05, epsilon=1e-12), network(steps=STEPS))
    lamb = LAMB(0.05, epsilon=1e-12, weight_decay=0.1, exclude_from_adaptation=[""],
                exclude_from_weight_decay=[""])  # fmt: skip
    assert distance(train(lamb, network(steps=STEPS)), adam) < 5e-6  # Keras's 1 - 0.999 is rounded


def test_a_zero_initialised_variable_moves_as_adam_does():
    w = tf.Variable([0.0, 0.0, 0.0])
    LAMB(0.1, epsilon=1e-12).apply_gradients([(tf.constant([7.0, -0.01, 3.0]), w)])
    np.testing.assert_allclose(w.numpy(), [-0.1, 0.1, -0.1], rtol=1e-6)


def test_a_rate_of_zero_leaves_the_weights(network):
    net = network(steps=STEPS)
    assert distance(train(LAMB(0.0, weight_decay=0.1), net), network().values()) == 0


# Errors and warnings.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", value) for value in (-1, math.nan)),
        *((name, value) for name in ("beta_1", "beta_2") for value in (1, -0.1, math.nan)),
        *(("epsilon", value) for value in (0, -1e-6, math.nan)),
        *(("weight_decay", value) for value in (-1, math.nan)),
        *(("ratio_bounds", value) for value in ((2, 1), (-1, 1), (math.nan, 1), (1,), (0, 1, 2))),
        ("bound_on", "x"),
        *(("exclude_from_weight_decay", value) for value in ("bias", ["("])),
        *(("exclude_from_adaptation", value) for value in ("bias", ["("])),
    ],
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}[= ]"):
        LAMB(**{name: value})


@pytest.mark.parametrize("argument", ["exclude_from_weight_decay", "exclude_from_adaptation"])
def test_an_expression_that_matches_nothing_is_named_once(network, argument):
    net, optimizer = network(), LAMB(**{argument: ["gama", "kernel", "norm"]})
    with pytest.warns(
        UserWarning, match=f"{argument} holds 'gama', which matches none of the 4"
    ) as told:
        net.step(optimizer, 0)
    assert len([one for one in told if "matches none" in str(one.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.step(optimizer, 1)


# The count of bounded ratios.


def bounded():
    """In the first step |u| is the root of the size: ratios 5, 1, 0.1, and one excluded."""
    starts = {"long": [5.0, 5.0], "fit": [1.0, -1.0], "short": [0.1, 0.1], "bias": [9.0, 9.0]}
    variables = [tf.Variable(start, name=name) for name, start in starts.items()]
    optimizer = LAMB(0.0, ratio_bounds=(0.5, 2.0), exclude_from_adaptation=["bias"], epsilon=1e-9)
    return optimizer, variables, [tf.constant([1.0, -1.0])] * 4


def test_without_bounds_or_before_a_step_nothing_is_counted():
    optimizer, variables, gradients = bounded()
    assert optimizer.bounded_share is None and optimizer.bound_counts() is None
    plain = LAMB(0.0)
    plain.apply_gradients(zip(gradients, variables))
    assert plain.bounded_share is None and plain.bound_counts() is None


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_bounded_ratios_are_counted(how):
    optimizer, variables, gradients = bounded()
    optimizer.build(variables)
    assert optimizer.bound_counts() == (0, 0) and float(optimizer.bounded_share) == 0

    def step():
        optimizer.apply_gradients(zip(gradients, variables))
        return optimizer.bounded_share

    run = step if how == "eager" else tf.function(step, jit_compile=how == "xla")
    for number in (1, 2, 3):
        assert float(run()) == pytest.approx(2 / 3)
        assert optimizer.bound_counts() == (2 * number, 3 * number)
    optimizer.ratio_bounds = (0.0, 10.0)
    step()
    assert optimizer.bound_counts() == (6, 12)
    assert float(optimizer.bounded_share) == 0.5


def test_bounded_norms_are_counted_where_they_change_the_ratio():
    optimizer = LAMB(0.0, ratio_bounds=(0.5, 2.0), bound_on="weight_norm", epsilon=1e-9)
    starts = {"long": 3.0, "fit": 1.0, "short": 0.1}
    variables = [tf.Variable([start], name=name) for name, start in starts.items()]
    for gradient in (0.0, 1.0):  # an update of zero: the ratio is 1 with and without bounds
        optimizer.apply_gradients([(tf.constant([gradient]), w) for w in variables])
    assert optimizer.bound_counts() == (2, 6)
