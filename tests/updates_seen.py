"""A model whose weights say which samples each update took, and with which weight."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tflbt.training import LargeBatchModel

K = tf.keras


def mean_output(y_true, y_pred):
    """A loss whose gradient is the mean input, and so, with rows of the identity, the share of each sample."""
    return tf.reduce_mean(y_pred, axis=-1)


def model_of(samples, optimizer=None):
    """A compiled model for `rows(samples)`: a weight per sample, which an update of n samples moves by 1 / n."""
    inputs = K.Input([samples])
    layer = K.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = LargeBatchModel(inputs, layer(inputs))
    model.compile(optimizer or K.optimizers.SGD(1.0), mean_output, ["mae"])
    return model


def rows(samples):
    """The samples, and targets that are their numbers."""
    return np.eye(samples, dtype="float32"), np.arange(samples, dtype="float32")[:, None]


class Updates(K.callbacks.Callback):
    """What each update took, by epoch: `epochs[e][t]` are the shares of the samples, `[samples]`."""

    def __init__(self):
        super().__init__()
        self.epochs, self.batches = [], []

    def _kernel(self):
        return self.model.get_weights()[0][:, 0]

    def on_epoch_begin(self, epoch, logs=None):
        """An epoch of its own."""
        self.epochs.append([])
        self.batches.append([])
        self._before = self._kernel()

    def on_train_batch_end(self, batch, logs=None):
        """Compares weights; an update that was passed over has none."""
        now = self._kernel()
        self.epochs[-1].append(self._before - now)
        self.batches[-1].append(batch)
        self._before = now

    def state(self):
        """Nothing, so that a checkpoint restores none of what was seen before."""
        return {}

    def restore(self, state):
        """Nothing."""

    @property
    def samples(self):
        """The samples of every update, as a sorted list with repetitions."""
        return [[numbers(share) for share in epoch] for epoch in self.epochs]


def numbers(share):
    """The samples of an update, sorted, as often as they count."""
    least = share[share > 1e-6].min(initial=1.0)
    times = np.rint(share / least).astype(int)
    return np.repeat(np.arange(len(share)), times).tolist()
