"""Stateful layers are refused where batches are divided; of losses that are one number for a batch a notice speaks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel

K = tf.keras


@pytest.fixture
def series():
    x = np.random.default_rng(0).standard_normal((16, 3, 2)).astype("float32")
    return x, x[:, 0, :1]


def stateful(size: int) -> K.Model:
    K.utils.set_random_seed(1)
    inputs = K.Input(batch_shape=[size, 3, 2])
    model = K.Model(inputs, K.layers.Dense(1)(K.layers.SimpleRNN(3, stateful=True)(inputs)))
    return model


def test_states_go_on_from_batch_to_batch_where_a_batch_is_one_sub_batch(series, same):
    plain, model = stateful(4), LargeBatchModel.from_model(stateful(4))
    for each in (plain, model):
        each.compile(K.optimizers.SGD(0.1), "mse")
        each.fit(*series, batch_size=4, shuffle=False, verbose=0)
    same(model.get_weights(), plain.get_weights())


def test_states_that_several_sub_batches_would_mix_are_refused(series):
    class Grow(K.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.batch_size = 8

    model = LargeBatchModel.from_model(stateful(4))
    model.compile("sgd", "mse")
    words = "'simple_rnn.*' has stateful=True.* batch_size=8 has 2 sub-batches"
    with pytest.raises(ValueError, match=words):
        model.fit(*series, batch_size=8, sub_batch_size=4, verbose=0)
    with pytest.raises(ValueError, match=words):
        model.fit(*series, batch_size=4, verbose=0, callbacks=Grow())


def share(y, y_pred):
    """A loss of the whole batch, as Dice is."""
    return 1.0 - tf.reduce_sum(y * y_pred) / tf.reduce_sum(y**2 + y_pred**2)


def cubed(y, y_pred):
    return tf.reduce_mean(tf.abs(y - y_pred) ** 3, -1)


@pytest.mark.parametrize(
    ("loss", "metric", "sub_batch_size", "named"),
    [
        (share, cubed, 4, "loss share: one number"),
        (cubed, share, 4, "metric share: one number"),
        (share, share, 16, None),
        (cubed, "mae", 4, None),
    ],
)
def test_functions_of_a_whole_batch_are_named_once(
    loss, metric, sub_batch_size, named, samples, network, caplog
):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", loss, [metric], run_eagerly=True)  # it is said before an update is traced
    x, y = (part[:16] for part in samples)
    for _ in range(2):
        model.fit(x, y, batch_size=16, sub_batch_size=sub_batch_size, verbose=0)
    found = [record.message for record in caplog.records if "one number" in record.message]
    assert len(found) == (named is not None) and (not found or found[0].startswith(named))


@pytest.mark.parametrize("options", [{"save_freq": 1}, {"save_before_preemption": True}])
def test_a_backup_within_an_epoch_is_refused(options, samples, network, tmp_path):
    """Keras would go on at the sub-batch of that number."""
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    backup = K.callbacks.BackupAndRestore(f"{tmp_path}/backup", **options)
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.*saves within an epoch"):
        model.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0, callbacks=[backup])


def test_a_loss_that_compute_loss_does_not_use_is_passed_over():
    class Own(LargeBatchModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return tf.reduce_mean(tf.square(y - y_pred))

    inputs = tf.keras.Input([2])
    dense = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = Own(inputs, dense(inputs))
    model.compile(tf.keras.optimizers.SGD(0.5), "mae")
    x, y = tf.eye(2), tf.constant([[1.0], [2.0]])
    model.fit(x, y, batch_size=2, sub_batch_size=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(dense.kernel.numpy(), [[0.5], [1.0]])  # w - 0.5 * -y


class Counts(K.layers.Layer):
    """Counts its calls in training, and keeps what nobody changes."""

    def build(self, shape):
        self.calls, self.limit = (
            self.add_weight(name, (), initializer="zeros", trainable=False)
            for name in ("calls", "limit")
        )

    def call(self, inputs, training=None):
        if training:
            self.calls.assign_add(1.0)
        return inputs


@pytest.mark.parametrize("sub_batch_size", [None, 4])
def test_what_layers_change_by_themselves_is_named(sub_batch_size, samples, caplog):
    frozen = K.layers.Dense(3, trainable=False)
    layers = [K.layers.BatchNormalization(), K.layers.Dropout(0.5), frozen, Counts(name="counts")]
    model = LargeBatchModel.from_model(K.Sequential([K.Input([5]), *layers, K.layers.Dense(2)]))
    model.compile("sgd", "mse", run_eagerly=True)
    size = {"batch_size": 8, "sub_batch_size": sub_batch_size}
    model.fit(*(part[:8] for part in samples), **size, verbose=0)
    assert float(layers[-1].calls) == (1 if sub_batch_size is None else 2)
    notices = [text for text in caplog.messages if "which layers change" in text]
    assert len(notices) == (sub_batch_size is not None)
    for notice in notices:
        assert notice.startswith("counts/calls:0, which")
