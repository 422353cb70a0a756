"""The loss as a sum over samples against Keras's own mean."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import top_eigenvalue
from tflbt.curvature.total_loss import TotalLoss, total_loss_of

losses = tf.keras.losses


def model_of(loss, units=3, **compiled):
    model = tf.keras.Sequential([tf.keras.layers.Dense(units, input_shape=(4,))])
    model.compile(loss=loss, **compiled)
    return model


@pytest.mark.parametrize(
    "loss, labels",
    [
        (losses.SparseCategoricalCrossentropy(from_logits=True), "label"),
        (losses.SparseCategoricalCrossentropy(from_logits=True), "column"),
        (losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), "one_hot"),
        ("mse", "one_hot"),
        (lambda y, p: tf.reduce_mean(tf.abs(y - p), -1), "one_hot"),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_keras_mean_times_samples(loss, labels, weighted):
    rng = np.random.default_rng(0)
    model = model_of(loss)
    x = rng.standard_normal((7, 4)).astype("float32")
    y = rng.integers(0, 3, 7)
    y = {"label": y, "column": y[:, None], "one_hot": np.eye(3, dtype="float32")[y]}[labels]
    weight = rng.random(7).astype("float32") if weighted else None
    keras = model.evaluate(x, y, sample_weight=weight, batch_size=7, verbose=0)
    tensors = [None if a is None else tf.constant(a) for a in (y, weight)]
    ours = total_loss_of(model)(tensors[0], model(x), tensors[1])
    assert float(ours) / 7 == pytest.approx(keras, rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "none", "sum_over_batch_size"])
def test_reduction_does_not_change_the_sum(reduction):
    loss = losses.MeanSquaredError(reduction=reduction)
    y, p = tf.constant([[1.0, 3.0], [2.0, 0.0]]), tf.zeros([2, 2])
    assert float(TotalLoss(loss)(y, p)) == pytest.approx(5.0 + 2.0)


def test_several_outputs_with_weights_and_names():
    y = {"a": tf.constant([[1.0], [2.0]]), "b": tf.constant([[3.0], [0.0]])}
    p = {"a": tf.zeros([2, 1]), "b": tf.zeros([2, 1])}
    total = TotalLoss({"a": "mse", "b": "mae"}, {"b": 10.0}, ["a", "b"])
    assert float(total(y, p)) == pytest.approx(5.0 + 30.0)
    as_lists = TotalLoss(["mse", None], [2.0, 1.0], ["a", "b"])
    assert float(as_lists(list(y.values()), list(p.values()))) == pytest.approx(10.0)


def test_compiled_loss_weights_count():
    model = model_of("mse", 1, loss_weights=[3.0])
    assert float(total_loss_of(model)(tf.ones([2, 1]), tf.zeros([2, 1]))) == pytest.approx(6.0)


def test_errors_say_what_to_do():
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,), name="top")])
    with pytest.raises(ValueError, match="compile"):
        total_loss_of(model)
    with pytest.raises(ValueError, match=r"names outputs \['nope'\]"):
        TotalLoss({"nope": "mse"}, None, ["top"])(tf.ones([2, 1]), tf.ones([2, 1]))
    with pytest.raises(ValueError, match="3 entries for 1"):
        TotalLoss("mse", [1, 2, 3])(tf.ones([2, 1]), tf.ones([2, 1]))


def test_keys_tell_losses_apart():
    one, other = losses.MeanSquaredError(), losses.MeanSquaredError()
    assert TotalLoss("mse").key == TotalLoss("mse").key
    assert TotalLoss(one).key == TotalLoss(one).key != TotalLoss(other).key
    assert TotalLoss({"a": one}).key == TotalLoss({"a": one}).key != TotalLoss({"b": one}).key
    weights = [TotalLoss(one, {name: 2.0}).key for name in "ab"]
    assert weights[0] != weights[1] != TotalLoss(one, regularization=True).key


def test_a_masked_loss_has_the_same_hessian_whatever_the_sub_batches():
    """Half of the samples have eight words, the others one: a mean of means would weigh these too much."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(1, 6, (32, 8)), rng.integers(0, 2, (32, 8))
    x[16:, 1:], x[16:, 0] = 0, 6
    layer = tf.keras.layers.Embedding(7, 3, mask_zero=True, input_length=8)
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(2)])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    whole, *parts = (
        top_eigenvalue(
            model, x, y, layers=layer.name, method="exact", iterations=30, sub_batch_size=size
        ).eigenvalue
        for size in (32, 16, 4)
    )
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            value = model.compiled_loss(tf.constant(y), model(x, training=False))
        slope = tf.reshape(tf.convert_to_tensor(inner.gradient(value, layer.embeddings)), [-1])
    hessian = outer.jacobian(slope, layer.embeddings).numpy().reshape(21, 21)
    assert whole == pytest.approx(np.linalg.eigvalsh(hessian).max(), rel=1e-3)
    assert parts == pytest.approx([whole, whole], rel=1e-4)
