"""Numbers for a batch, which Keras counts once per batch, are counted once per update, however it is divided."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel

K, L = tf.keras, tf.keras.layers
OPTIONS = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
SUB_BATCHES = {"sub_batch_size": 2}  # 15 samples: an update of 8, and one of 2 + 2 + 2 + 1


def with_added_numbers(base: type) -> K.Model:
    """A functional model with added losses alone."""
    inputs = K.Input([5])
    code = L.Dense(2)(inputs)
    model = base(inputs, L.Dense(5)(code))
    model.add_loss(tf.reduce_mean((model.output - inputs) ** 2))
    model.add_metric(tf.reduce_mean(abs(code)), name="code")
    return model


class Numbers(K.metrics.Mean):
    """A mean of one's own."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(tf.reduce_mean(y_pred))


def of_ones_own(base: type) -> K.Model:
    """A class that logs numbers as Keras's documentation has it, beside a mean over samples."""

    class Net(base):
        def __init__(self) -> None:
            super().__init__()
            self.top, self.tracker = L.Dense(2), K.metrics.Mean("tracker")
            self.samples, self.number = K.metrics.Mean("samples"), K.metrics.Sum("number")

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            outputs = self.top(inputs)
            self.add_metric(tf.reduce_mean(outputs), name="outputs")
            return outputs

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            loss = tf.reduce_mean((y_pred - y) ** 2)
            self.tracker.update_state(loss)
            self.tracker.update_state(tf.reduce_mean(y_pred, 0), sample_weight=2)
            self.samples.update_state(tf.reduce_mean((y_pred - y) ** 2, 1))
            self.number.update_state(tf.cast(tf.shape(y)[0], tf.float32))
            return loss

    return Net()


def absolute(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(abs(y_true - y_pred))


@pytest.mark.parametrize(
    ("build", "how"), [(with_added_numbers, {"jit_compile": True}), (of_ones_own, {})]
)
def test_unequal_sub_batches_make_the_numbers_of_their_batch(build, how, samples):
    x, y = (part[:15] for part in samples)
    arrays = (x,) if build is with_added_numbers else (x, y)
    found = []
    for base, options, more in (
        (K.Model, {"run_eagerly": True}, {}),
        (LargeBatchModel, how, SUB_BATCHES),
    ):
        K.utils.set_random_seed(1)
        model = build(base)
        metrics = [absolute, Numbers("numbers")] if build is of_ones_own else None
        model.compile(K.optimizers.SGD(0.1), metrics=metrics, **options)
        before = model.evaluate(*arrays, batch_size=4, verbose=0)
        history = model.fit(*arrays, **OPTIONS, **more, validation_data=arrays).history
        after = model.evaluate(*arrays, batch_size=4, verbose=0)
        found.append({**history, "before": before, "after": after})
    wanted, ours = found
    assert ours.keys() == wanted.keys() and len(wanted) > 5
    for name in wanted:
        np.testing.assert_allclose(ours[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert "update_state" not in vars(K.metrics.Mean)
    for mean in [each for each in model.metrics if type(each) is K.metrics.Mean]:
        mean.reset_state()
        mean.update_state(3.0)
        assert (float(mean.total), float(mean.count)) == (3.0, 1.0)
