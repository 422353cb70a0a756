"""Noise on targets: Gaussian, the same in every split, of one-hot and of integer labels; metrics see the clean ones."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LabelNoise, LargeBatchModel, SmallLossDiscarding, TargetNoise
from tflbt.training.rules.label_smoothing import SmoothedSparseCategoricalCrossentropy

K = tf.keras
LABELS = np.arange(600) % 3
X = np.eye(3, dtype="float32")[LABELS]


def classifier(loss) -> LargeBatchModel:
    """A model that says every label, and learns at a rate of 1."""
    inputs = K.Input([3])
    unit = K.layers.Dense(3, use_bias=False, kernel_initializer="identity")
    model = LargeBatchModel(inputs, unit(inputs))
    model.compile(K.optimizers.SGD(1.0), loss, ["accuracy"], run_eagerly=True)
    return model


def train(model, y, rule, size=600, **arguments):
    options = {"batch_size": 600, "sub_batch_size": size, "shuffle": False, "verbose": 0}
    return model.fit(X, y, **{"rules": [rule], **options, **arguments}).history


def test_the_gradient_of_a_square_is_moved_by_the_mean_of_the_noise():
    """One update by the mean square: of three outputs for each class of samples, 200 draws a number."""
    moved = []
    for size in (600, 200):
        model = classifier("mse")
        history = train(model, X, TargetNoise(0.6, seed=2), size)
        assert history["loss"][0] == pytest.approx(0.36, rel=0.05)
        assert history["accuracy"] == [1.0]
        moved.append(model.get_weights()[0] - np.eye(3))
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-6)
    # Each is a mean of 200 draws, times the rate, 2 / 3 outputs and a third of the samples.
    means = moved[0] / (2 / 9)
    assert 0.4 < means.std() / (0.6 / np.sqrt(200)) < 1.6 and np.abs(means).max() < 0.2
    assert len(np.unique(means)) == 9


def test_integer_labels_are_those_that_are_one_hot():
    """With a derivative that counts that noisy targets do not sum to 1, as Keras's of probabilities does."""

    def keras_loss(y, z):
        return K.losses.categorical_crossentropy(y, tf.nn.softmax(z))

    models = [classifier(SmoothedSparseCategoricalCrossentropy(0.0)), classifier(keras_loss)]
    found, wanted = (
        train(model, y, TargetNoise(0.5), epochs=2)
        for model, y in zip(models, (LABELS[:, None], X))
    )
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    np.testing.assert_allclose(*(model.get_weights()[0] for model in models), atol=1e-5)
    assert found["loss"][0] != found["loss"][1] and found["accuracy"] == [1.0, 1.0]


def test_target_noise_goes_with_what_it_can():
    sparse = K.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="target_noise of std=0.1 takes y as one array of one-hot"):
        train(classifier(sparse), LABELS, TargetNoise(0.1))
    with pytest.raises(ValueError, match="target_noise and label_noise, which do not go together"):
        train(classifier("mse"), X, TargetNoise(0.1), rules=[TargetNoise(0.1), LabelNoise(0.1)])
    with pytest.raises(ValueError, match="target_noise and small_loss, which do not go together"):
        whole = SmallLossDiscarding(0.5, None, "update")
        train(classifier("mse"), X, TargetNoise(0.1), rules=[TargetNoise(0.1), whole])
    assert TargetNoise(0.25).columns(0) == {"target_noise": 0.25}
    with pytest.raises(ValueError, match="std=-1"):
        TargetNoise(-1)
