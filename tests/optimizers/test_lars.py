"""Tests of LARS alone: the traps that other implementations fell into, each by name."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LARS


def one_step(gradient, weights, name="kernel", rate=1.0, **arguments):
    """How far one step of LARS without momentum moves a variable."""
    variable = tf.Variable(weights, name=name, dtype=tf.float32)
    before = variable.numpy()
    LARS(rate, momentum=0.0, **arguments).apply_gradients(
        [(tf.constant(gradient, tf.float32), variable)]
    )
    return before - variable.numpy()


def travelled(rates, **arguments):
    """How far a long weight moves under unit gradients and these learning rates."""
    w = tf.Variable([1e6, 0.0], name="kernel")
    optimizer = LARS(0.0, trust_coefficient=1e-6, **arguments)
    for rate in rates:
        optimizer.learning_rate = rate
        optimizer.apply_gradients([(tf.constant([0.0, 1.0]), w)])
    return -float(w[1])


# The five rules called LARS.


def test_styles_agree_at_a_constant_rate():
    inside = travelled([0.5] * 10)
    assert travelled([0.5] * 10, momentum_style="lr_outside") == pytest.approx(inside, rel=1e-5)


def test_lr_outside_moves_155_percent_in_ten_steps_of_warmup():
    rates = np.arange(1, 11) / 10
    ratio = travelled(rates, momentum_style="lr_outside") / travelled(rates)
    assert ratio == pytest.approx(1.5634, abs=1e-3)


def test_lr_outside_moves_54_percent_with_a_tenfold_drop_in_the_middle_of_ten_steps():
    rates = [1.0] * 5 + [0.1] * 5
    ratio = travelled(rates, momentum_style="lr_outside") / travelled(rates)
    assert ratio == pytest.approx(0.5403, abs=1e-3)


def test_denominators_differ_where_gradient_and_weight_are_not_parallel():
    g, w, b = [0.0, 3.0], [4.0, 0.0], 1.0
    separate = one_step(g, w, weight_decay=b, trust_coefficient=1.0)
    joint = one_step(g, w, weight_decay=b, trust_coefficient=1.0, denominator="decayed_gradient")
    np.testing.assert_allclose(separate, 4 / (3 + 4) * np.array([4.0, 3.0]), rtol=1e-6)
    np.testing.assert_allclose(joint, 4 / 5 * np.array([4.0, 3.0]), rtol=1e-6)


def test_default_is_rule_a_of_you_et_al(lars_by_hand, network):
    net = network()
    optimizer = LARS(0.1)
    rates = [0.1, 0.2, 0.4, 0.4, 0.04]
    expected = lars_by_hand(net.names, net.values(), net.gradients, rates)
    for number, rate in enumerate(rates):
        optimizer.learning_rate = rate
        net.step(optimizer, number)
    for actual, wanted in zip(net.values(), expected):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-8)


# Zero norms.


def test_a_zero_initialised_adapted_variable_moves_by_coefficient_times_gradient():
    """Not by the raw rate, as where 1 stands for coefficient * ratio: that is 1,000 times as far as its neighbours."""
    g = [3.0, 4.0]
    np.testing.assert_allclose(
        one_step(g, [0.0, 0.0], rate=2.0), 2.0 * 0.001 * np.array(g), rtol=1e-6
    )


def test_an_excluded_variable_takes_the_raw_rate():
    g = [3.0, 4.0]
    step = one_step(g, [0.0, 0.0], "bias", rate=2.0, exclude_from_adaptation=["bias"])
    np.testing.assert_allclose(step, 2.0 * np.array(g))


def test_a_zero_gradient_moves_only_by_decay():
    assert not one_step([0.0, 0.0], [3.0, 4.0]).any()
    step = one_step([0.0, 0.0], [3.0, 4.0], weight_decay=0.1, trust_coefficient=0.01)
    np.testing.assert_allclose(step, 0.01 * np.array([3.0, 4.0]), rtol=1e-4)  # r = eta / b


def test_a_gradient_whose_norm_overflows_moves_nothing_far():
    step = one_step([1e20, 1e20], [1.0, 1.0])
    assert np.abs(step).max() <= 1.0


# Weight decay.


def test_decay_is_inside_the_ratio_only():
    """Keras's base class would shrink the weights before the step: lr * b * w more, without the ratio."""
    g, w, b, eta = np.array([0.0, 2.0]), np.array([3.0, 4.0]), 0.5, 0.01
    r = eta * 5 / (2 + b * 5)
    np.testing.assert_allclose(
        one_step(g, w, weight_decay=b, trust_coefficient=eta), r * (g + b * w), rtol=1e-5
    )


