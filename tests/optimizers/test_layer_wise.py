"""Tests of `LayerWise`: the other optimizers that it equals, and what it shares with the one inside."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LAMB, LARS, LayerWise

K = tf.keras.optimizers


@pytest.fixture
def trained(network):
    """Returns the weights after some steps with an optimizer."""

    def train(optimizer, steps=6):
        net = network(steps=steps)
        for number in range(steps):
            net.step(optimizer, number)
        return net.values()

    return train


def same(ones, others, atol=1e-6):
    for one, other in zip(ones, others):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


# What the docstring says it equals.


@pytest.mark.parametrize("weight_decay", [None, 0.1])
@pytest.mark.parametrize("exclude", [[], ["bias", "norm"]])
def test_around_plain_sgd_it_is_lars(trained, weight_decay, exclude):
    """The decay belongs to the update, so it is LARS with the norm of both together."""
    shared = {"trust_coefficient": 0.02, "exclude_from_adaptation": exclude}
    one = trained(LayerWise(K.SGD(0.5, weight_decay=weight_decay), **shared))
    denominators = ("decayed_gradient",) if weight_decay else ("decayed_gradient", "separate")
    for denominator in denominators:
        lars = LARS(0.5, 0.0, weight_decay=weight_decay, denominator=denominator, **shared)
        same(one, trained(lars))


def rule_d(net, rate, momentum, eta):
    """The Model Garden's LARS, classic_momentum=False, in NumPy."""
    weights = [w.astype("float64") for w in net.values()]
    buffers = [np.zeros_like(w) for w in weights]
    for gradients in net.gradients:
        for i, g in enumerate(gradients):
            buffers[i] = momentum * buffers[i] + g
            whole = np.linalg.norm(weights[i])
            r = eta * (whole / np.linalg.norm(buffers[i]) if whole else 1.0)
            weights[i] = weights[i] - rate * r * buffers[i]
    return weights


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_around_sgd_with_momentum_it_is_rule_d(trained, network, momentum):
    optimizer = LayerWise(K.SGD(0.5, momentum), trust_coefficient=0.05)
    same(trained(optimizer), rule_d(network(steps=6), 0.5, momentum, 0.05))


def test_after_a_change_of_rate_a_step_is_as_long_as_the_rate_says():
    w = tf.Variable([3.0, 4.0])
    optimizer = LayerWise(K.SGD(0.1, 0.9), trust_coefficient=0.5)
    for rate in (0.1, 0.1, 0.001, 0.2):
        before, optimizer.learning_rate = w.numpy(), rate
        optimizer.apply_gradients([(tf.constant([1.0, -7.0]), w)])
        expected = rate * 0.5 * np.linalg.norm(before)
        assert np.linalg.norm(w.numpy() - before) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("bounds", [None, (0.1, 0.5)])
def test_around_adam_it_is_lamb(trained, weight_decay, bounds):
    inner = K.AdamW(0.05, weight_decay) if weight_decay else K.Adam(0.05)
    inner.epsilon = 1e-12
    lamb = LAMB(0.05, weight_decay=weight_decay, epsilon=1e-12, ratio_bounds=bounds)
    same(trained(LayerWise(inner, ratio_bounds=bounds)), trained(lamb))


def test_adams_epsilon_is_lambs_times_the_correction(network):
    one, other = network(), network()
    lamb, adam = LAMB(0.05), LayerWise(K.Adam(0.05, epsilon=0.1))
    for number in range(5):
        lamb.epsilon = 0.1 / math.sqrt(1 - 0.999 ** (number + 1))
        one.step(lamb, number)
        other.step(adam, number)
    same(other.values(), one.values())


# What it shares with the inner optimizer.


def test_rate_and_iterations_are_the_same_object(network):
    inner = K.Adam(0.1)
    optimizer, net = LayerWise(inner), network()
    optimizer.learning_rate = 0.2
    assert float(inner.learning_rate) == pytest.approx(0.2)
    inner.learning_rate = 0.3
    assert float(optimizer.learning_rate) == float(optimizer.lr) == pytest.approx(0.3)
    for number in range(3):
        net.step(optimizer, number)
        assert int(optimizer.iterations) == int(inner.iterations) == number + 1
    names = [variable.name for variable in optimizer.variables]
    assert sum("iteration" in name for name in names) == 1 and len(names) == 1 + 2 * 4
    optimizer.iterations.assign(7)
    assert int(inner.iterations) == 7


