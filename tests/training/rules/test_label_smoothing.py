"""Label smoothing against Keras's own on one-hot labels, in a loss, a training and an eigenvalue."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.curvature.dense_softmax import dense_softmax_product
from tflbt.curvature import top_eigenvalue
from tflbt.training.rules.label_smoothing import SmoothedSparseCategoricalCrossentropy

K = tf.keras


@pytest.fixture
def logits():
    return (np.random.default_rng(0).standard_normal((6, 4)) * 5).astype("float32")


@pytest.fixture
def classes():
    return np.array([0, 3, 1, 1, 2, 0])


def by_hand(labels, logits, smoothing):
    """The sum over classes of targets times minus log-probabilities, in float64."""
    z = logits.astype("float64")
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    count = z.shape[-1]
    targets = (1 - smoothing) * np.eye(count)[labels] + smoothing / count
    return -(targets * log_p).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("column", [False, True])
def test_by_hand_and_as_keras_on_one_hot_labels(smoothing, column, logits, classes):
    ours = SmoothedSparseCategoricalCrossentropy(smoothing)
    labels = classes[:, None] if column else classes
    wanted = by_hand(classes, logits, smoothing)
    np.testing.assert_allclose(ours.call(labels, logits), wanted, rtol=1e-5)
    np.testing.assert_allclose(ours(labels, logits), wanted.mean(), rtol=1e-5)
    theirs = K.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    weight = np.linspace(0, 2, 6)
    np.testing.assert_allclose(
        ours(labels, logits, sample_weight=weight),
        theirs(np.eye(4, dtype="float32")[classes], logits, sample_weight=weight),
        rtol=1e-5,
    )


def test_probabilities_are_taken_as_keras_takes_them(logits, classes):
    shares = 3 * tf.nn.softmax(logits)  # need not sum to 1
    ours = SmoothedSparseCategoricalCrossentropy(0.1, from_logits=False)
    theirs = K.losses.CategoricalCrossentropy(label_smoothing=0.1)
    np.testing.assert_allclose(
        ours(classes, shares), theirs(np.eye(4, dtype="float32")[classes], shares), rtol=1e-5
    )
    assert np.isfinite(ours([1], [[1.0, 0.0]]))


def test_a_class_for_each_pixel(logits, classes):
    ours = SmoothedSparseCategoricalCrossentropy(0.3)
    pixels, labels = logits.reshape(2, 3, 4), classes.reshape(2, 3)
    wanted = by_hand(classes, logits, 0.3)
    np.testing.assert_allclose(ours.call(labels, pixels), wanted.reshape(2, 3), rtol=1e-5)
    np.testing.assert_allclose(ours(labels, pixels), wanted.mean(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_computed_in_float32(dtype, classes):
    """Logits of up to 60,000, whose float16 differences overflow."""
    logits = tf.cast([[6e4, -6e4, 0, 0]] * 6, dtype)
    loss = SmoothedSparseCategoricalCrossentropy(0.1)(classes, logits)
    assert loss.dtype == tf.float32
    wanted = np.mean(0.9 * (6e4 - logits.numpy().astype("float64")[0][classes]) + 0.1 * 6e4)
    np.testing.assert_allclose(loss, wanted, rtol=5e-3)


def test_gradients_of_first_and_second_order(logits, classes):
    """First: p - t; second: that of softmax, whatever the smoothing."""
    loss = SmoothedSparseCategoricalCrossentropy(0.2, reduction="sum")
    z = tf.constant(logits[:1])
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            value = loss(classes[:1], z)
        gradient = inner.gradient(value, z)
    p = tf.nn.softmax(z).numpy()[0]
    np.testing.assert_allclose(gradient[0], p - 0.8 * np.eye(4)[classes[0]] - 0.05, atol=1e-6)
    hessian = outer.jacobian(gradient, z)[0, :, 0]
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-6)


def test_a_training_in_sub_batches_equals_keras_on_one_hot_labels(
    samples, labels, network, against_keras, same
):
    x, loss = samples[0], SmoothedSparseCategoricalCrossentropy(0.1)

    def compiled():
        return {"optimizer": K.optimizers.SGD(0.1), "loss": loss, "metrics": ["accuracy"]}

    weight = np.linspace(0, 1, 30)
    ours, _ = against_keras(
        lambda: network(3), compiled, x, labels, sample_weight=weight, validation_data=(x, labels)
    )
    one_hot = network(3)
    one_hot.compile(
        K.optimizers.SGD(0.1),
        K.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        ["accuracy"],
    )
    targets = np.eye(3, dtype="float32")[labels]
    one_hot.fit(x, targets, 16, 2, shuffle=False, verbose=0, sample_weight=weight)
    same(ours.get_weights(), one_hot.get_weights())
    np.testing.assert_allclose(
        ours.evaluate(x, labels, verbose=0), one_hot.evaluate(x, targets, verbose=0), rtol=1e-5
    )
    assert 0 < ours.evaluate(x, labels, verbose=0)[1] <= 1


def test_the_eigenvalue_is_that_of_the_dense_hessian(samples, labels, network):
    """And so, at the same weights, that of the loss without smoothing."""
    x, model = samples[0], network(3)
    model.compile("sgd", SmoothedSparseCategoricalCrossentropy(0.3))
    exact = top_eigenvalue(model, x, labels, method="exact", iterations=80).eigenvalue
    difference = top_eigenvalue(model, x, labels, iterations=80).eigenvalue
    model.compile("sgd", K.losses.SparseCategoricalCrossentropy(from_logits=True))
    hard = top_eigenvalue(model, x, labels, method="exact", iterations=80).eigenvalue

    layer = model.layers[-1]
    features = K.Model(model.input, layer.input)(x).numpy().astype("float64")
    kernel, bias = (w.numpy().astype("float64") for w in (layer.kernel, layer.bias))
    columns = []
    for unit in np.eye(kernel.size + bias.size):
        direction = unit[: kernel.size].reshape(kernel.shape), unit[kernel.size :]
        product = dense_softmax_product(features, kernel, bias, direction)
        columns.append(np.concatenate([part.ravel() for part in product]))
    dense = np.linalg.eigvalsh(np.stack(columns))[-1]
    assert exact == pytest.approx(dense, rel=1e-4)
    assert hard == pytest.approx(dense, rel=1e-4)
    assert difference == pytest.approx(dense, rel=2e-3)


def test_it_is_saved_with_the_model(samples, labels, network, tmp_path):
    model = network(3)
    model.compile("sgd", SmoothedSparseCategoricalCrossentropy(0.25), ["accuracy"])
    model.fit(samples[0], labels, verbose=0)
    model.save(tmp_path / "model.keras")
    again = K.models.load_model(tmp_path / "model.keras")
    assert (again.loss.label_smoothing, again.loss.from_logits) == (0.25, True)
    assert again.evaluate(samples[0], labels, verbose=0) == model.evaluate(
        samples[0], labels, verbose=0
    )


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_a_share_that_cannot_be_is_told(smoothing):
    with pytest.raises(ValueError, match=f"label_smoothing={smoothing!r} must be at least 0"):
        SmoothedSparseCategoricalCrossentropy(smoothing)
