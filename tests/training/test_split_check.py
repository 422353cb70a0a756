"""A loss that is a sum over samples is refused before a batch is split; one that is no mean is told of."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel

K = tf.keras


def total(y_true, y_pred):
    return tf.reduce_sum((y_true - y_pred) ** 2)


def mean(y_true, y_pred):
    return tf.reduce_mean((y_true - y_pred) ** 2)


def root(y_true, y_pred):
    return tf.sqrt(mean(y_true, y_pred))


class Adds(K.layers.Layer):
    """Adds a loss that is a sum over samples."""

    def call(self, inputs):
        self.add_loss(1e-3 * tf.reduce_sum(inputs**2))
        return inputs


def adding(loss):
    inputs = K.Input([4])
    model = LargeBatchModel(inputs, K.layers.Dense(3)(Adds()(inputs)))
    model.compile("sgd", loss)
    return model


def model_of(loss, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", loss)
    return model


@pytest.fixture
def pair(samples):
    x, y = samples
    return x, tf.one_hot(y, 3).numpy() if y.ndim == 1 else y


def test_sums_are_refused_where_a_batch_is_split(pair, network):
    model = model_of(total, network)
    with pytest.raises(ValueError, match="loss .total, .* is a sum over samples"):
        model.fit(*pair, batch_size=8, sub_batch_size=4, verbose=0)

    class Grow(K.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.batch_size = 16

    model.fit(*pair, batch_size=8, verbose=0)
    with pytest.raises(ValueError, match="is a sum over samples"):
        model.fit(*pair, batch_size=8, verbose=0, callbacks=[Grow()], epochs=2)


@pytest.mark.parametrize(("loss", "notice"), [(mean, False), (root, True), ("mse", False)])
def test_means_train_and_others_are_told_of(loss, notice, pair, network, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        model_of(loss, network).fit(*pair, batch_size=8, sub_batch_size=4, verbose=0)
    assert ("is not their mean" in caplog.text) == notice
    about = [
        text for text in caplog.messages if "one number" in text or "is not their mean" in text
    ]
    assert len(about) == (loss != "mse")  # one notice says all


def test_what_layers_add_is_refused_too():
    x = tf.random.stateless_normal([16, 4], [0, 1])
    with pytest.raises(ValueError, match="what add_loss adds"):
        adding("mse").fit(x.numpy(), x.numpy()[:, :3], batch_size=8, sub_batch_size=4, verbose=0)