@pytest.mark.parametrize("given", ["first", "later"])
def test_a_schedule_advances_once_an_update(network, given):
    schedule = K.schedules.PiecewiseConstantDecay([0, 1, 2], [0.1, 0.2, 0.3, 0.4])
    net, optimizer = network(), LayerWise(K.SGD(schedule if given == "first" else 0.1))
    if given == "later":
        optimizer.learning_rate = schedule
    for number, rate in enumerate((0.1, 0.2, 0.3, 0.4)):
        before = net.values()[0]
        net.step(optimizer, number)
        moved = np.linalg.norm(net.values()[0] - before) / np.linalg.norm(before)
        assert moved == pytest.approx(rate, rel=1e-5)
        assert float(optimizer.inner.learning_rate) == pytest.approx(rate)
    if given == "first":
        with pytest.raises(TypeError, match="not settable"):
            optimizer.learning_rate = 0.1


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping_is_taken_over(trained, clip):
    inside, outside = (
        LayerWise(K.SGD(0.1, **{clip: 0.3}), ratio_bounds=(0.0, 1.0)),
        LayerWise(K.SGD(0.1), ratio_bounds=(0.0, 1.0), **{clip: 0.3}),
    )
    assert getattr(inside, clip) == 0.3 and inside.get_config()[clip] == 0.3
    plain = trained(K.SGD(0.1, **{clip: 0.3}))
    same(trained(LayerWise(K.SGD(0.1, **{clip: 0.3}), ratio_bounds=(1.0, 1.0))), plain)
    same(trained(inside), trained(outside), atol=0)


@pytest.mark.parametrize("told", ["var_names", "var_list"])
def test_what_the_inner_optimizer_does_not_decay_stays(network, told):
    net, inner = network(), K.SGD(0.1, weight_decay=0.5)
    inner.exclude_from_weight_decay(
        **{told: ["kernel"] if told == "var_names" else net.variables[:1]}
    )
    before, optimizer = net.values(), LayerWise(inner, ratio_bounds=(1.0, 1.0))
    optimizer.apply_gradients([(tf.zeros(v.shape), v) for v in net.variables])
    kernel, _, gamma, _ = net.values()
    assert kernel.tolist() == before[0].tolist()
    np.testing.assert_allclose(gamma, 0.95 * before[2], rtol=1e-6)


def test_our_list_takes_the_place_of_the_inner_ones(network):
    net, inner = network(), K.SGD(0.1, weight_decay=0.5)
    inner.exclude_from_weight_decay(var_list=net.variables[:1])
    before = net.values()
    optimizer = LayerWise(inner, ratio_bounds=(1.0, 1.0), exclude_from_weight_decay=["gamma"])
    optimizer.apply_gradients([(tf.zeros(v.shape), v) for v in net.variables])
    np.testing.assert_allclose(net.values()[0], 0.95 * before[0], rtol=1e-6)
    assert net.values()[2].tolist() == before[2].tolist()


@pytest.mark.parametrize("inner", ["sgd", "Adam", K.serialize(K.AdamW(0.1))])
def test_an_inner_optimizer_may_be_a_name_or_a_configuration(inner):
    optimizer = LayerWise(inner)
    assert isinstance(optimizer.inner, (K.SGD, K.Adam, K.AdamW))


def test_set_weights_sets_the_inner_slots_too(network):
    one, other = network(), network()
    first, second = LayerWise(K.Adam(0.1)), LayerWise(K.Adam(0.1))
    one.step(first, 0)
    second.build(other.variables)
    second.set_weights([v.numpy() for v in first.variables])
    for a, b in zip(first.variables, second.variables):
        np.testing.assert_array_equal(a, b)


# As any Keras optimizer (after Keras's optimizer_test).


