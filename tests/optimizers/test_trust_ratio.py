"""Tests of the trust ratio: its norms, its zeros, its bounds, and what names are excluded."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers.trust_ratio import (
    check_bounds,
    check_patterns,
    is_bounded,
    matches,
    norm,
    trust_ratio,
    unmatched,
)

DTYPES = ("float16", "bfloat16", "float32", "float64")


def ratio(weight_norm: float, update_norm: float, bounds=None) -> float:
    return float(trust_ratio(tf.constant(weight_norm), tf.constant(update_norm), bounds))


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_is_float32_and_does_not_overflow_in_sixteen_bits(dtype):
    value = norm(tf.fill([300, 300], tf.constant(20.0, dtype)))  # 6,000; squares add up to 3.6e7
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(6000, rel=1e-6)


def test_norm_of_any_shape_is_numpys():
    for shape in [(), (1,), (7,), (3, 3, 4, 5), (0,)]:
        array = np.random.default_rng(0).normal(size=shape).astype("float32")
        assert float(norm(array)) == pytest.approx(float(np.linalg.norm(array.ravel())), rel=1e-6)


def test_norm_takes_a_variable():
    assert float(norm(tf.Variable([3.0, 4.0]))) == 5.0


@pytest.mark.parametrize("norms", [(0.0, 2.0), (2.0, 0.0), (0.0, 0.0), (1e30, 1e-30)])
def test_a_zero_norm_or_an_overflow_makes_one(norms):
    assert ratio(*norms) == 1.0


def test_an_update_of_infinite_norm_moves_nothing():
    """A gradient whose square overflows must not fall into the same branch as a zero one."""
    assert ratio(1.0, math.inf) == 0.0


def test_a_ratio_below_one_stays():
    assert ratio(1e-6, 1e3) == pytest.approx(1e-9)


def test_bounds_clip_the_ratio_that_is_one_too():
    assert ratio(8.0, 2.0, (0.5, 3.0)) == 3.0
    assert ratio(2.0, 8.0, (0.5, 3.0)) == 0.5
    assert ratio(0.0, 8.0, (0.1, 0.5)) == 0.5
    assert ratio(8.0, 2.0, (0.5, math.inf)) == 4.0


def test_graph_gives_the_same():
    assert float(tf.function(trust_ratio)(tf.constant(0.0), tf.constant(0.0))) == 1.0


@pytest.mark.parametrize(
    "bounds",
    [(1,), (2.0, 1.0), (-1.0, 1.0), (0, 1, 2), (math.nan, 1.0), 3, ("a", 1), (math.inf, math.inf)],
)
def test_wrong_bounds_are_named(bounds):
    with pytest.raises(ValueError, match="^my_bounds="):
        check_bounds(bounds, "my_bounds")


def test_good_bounds_become_floats():
    assert check_bounds(None) is None
    assert check_bounds([0, 10]) == (0.0, 10.0)


@pytest.mark.parametrize("patterns", ["bias", ["("], [3]])
def test_wrong_patterns_are_named(patterns):
    with pytest.raises(ValueError, match="^excluded"):
        check_patterns(patterns, "excluded")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), False),
        (("bias",), False),
        (("kernel",), True),
        (("^conv1/",), True),
        (("conv1/k.*:0$",), True),
    ],
)
def test_names_match_regular_expressions_anywhere(patterns, expected):
    variable = tf.Variable(0.0, name="conv1/kernel")
    assert matches(check_patterns(patterns, "excluded"), variable) == expected


# Properties, on random layers: a seed is a shape, a weight and an update of it.


def layer(seed, dtype="float32"):
    """A weight and an update whose numbers lie between 1e-3 and 1e3 in size."""
    random = np.random.default_rng(seed)
    shape = random.integers(1, 9, size=random.integers(0, 5))
    weight, update = (random.normal(size=shape) * 10 ** random.uniform(-3, 3) for _ in range(2))
    return tf.constant(weight, dtype), tf.constant(update, dtype)


def ratio_of(weight, update, bounds=None, bound_on="ratio"):
    return trust_ratio(norm(weight), norm(update), bounds, bound_on)


@pytest.mark.parametrize("seed", range(20))
def test_scale_of_weight_and_update_together_leaves_the_ratio(seed):
    weight, update = layer(seed)
    expected = float(ratio_of(weight, update))
    for c in 10.0 ** np.arange(-8, 9):
        assert float(ratio_of(c * weight, c * update)) == pytest.approx(expected, rel=1e-6)
    for c in 2.0 ** np.arange(-27, 28):  # nothing is rounded
        assert float(ratio_of(c * weight, c * update)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_ratio_grows_as_the_weight_and_falls_as_the_update(seed):
    weight, update = layer(seed)
    expected = float(ratio_of(weight, update))
    for c in 10.0 ** np.arange(-8, 9):
        assert float(ratio_of(c * weight, update)) == pytest.approx(c * expected, rel=1e-6)
        assert float(ratio_of(weight, c * update)) == pytest.approx(expected / c, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_layers_of_any_dtype_are_numpys(dtype):
    for seed in range(20):
        weight, update = layer(seed, dtype)
        w, u = (tf.cast(tensor, "float64").numpy().ravel() for tensor in (weight, update))
        expected = np.linalg.norm(w) / np.linalg.norm(u)
        assert float(ratio_of(weight, update)) == pytest.approx(expected, rel=1e-6), seed


def random_norms(least=-37):
    """Pairs of norms over the range of float32, with zero and infinity among them; from -45: denormal ones too."""
    random = np.random.default_rng(0)
    norms = (10 ** random.uniform(least, 38, size=(200, 2))).astype("float32")
    norms[random.random(size=norms.shape) < 0.1] = 0.0
    norms[random.random(size=norms.shape) < 0.1] = np.inf
    assert (norms == 0).any(axis=0).all() and np.isinf(norms).any(axis=0).all()
    return [(tf.constant(w), tf.constant(u)) for w, u in norms]


BOUNDS = [(0.0, 0.0), (0.0, 1.0), (0.01, 10.0), (0.7, 0.7), (1e-8, 1e8), (0.0, math.inf)]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_bounds_on_the_ratio_always_hold(bounds):
    lowest, highest = np.float32(bounds)
    for norms in random_norms(-45):
        assert lowest <= trust_ratio(*norms, bounds).numpy() <= highest, norms


@pytest.mark.parametrize("bounds", BOUNDS)
def test_bounds_on_the_weight_norm_are_numpys(bounds):
    lowest, highest = np.float64(bounds)
    for norms in random_norms():
        w, u = (np.float64(n) for n in norms)
        w = min(max(w, lowest), highest)
        with np.errstate(all="ignore"):
            expected = w / u if w > 0 and u > 0 and w / u <= np.finfo("float32").max else 1.0
        actual = float(trust_ratio(*norms, bounds, "weight_norm"))
        assert actual == pytest.approx(expected, rel=1e-5, abs=1.2e-38), (w, u)  # 0 below float32


@pytest.mark.parametrize("bound_on", ["ratio", "weight_norm"])
@pytest.mark.parametrize("bounds", BOUNDS)
def test_is_bounded_says_whether_the_bounds_made_a_difference(bounds, bound_on):
    for norms in [
        *random_norms(-45),
        *((tf.constant(w), tf.constant(2.0)) for w in (0.7, 1.0, 1.4)),
    ]:
        differs = float(trust_ratio(*norms, bounds, bound_on)) != float(trust_ratio(*norms))
        assert bool(is_bounded(*norms, bounds, bound_on)) == differs, norms


@pytest.mark.parametrize("bound_on", ["ratio", "weight_norm"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ratio_is_finite_whatever_the_numbers(dtype, bound_on):
    numbers = [0.0, 6e-8, 1e-5, 1.0, 256.0, 60000.0, float(tf.as_dtype(dtype).max)]
    numbers += [] if dtype == "float16" else [1e-42, 1e-30, 1e18, 1e20]
    tensors = [tf.constant([number, -number], dtype) for number in numbers]
    for bounds in (None, (0.01, 10.0), (0.0, math.inf)):
        for weight in tensors:
            for update in tensors:
                value = float(ratio_of(weight, update, bounds, bound_on))
                assert math.isfinite(value) and value >= 0, (weight, update, bounds)


def test_sixteen_bits_lose_nothing_at_the_ends_of_their_range():
    """float16's own squares would be 0 for the smallest number and infinite for the greatest."""
    smallest, greatest = tf.fill([3], tf.constant(6e-8, "float16")), tf.fill([12], tf.float16.max)
    assert float(ratio_of(smallest, greatest)) == pytest.approx(2.0**-24 / 65504 / 2, rel=1e-6)
    assert float(ratio_of(greatest, smallest)) == pytest.approx(2.0**24 * 65504 * 2, rel=1e-6)