def test_decay_does_not_depend_on_the_order_in_the_fused_kernel(lars_by_hand, network):
    """The decay goes into the buffer divided by the momentum; small momenta must not spoil it."""
    for momentum in (0.01, 0.5, 0.99):
        net, optimizer = network(), LARS(0.5, momentum, weight_decay=0.1, trust_coefficient=0.1)
        arguments = {"momentum": momentum, "weight_decay": 0.1, "trust_coefficient": 0.1}
        expected = lars_by_hand(net.names, net.values(), net.gradients, [0.5] * 5, **arguments)
        for number in range(5):
            net.step(optimizer, number)
        for actual, wanted in zip(net.values(), expected):
            np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)


def test_small_decay_does_not_underflow_in_float16():
    """Rate * b is 1e-9 here, below float16's smallest number, though the step is not."""
    w = tf.Variable(tf.fill([100], tf.constant(40.0, tf.float16)), name="kernel")
    optimizer = LARS(0.001, weight_decay=1e-6, trust_coefficient=1.0)
    optimizer.apply_gradients([(tf.zeros([100], tf.float16), w)])
    optimizer.learning_rate = 1.0  # r = 1 / b, so v = rate * w: 0.001 w, then m v + 1.0 w
    optimizer.apply_gradients([(tf.zeros([100], tf.float16), w)])
    np.testing.assert_allclose(w.numpy(), 40 - 0.04 - 0.036 - 39.96, atol=0.1)


def test_large_ratio_does_not_overflow_in_float16():
    """R = 1e6 is more than float16 holds, and r * g is 0.1 * |w|."""
    for style in ("lr_inside", "lr_outside"):
        w = tf.Variable(tf.fill([100], tf.constant(10.0, tf.float16)), name="kernel")
        optimizer = LARS(1.0, trust_coefficient=0.1, momentum_style=style)
        optimizer.apply_gradients([(tf.fill([100], tf.constant(1e-6, tf.float16)), w)])
        np.testing.assert_allclose(w.numpy(), 9.0, rtol=1e-2)


# Exclusions.

NAMES = ("kernel", "bias")
G, W = np.array([0.0, 2.0]), np.array([3.0, 4.0])


@pytest.mark.parametrize("no_decay", [(), ("bias",), ("kernel",), ("bias", "kernel")])
@pytest.mark.parametrize("no_adaptation", [(), ("bias",), ("kernel",), ("bias", "kernel")])
@pytest.mark.parametrize("name", NAMES)
def test_exclusions_are_two_independent_lists(no_decay, no_adaptation, name):
    b = 0.0 if name in no_decay else 0.5
    r = 1.0 if name in no_adaptation else 0.01 * 5 / (2 + b * 5)
    arguments = {"exclude_from_weight_decay": no_decay, "exclude_from_adaptation": no_adaptation}
    step = one_step(G, W, name, weight_decay=0.5, trust_coefficient=0.01, **arguments)
    np.testing.assert_allclose(step, r * (G + b * W), rtol=1e-5)


def test_an_empty_list_excludes_nothing_after_serialisation_too():
    """TFA took an empty list for "as the other list"; wrappers of its time lost both in get_config."""
    first = LARS(exclude_from_weight_decay=["bias"], exclude_from_adaptation=[])
    second = LARS.from_config(json.loads(json.dumps(first.get_config())))
    config = second.get_config()
    assert (config["exclude_from_weight_decay"], config["exclude_from_adaptation"]) == (
        ["bias"],
        [],
    )


