"""The gradient noise scale against NumPy: unequal sub-batches, regularisers, instances, discarding, resumption."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.callbacks import Checkpoint
from tflbt.data import BatchAugmentation
from tflbt.training import (
    GradientNorm,
    LargeBatchModel,
    NoiseScale,
    SmallLossDiscarding,
    Strides,
    keras_internals,
)
from tflbt.training.rules.noise_scale import COLUMNS, estimates, predicted_noise_scale

K = tf.keras
RATE, MOMENTUM, DECAY = 0.1, 0.5, 0.9


def linear(penalty=0.0, optimizer=None, eager=True) -> LargeBatchModel:
    """One linear unit with weights of one; the gradient of sample i is 2 (x_i . w - y_i) x_i. No trace: it is quick."""
    inputs = K.Input([5])
    regularizer = K.regularizers.L2(penalty) if penalty else None
    unit = K.layers.Dense(
        1, use_bias=False, kernel_initializer="ones", kernel_regularizer=regularizer
    )
    model = LargeBatchModel(inputs, unit(inputs))
    model.compile(optimizer or K.optimizers.SGD(RATE, MOMENTUM), "mse", run_eagerly=eager)
    return model


def train(model, samples, rule, **arguments):
    usual = {"batch_size": 16, "sub_batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(samples[0], samples[1][:, :1], rules=[rule], **{**usual, **arguments})
    return rule.columns(0)


def by_hand(samples, epochs=1, penalty=0.0, compared=0.0):
    """NumPy: updates of 16 and 14 samples in sub-batches of 4, of which a share of the losses may be discarded."""
    x, y, w, speed = samples[0].astype("float64"), samples[1][:, 0], np.ones(5), np.zeros(5)
    averages = np.zeros(4)
    for _ in range(epochs):
        for first in (0, 16):
            last = min(first + 16, 30)
            parts = [np.arange(i, min(i + 4, last)) for i in range(first, last, 4)]
            gone = [np.argsort((x[p] @ w - y[p]) ** 2)[: int(compared * len(p))] for p in parts]
            parts = [np.delete(part, discarded) for part, discarded in zip(parts, gone)]
            means = [2 * x[part].T @ (x[part] @ w - y[part]) / len(part) for part in parts]
            sizes = np.array([len(part) for part in parts])
            mean = sizes @ means / sizes.sum()
            squares = sizes @ np.sum(np.square(means), axis=1)
            trace = (squares - sizes.sum() * mean @ mean) / (len(parts) - 1)
            new = [trace, mean @ mean - trace / sizes.sum(), sizes.sum(), 1]
            averages = DECAY * averages + (1 - DECAY) * np.array(new)
            speed = MOMENTUM * speed - RATE * (mean + 2 * penalty * w)
            w = w + speed
    trace, square, batch = averages[:3] / averages[3]
    ratio = np.sqrt(batch * square / trace) if square > 0 else np.nan
    scale = trace / square if square > 0 else np.nan
    return dict(zip(COLUMNS, (scale, trace, square, ratio)))


@pytest.mark.parametrize(
    ("penalty", "discarded"), [(0.0, 0.0), (0.05, 0.5)], ids=["plain", "L2 and small losses"]
)
def test_it_is_what_numpy_computes_and_changes_nothing(samples, penalty, discarded):
    few = {"small_loss": SmallLossDiscarding(discarded)} if discarded else {}
    eager = bool(penalty or discarded)
    model, plain = linear(penalty, eager=eager), linear(penalty, eager=eager)
    found = train(model, samples, NoiseScale(DECAY), epochs=2, **few)
    wanted = by_hand(samples, 2, penalty, discarded)
    wanted["noise_scale_predicted"] = RATE * 30 / ((8 if few else 16) * (1 - MOMENTUM))
    assert list(found) == list(COLUMNS)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-4, nan_ok=True), name
    plain.fit(
        samples[0], samples[1][:, :1], epochs=2, batch_size=16, sub_batch_size=4, shuffle=False,
        verbose=0, **few,
    )  # fmt: skip
    np.testing.assert_array_equal(model.get_weights()[0], plain.get_weights()[0])
    if not eager:  # and costs nothing where nobody asks for it
        assert "L2Loss" in operations(model) and "L2Loss" not in operations(plain)


def operations(model):
    """The kinds of operations in the train function."""
    (trace,) = keras_internals.concrete_functions(model.train_tf_function)
    definition = trace.graph.as_graph_def()
    return {node.op for body in definition.library.function for node in body.node_def}


def test_the_estimates_have_no_bias_for_sub_batches_of_any_sizes():
    random = np.random.default_rng(0)
    mean, deviations, sizes = np.array([1.0, -0.5]), np.array([3.0, 2.0]), np.array([2, 5, 9])
    found = []
    for _ in range(4000):
        parts = [random.normal(mean, deviations, (size, 2)).mean(0) for size in sizes]
        whole = sizes @ parts / sizes.sum()
        squares = sizes @ np.sum(np.square(parts), axis=1)
        found.append(estimates(squares, len(sizes), sizes.sum(), whole @ whole))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - [13.0, 1.25]) < 4 * error).all()
    # Equal sub-batches: McCandlish et al., A.1, with the small batch that of a sub-batch.
    small, large, b, whole = 2.0, 1.25, 8, 32
    trace, square = estimates(4 * b * small, 4, whole, large)
    assert square == pytest.approx((whole * large - b * small) / (whole - b))
    assert trace == pytest.approx((small - large) / (1 / b - 1 / whole))
    assert predicted_noise_scale(0.2, 1000, 10, 0.0) == 20


def test_instances_side_by_side_count_as_samples(samples):
    """Equal instances: what is estimated of the samples is the same as without."""
    wanted = train(linear(), samples, NoiseScale(DECAY))
    both = {"batch_size": 32, "sub_batch_size": 8, "batch_augmentation": BatchAugmentation(2)}
    found = train(linear(), samples, NoiseScale(DECAY), **both)
    assert list(found.values()) == pytest.approx(list(wanted.values()), rel=1e-4)
    apart = {"batch_size": 32, "batch_augmentation": BatchAugmentation(2, "rank")}
    with pytest.raises(ValueError, match="placement='rank' .*noise_scale .* use placement='sub_b"):
        train(linear(), samples, NoiseScale(), **apart)


def test_under_loss_scaling_it_is_of_the_true_gradient_and_an_overflow_is_passed_over(samples):
    wanted = train(linear(), samples, NoiseScale(DECAY))
    inner = K.optimizers.SGD(RATE, MOMENTUM)
    scaled = K.mixed_precision.LossScaleOptimizer(inner, dynamic=False, initial_scale=128)
    model, rule = linear(optimizer=scaled), NoiseScale(DECAY)
    found = train(model, samples, rule)
    assert list(found.values()) == pytest.approx(list(wanted.values()), rel=1e-4)
    train(model, [samples[0] * np.inf, samples[1]], rule)
    assert list(rule.columns(0).values()) == pytest.approx(list(wanted.values()), rel=1e-4)


def test_an_update_of_a_single_sub_batch_says_that_it_has_none(samples, caplog):
    rule = NoiseScale()
    columns = train(linear(), samples, rule, sub_batch_size=16, epochs=2)
    assert [columns[name] for name in COLUMNS[:4]] == [None] * 4
    assert columns["noise_scale_predicted"] == pytest.approx(RATE * 30 / 16 / (1 - MOMENTUM))
    assert caplog.text.count("batch_size=16 is one sub-batch") == 1


def test_it_resumes_as_the_other_measures_do(samples, tmp_path):
    def trained(model, epochs, **options):
        rules = [NoiseScale(DECAY), Strides("all"), GradientNorm()]
        options = {"initial_epoch": 0, "epochs": epochs, "shuffle": False, "verbose": 0, **options}
        x, y = samples[0], samples[1][:, :1]
        model.fit(x, y, batch_size=16, sub_batch_size=4, rules=rules, **options)
        return [rule.columns(epochs - 1) for rule in rules]

    trained(linear(), 1, callbacks=[Checkpoint(tmp_path)])
    model = linear()
    Checkpoint(tmp_path).resume(model)
    assert trained(model, 2, initial_epoch=1) == trained(linear(), 2)


def test_optimizers_without_momentum_have_no_predicted_scale(samples):
    columns = train(linear(optimizer=K.optimizers.Adam()), samples, NoiseScale())
    assert columns["noise_scale_predicted"] is None and columns["gradient_variance"] > 0


def test_a_decay_out_of_range_is_refused():
    with pytest.raises(ValueError, match="decay=1.0 must be at least 0 and less than 1"):
        NoiseScale(1.0)
