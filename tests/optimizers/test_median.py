"""The median is NumPy's, element for element: sizes, distributions, dtypes, both ways of counting, XLA."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import median as module
from tflbt.optimizers.median import MOST, SORTED, median

SIZES = (1, 2, 5, SORTED, SORTED + 1, 100_003)
DTYPES = ("float16", "bfloat16", "float32", "float64")


def _mostly_zero(random, size):
    return np.where(random.random(size) < 0.01, random.normal(size=size), 0.0)


def _huge_spread(random, size):
    return random.choice([-1.0, 1.0], size) * 10 ** random.uniform(-37.9, 38.4, size)


def _denormals(random, size):
    """Of float32: TensorFlow turns them into 0 where it computes, but the median only compares their bits."""
    return random.normal(size=size) * 1e-40


def _one_upper_half(random, size):
    """All in one bin of the first count, apart in the second."""
    return 1.0 + random.random(size) * 2**-8


DISTRIBUTIONS = {
    "normal": lambda random, size: random.normal(size=size),
    "constant": lambda random, size: np.full(size, -0.37),
    "all zero": lambda random, size: np.zeros(size) * random.choice([-1.0, 1.0], size),
    "mostly zero": _mostly_zero,
    "huge spread": _huge_spread,
    "denormals": _denormals,
    "ties": lambda random, size: random.integers(-3, 4, size) / 4,
    "one upper half": _one_upper_half,
}


def draw(distribution: str, size: int, dtype: str = "float32") -> np.ndarray:
    """Numbers of a distribution; what is too large for float16 is infinite there."""
    drawn = DISTRIBUTIONS[distribution](np.random.default_rng(size), size)
    with np.errstate(over="ignore"):
        return drawn.astype(tf.as_dtype(dtype).as_numpy_dtype)


def by_sorting(values: np.ndarray) -> np.ndarray:
    """The lower median of absolute values in float32; NumPy sorts NaNs to the end."""
    ordered = np.sort(np.abs(values.astype(np.float32)), axis=None)
    return ordered[(ordered.size - 1) // 2]


def found_by(find, values: np.ndarray) -> np.ndarray:
    """What one of the two ways finds, whatever the size."""
    bits = np.abs(values.astype(np.float32)).ravel().view(np.int32)
    found = find(tf.constant(bits), (bits.size - 1) // 2)
    return tf.bitcast(found, tf.float32).numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_it_is_the_lower_median_of_absolute_values(distribution, size):
    for dtype in DTYPES:
        if (distribution, dtype) == ("denormals", "float64"):
            continue  # where float64 is rounded to float32, TensorFlow makes 0 of these
        values = draw(distribution, size, dtype)
        result = median(tf.constant(values))
        assert result.dtype == tf.float32 and result.shape == ()
        assert result.numpy() == by_sorting(values), dtype


@pytest.mark.parametrize("find", [module._by_counting, module._bit_by_bit])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_both_ways_find_it_in_any_number_of_numbers(find, distribution):
    for size in SIZES:
        values = draw(distribution, size)
        assert found_by(find, values) == by_sorting(values), size


@pytest.mark.parametrize("find", [module._by_counting, module._bit_by_bit])
def test_every_rank_is_found(find):
    values = draw("ties", 40)
    bits = tf.constant(np.abs(values).view(np.int32))
    every_rank = [float(tf.bitcast(find(bits, rank), tf.float32)) for rank in range(40)]
    assert every_rank == np.sort(np.abs(values)).tolist()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("xla", [False, True])
def test_compiled_it_is_the_same(size, xla):
    compiled = tf.function(median, jit_compile=xla)
    bit_by_bit = tf.function(
        lambda bits: module._bit_by_bit(bits, (size - 1) // 2), jit_compile=xla
    )
    for distribution in DISTRIBUTIONS:
        values = draw(distribution, size)
        assert compiled(tf.constant(values)).numpy() == by_sorting(values), distribution
        found = bit_by_bit(tf.constant(np.abs(values).view(np.int32)))
        assert tf.bitcast(found, tf.float32).numpy() == by_sorting(values), distribution


@pytest.mark.parametrize("dtype", DTYPES)
def test_xla_takes_every_dtype(dtype):
    values = draw("normal", SORTED + 1, dtype)
    assert tf.function(median, jit_compile=True)(tf.constant(values)).numpy() == by_sorting(values)


@pytest.mark.parametrize("size", [5, SORTED + 1])
def test_powers_of_two_scale_it_exactly(size):
    values = draw("normal", size)
    for power in (-100, -1, 1, 20, 100):
        scale = np.float32(2.0**power)
        assert median(tf.constant(scale * values)).numpy() == scale * by_sorting(values)


@pytest.mark.parametrize("size", [5, SORTED + 1])
def test_the_shape_does_not_matter(size):
    values = draw("normal", size * 6)
    for shape in ([size * 6], [size, 6], [3, size, 2]):
        assert median(tf.constant(values.reshape(shape))).numpy() == by_sorting(values)


@pytest.mark.parametrize("size", [6, SORTED + 2])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_nans_count_as_larger_than_every_number(size, share):
    values = draw("normal", size)
    values[: int(share * size)] = np.random.default_rng(0).choice([np.nan, -np.nan])
    values[-1] = np.inf
    expected = by_sorting(values)
    assert np.isnan(expected) == (share > 0.5)
    np.testing.assert_array_equal(median(tf.constant(values)), expected)
    for find in (module._by_counting, module._bit_by_bit):
        np.testing.assert_array_equal(found_by(find, values), expected)


def test_under_op_determinism_nothing_is_counted_into_bins():
    """The switch is undone after every test."""

    def ops():
        shape = tf.TensorSpec([SORTED + 1], tf.float32)
        graph = tf.function(median).get_concrete_function(shape).graph
        return {op.type for op in graph.get_operations()}

    values = np.random.default_rng(0).normal(size=SORTED + 1).astype("float32")
    before = median(tf.constant(values)).numpy()
    assert "Bincount" in ops()
    tf.keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    assert "Bincount" not in ops()
    assert median(tf.constant(values)).numpy() == before == np.sort(np.abs(values))[SORTED // 2]


@pytest.mark.parametrize(("size", "every"), [(MOST, 1), (MOST + 1, 3), (3 * MOST + 1, 5)])
def test_of_many_numbers_every_kth_is_taken(size, every):
    values = np.random.default_rng(0).normal(size=size).astype("float32")
    found = float(median(tf.constant(values)))
    kept = np.sort(np.abs(values[::every]))
    assert found == kept[(len(kept) - 1) // 2]
    assert found == pytest.approx(np.median(np.abs(values)), rel=0.02)
    assert len(kept) <= MOST