def test_exclusions_are_regular_expressions_on_names():
    pattern = {"exclude_from_adaptation": [r"norm_\d+/(gamma|beta)"]}
    assert one_step(G, W, "norm_3/gamma", **pattern)[1] == pytest.approx(2.0)
    assert one_step(G, W, "norm_x/gamma", **pattern)[1] == pytest.approx(0.005, rel=1e-4)


def test_keras_own_method_of_the_same_name_still_works():
    optimizer = LARS(weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert optimizer.get_config()["exclude_from_weight_decay"] == ["bias"]


def test_names_in_a_keras_model_match():
    model = tf.keras.Sequential(
        [tf.keras.layers.Dense(2, input_shape=(2,)), tf.keras.layers.BatchNormalization()]
    )
    optimizer = LARS(0.1, weight_decay=0.1, exclude_from_weight_decay=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    decayed = [v.name for v in model.trainable_variables if optimizer._use_weight_decay(v)]
    assert [name.split("/")[1] for name in decayed] == ["kernel:0"]


# Bounds, momentum, configuration.


def test_bounds_bite_before_the_coefficient():
    """|w| / |g| = 5 / 2; a bound on coefficient * ratio = 0.025 would not bite."""
    step = one_step(G, W, trust_coefficient=0.01, ratio_bounds=(0.0, 1.0))
    np.testing.assert_allclose(step, 0.01 * 1.0 * G, rtol=1e-6)
    step = one_step(G, W, trust_coefficient=0.01, ratio_bounds=(10.0, 20.0))
    np.testing.assert_allclose(step, 0.01 * 10.0 * G, rtol=1e-6)


def test_epsilon_is_in_the_denominator():
    np.testing.assert_allclose(
        one_step(G, W, trust_coefficient=0.1, epsilon=3.0), 0.1 * 5 / (2 + 3) * G, rtol=1e-6
    )


def test_without_momentum_there_are_no_slots():
    optimizer, variable = LARS(momentum=0), tf.Variable([1.0])
    optimizer.build([variable])
    assert [v.name for v in optimizer.variables if "momentum" in v.name] == []


def test_numpy_numbers_go_into_json():
    optimizer = LARS(
        np.float32(0.1),
        np.float32(0.5),
        np.bool_(True),
        np.float64(0.1),
        np.float32(0.01),
        np.float32(0.0),
    )
    config = json.loads(json.dumps(optimizer.get_config()))
    assert (config["momentum"], config["nesterov"], config["weight_decay"]) == (0.5, True, 0.1)


def test_no_weight_decay_may_be_none_as_in_keras():
    assert LARS(weight_decay=None).get_config()["weight_decay"] == 0.0


def test_averaged_weights_follow_the_steps():
    variable = tf.Variable([3.0, 4.0], name="kernel")
    optimizer = LARS(1.0, momentum=0.0, trust_coefficient=0.1, use_ema=True, ema_momentum=0.5)
    optimizer.apply_gradients([(tf.constant([0.0, 2.0]), variable)])
    optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(variable.numpy(), [3.0, (4.0 + 3.5) / 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", value) for value in (-0.1, math.nan)),
        *(("momentum", value) for value in (1.0, -0.1, math.nan)),
        *(("weight_decay", value) for value in (-1e-4, math.nan)),
        *(("trust_coefficient", value) for value in (0.0, -1.0)),
        ("epsilon", -1e-9),
        *(("ratio_bounds", value) for value in ((2.0, 1.0), (1.0,))),
        ("momentum_style", "inside"),
        ("denominator", "sum"),
        ("exclude_from_weight_decay", "bias"),
        *(("exclude_from_adaptation", value) for value in ("bias", ["("])),
    ],
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}"):
        LARS(**{name: value})


def test_an_unknown_argument_is_an_error():
    with pytest.raises(TypeError, match="momentun"):
        LARS(momentun=0.9)


def test_patterns_may_be_any_collection():
    optimizer = LARS(0.1, exclude_from_weight_decay={"bias"}, exclude_from_adaptation=("bias",))
    assert list(optimizer.get_config()["exclude_from_weight_decay"]) == ["bias"]
