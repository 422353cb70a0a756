"""Noise in gradients, weights and labels: where it goes in, that it is the same in every split, and on resumption."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.callbacks import Checkpoint
from tflbt.training import (
    FGSM,
    GradientNoise,
    LabelNoise,
    LargeBatchModel,
    SmallLossDiscarding,
    WeightNoise,
)
from tflbt.training.rules.noise_injection import noise_like

K = tf.keras
RATE = 0.1


def linear(eager=True, **options) -> LargeBatchModel:
    """One linear unit with weights of one; the gradient of sample i is 2 (x_i . w - y_i) x_i."""
    inputs = K.Input([5])
    unit = K.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = LargeBatchModel(inputs, unit(inputs))
    model.compile(K.optimizers.SGD(RATE, **options), "mse", run_eagerly=eager)
    return model


def train(model, samples, *rules, **arguments):
    usual = {"batch_size": 16, "sub_batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(samples[0], samples[1][:, :1], rules=rules, **{**usual, **arguments})
    return model.get_weights()[0][:, 0]


def drawn(rule, kind, like, update, std):
    (noise,) = noise_like(
        [tf.constant(like[:, None], tf.float32)], std, rule.relative, (rule.seed, kind), update
    )
    return noise.numpy()[:, 0]


def by_hand(samples, rule):
    """NumPy: the weights after updates of 16 and 14 samples, with the noise of `noise_like`."""
    x, y, w = samples[0].astype("float64"), samples[1][:, 0], np.ones(5)
    for update, part in enumerate((slice(16), slice(16, 30))):
        at = w + drawn(rule, 0, w, update, rule.std) if isinstance(rule, WeightNoise) else w
        gradient = 2 * x[part].T @ (x[part] @ at - y[part]) / len(x[part])
        if isinstance(rule, GradientNoise):
            std = rule.std / (1 + update) ** rule.decay
            gradient = gradient + drawn(rule, 1, gradient, update, std)
        w = w - RATE * gradient
    return w


@pytest.mark.parametrize(
    "rule",
    [
        GradientNoise(0.5, seed=3),
        GradientNoise(0.5, decay=0.55, relative=True),
        WeightNoise(0.5, seed=3),
        WeightNoise(0.5, relative=True),
    ],
    ids=lambda rule: f"{rule.name}{'_relative' * rule.relative}",
)
def test_an_update_is_the_one_by_hand_whatever_the_sub_batches(samples, rule):
    wanted = by_hand(samples, rule)
    for size in (16,) if rule.relative else (4, 16):
        found = train(linear(eager=size == 16), samples, rule, sub_batch_size=size)
        np.testing.assert_allclose(found, wanted, atol=2e-6)
    ((name, ratio),) = rule.columns(0).items()
    assert name == f"injected_{rule.name}" and 0.05 < ratio < 5


def test_noise_is_gaussian_and_new_for_every_update_and_variable():
    zeros = [tf.zeros([40, 50]), tf.zeros([40, 50])]
    parts = [*noise_like(zeros, 2.0, False, (0, 0), 0), *noise_like(zeros, 2.0, False, (0, 0), 1)]
    parts += noise_like(zeros, 2.0, False, (0, 1), 0) + noise_like(zeros, 2.0, False, (1, 0), 0)
    values = np.array([part.numpy().ravel() for part in parts])
    assert values.std() == pytest.approx(2, rel=0.03) and abs(values.mean()) < 0.06
    assert np.abs(np.corrcoef(values) - np.eye(len(values))).max() < 0.1


def test_the_weights_are_put_back_also_where_the_data_end(samples):
    """Where Keras does not know how many there are, the last update of an epoch finds none."""
    parts = [(samples[0][i : i + 5], samples[1][i : i + 5, :1]) for i in range(0, 30, 5)]
    spec = (tf.TensorSpec([None, 5]), tf.TensorSpec([None, 1]))
    data = tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=spec)
    model = linear(eager=False)
    model.optimizer.learning_rate = 0.0
    model.fit(data, batch_size=10, sub_batch_size=5, verbose=0, rules=[WeightNoise(0.5)])
    np.testing.assert_array_equal(model.get_weights()[0], 1)
    assert int(model.optimizer.iterations) == 3


def test_gradient_noise_comes_before_clipping(samples):
    moved = train(linear(global_clipnorm=0.01), samples, GradientNoise(100.0), batch_size=30,
                  sub_batch_size=30)  # fmt: skip
    assert np.linalg.norm(moved - 1) == pytest.approx(RATE * 0.01, rel=1e-3)


def test_a_resumed_run_draws_the_same(samples, tmp_path):
    rules = GradientNoise(0.1), WeightNoise(0.1)
    train(linear(), samples, *rules, callbacks=[Checkpoint(tmp_path)])
    model = linear()
    Checkpoint(tmp_path).resume(model)
    resumed = train(model, samples, *rules, initial_epoch=1, epochs=2)
    np.testing.assert_array_equal(resumed, train(linear(), samples, *rules, epochs=2))


def classifier(classes=4) -> LargeBatchModel:
    """A model that knows every label, and does not learn: its accuracy on clean labels is 1."""
    inputs = K.Input([classes])
    unit = K.layers.Dense(classes, use_bias=False, kernel_initializer="identity")
    model = LargeBatchModel(inputs, unit(inputs))
    loss = K.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(K.optimizers.SGD(0.0), loss, ["accuracy"], run_eagerly=True)
    return model


@pytest.mark.parametrize("rank", [1, 2])
def test_labels_are_wrong_with_their_probability_and_metrics_see_the_clean_ones(rank):
    labels = np.arange(2000) % 4
    x = 100 * np.eye(4, dtype="float32")[labels]
    y = labels if rank == 1 else labels[:, None]
    model, rule = classifier(), LabelNoise(0.3, seed=1)
    options = {"batch_size": 2000, "shuffle": False, "verbose": 0, "rules": [rule]}
    history = model.fit(x, y, epochs=2, sub_batch_size=1000, **options).history
    # A wrong label costs 100, a right one nothing.
    assert history["loss"] == pytest.approx([30, 30], rel=0.1)
    assert history["loss"][0] != history["loss"][1]
    assert history["accuracy"] == [1.0, 1.0]
    again = classifier().fit(x, y, epochs=2, sub_batch_size=2000, **options).history
    assert again["loss"] == pytest.approx(history["loss"], rel=1e-5)
    assert rule.columns(0) == {"label_noise": 0.3}


def test_every_other_class_is_as_likely():
    rule, model = LabelNoise(1.0), classifier(5)
    rule.start(model, (tf.TensorSpec([None, 5]), tf.TensorSpec([None], tf.int64)))
    model.update_state.nominal.assign(5000.0)
    y = tf.fill([5000], tf.constant(3, tf.int64))
    counts = np.bincount(rule.targets(tf.constant(0), (tf.zeros([5000, 5]), y)).numpy())
    assert counts[3] == 0 and np.abs(counts[[0, 1, 2, 4]] - 1250).max() < 120


def test_label_noise_goes_with_what_it_can(samples):
    with pytest.raises(
        ValueError, match="label_noise of probability=0.5 takes y as one array of int"
    ):
        train(linear(), samples, LabelNoise(0.5))
    whole = SmallLossDiscarding(0.5, None, "update")
    with pytest.raises(ValueError, match="label_noise and small_loss, which do not go together"):
        train(linear(), samples, LabelNoise(0.5), small_loss=whole)
    labels = np.arange(40) % 4
    x = np.eye(4, dtype="float32")[labels]
    rules = [LabelNoise(0.5), SmallLossDiscarding(0.5), FGSM(0.5)]
    history = classifier().fit(x, labels, batch_size=20, sub_batch_size=10, verbose=0, rules=rules)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (GradientNoise, {"std": -1.0}, "std=-1.0"),
        (GradientNoise, {"decay": -1.0}, "decay=-1.0"),
        (WeightNoise, {"std": float("nan")}, "std=nan"),
        (WeightNoise, {"seed": -1}, "seed=-1"),
        (LabelNoise, {"probability": 1.5}, "probability=1.5"),
        (LabelNoise, {"classes": 1}, "classes=1"),
    ],
)
def test_arguments_out_of_range(kind, options, says):
    with pytest.raises(ValueError, match=says):
        kind(**options)