# Roles, and expressions that match nothing.


def test_roles_are_the_biases_and_norms_of_keras_layers():
    layers = tf.keras.layers
    inputs = tf.keras.Input([4, 4, 3])
    x = layers.BatchNormalization()(layers.Conv2D(4, 2)(inputs))
    x = layers.GroupNormalization(2)(layers.DepthwiseConv2D(2)(x))
    x = layers.Reshape([4, 4])(layers.LayerNormalization()(layers.PReLU()(x)))
    x = layers.MultiHeadAttention(1, 2)(layers.GRU(4, return_sequences=True)(x), x)
    x = layers.BatchNormalization(name="bias")(layers.Dense(3, name="gamma")(x))
    roles = {"bias": set(), "norm": set(), "none": set()}
    for variable in tf.keras.Model(inputs, x).trainable_variables:
        of_role = [role for role in ("bias", "norm") if matches((role,), variable)] or ["none"]
        assert len(of_role) == 1, variable.name
        roles[of_role[0]].add(variable.name.split("/")[-1])
    assert roles["bias"] == {"bias:0"}
    assert roles["norm"] == {"gamma:0", "beta:0"}
    assert roles["none"] == {"kernel:0", "depthwise_kernel:0", "alpha:0", "recurrent_kernel:0"}


@pytest.mark.parametrize(
    ("role", "name", "expected"),
    [
        ("bias", "bias", True),
        ("bias", "cell/recurrent_bias", True),
        ("bias", "bias/kernel", False),
        ("bias", "dense/bias_1", False),
        ("norm", "gamma", True),
        ("norm", "stem/beta", True),
        ("norm", "gamma/kernel", False),
    ],
)
def test_a_role_is_the_last_part_of_a_name(role, name, expected):
    assert matches((role,), tf.Variable(0.0, name=name)) == expected


def test_unmatched_names_the_expressions_that_no_variable_matches():
    variables = [tf.Variable(0.0, name=name) for name in ("dense/kernel", "dense/offset")]
    assert unmatched((), variables) == []
    assert unmatched(("bias", "norm"), variables) == []  # roles may have none
    assert unmatched(("gama", "kernel", "^offset", "offset:0$"), variables) == ["gama", "^offset"]
    assert unmatched(("kernel",), []) == ["kernel"]