def after(steps, *inner, **arguments):
    """An optimizer after some updates, and its variable."""
    optimizer, w = LayerWise(K.Adam(0.1, *inner), **arguments), tf.Variable([1.0, 2.0])
    for _ in range(steps):
        optimizer.apply_gradients([(tf.constant([1.0, -3.0]), w)])
    return optimizer, w


def test_weights_are_set_whole_or_not_at_all():
    first, w = after(3)
    weights = [np.array(v) for v in first.variables]
    second = LayerWise(K.Adam(0.1))
    with pytest.raises(ValueError, match="has not yet been built"):
        second.set_weights(weights)
    second.build([tf.Variable(w)])
    for wrong in (weights[:2], [*weights, weights[0]], [weights[0], weights[1][:1], weights[2]]):
        with pytest.raises(ValueError, match="not compatible"):
            second.set_weights(wrong)
    assert int(second.iterations) == 0
    second.set_weights(weights)
    for a, b in zip(first.variables, second.variables):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("scaled", [False, True])
def test_iterations_may_be_assigned_before_the_first_update(scaled):
    schedule = K.schedules.PiecewiseConstantDecay([5], [1.0, 0.1])
    plain = optimizer = LayerWise(K.SGD(schedule))
    if scaled:
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(plain)
    optimizer.iterations = tf.Variable(7, dtype=tf.int64)
    optimizer.apply_gradients([(tf.ones(2), tf.Variable([1.0, 2.0]))])
    assert int(plain.iterations) == int(plain.inner.iterations) == int(plain.variables[0]) == 8
    assert float(plain.learning_rate) == pytest.approx(0.1)
    with pytest.raises(RuntimeError, match="Cannot set `iterations`"):
        optimizer.iterations = tf.Variable(0, dtype=tf.int64)
    assert int(plain.iterations) == 8


def test_an_inner_optimizer_that_was_built_for_other_variables_is_named():
    inner = K.Adam()
    first, second = LayerWise(inner), LayerWise(inner)
    first.apply_gradients([(tf.ones(2), tf.Variable([1.0, 2.0]))])
    with pytest.raises(KeyError, match="cannot recognize variable"):
        second.apply_gradients([(tf.ones(1), tf.Variable([1.0]))])
    with pytest.raises(KeyError, match="cannot recognize variable"):
        first.apply_gradients([(tf.ones(1), tf.Variable([1.0]))])


@pytest.mark.parametrize("name", ["apply_gradients", "compute_gradients", "_clip_gradients"])
def test_what_an_inner_optimizer_may_not_override(name):
    inner = type("Own", (K.SGD,), {name: lambda self, *args: None})()
    with pytest.raises(ValueError, match=f"inner=Own overrides {name}"):
        LayerWise(inner)


def test_the_configuration_makes_the_same_optimizer():
    arguments = {"trust_coefficient": 0.5, "ratio_bounds": (0.0, 2.0), "use_ema": True}
    clipping = {"clipnorm": 0.5, "ema_momentum": 0.9, "ema_overwrite_frequency": 2}
    (first, w), (_, start) = after(3, **arguments, **clipping), after(0)
    second = LayerWise.from_config(first.get_config())
    assert second.get_config() == first.get_config()
    for _ in range(3):
        second.apply_gradients([(tf.constant([1.0, -3.0]), start)])
    np.testing.assert_array_equal(start, w)
    second.finalize_variable_values([start])
    first.finalize_variable_values([w])
    np.testing.assert_array_equal(start, w)


def test_minimize_a_missing_gradient_and_none(network):
    optimizer, w, other = LayerWise(K.SGD(0.1)), tf.Variable([3.0, 4.0]), tf.Variable(1.0)
    optimizer.minimize(lambda: tf.reduce_sum(w), [w, other])
    assert float(other) == 1.0 and w.numpy().tolist() != [3.0, 4.0]
    assert int(optimizer.iterations) == 1
    optimizer.apply_gradients([])
    assert int(optimizer.iterations) == 1


def test_constraints_hold_after_a_step():
    w = tf.Variable([0.1, 4.0], constraint=tf.keras.constraints.NonNeg())
    LayerWise(K.SGD(1.0)).apply_gradients([(tf.constant([1.0, 0.0]), w)])
    assert w.numpy().tolist() == [0.0, 4.0]
