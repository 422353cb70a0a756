"""AutoGraph converts what users wrote, as in Keras, and leaves tflbt's own functions alone."""

from __future__ import annotations

import traceback

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import chain
from tflbt.training import LargeBatchModel, Rule

X = np.arange(16, dtype="float32").reshape(8, 2) / 16


def doubled(value):
    """Twice a value, with Python's `if` on a tensor."""
    if tf.reduce_sum(tf.abs(value)) > 0:
        return 2.0 * value
    return value


class Doubling(Rule):
    """A rule whose every hook has an `if` on a tensor."""

    def start(self, model, spec):
        super().start(model, spec)
        self.seen = [tf.Variable(0.0, trainable=False) for _ in range(4)]

    def count(self, hook):
        if self.seen[hook] < 100.0:
            self.seen[hook].assign_add(1.0)

    def prepare(self, step, data):
        x, y = data
        return doubled(x), y

    def choosing(self):
        if tf.constant(1.0) > 0:
            return tf.constant(True)
        return tf.constant(False)

    def choose(self, losses):
        if tf.reduce_max(losses) > 0:
            return losses >= 0.0
        return losses < 0.0

    def observe(self, gradients, samples):
        self.count(0)

    def scalars(self):
        self.count(1)
        return [tf.constant(1.0)]

    def observe_update(self, gradients, samples, scalars):
        self.count(2)

    def change_gradients(self, gradients):
        return [doubled(gradient) for gradient in gradients]

    def after_update(self):
        self.count(3)


class Update(Doubling):
    """The same, choosing by the losses of a whole update."""

    scope = "update"


class Net(LargeBatchModel):
    """A model whose overrides have an `if` on a tensor, and which sees who calls it."""

    def __init__(self, dense):
        super().__init__()
        self.dense = dense
        self.callers = []

    def call(self, x):
        self.look()
        return doubled(self.dense(x))

    @tf.autograph.experimental.do_not_convert
    def look(self):
        self.callers += traceback.extract_stack()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return doubled(super().compute_loss(x, y, y_pred, sample_weight))

    def compute_metrics(self, x, y, y_pred, sample_weight):
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        doubled(results["loss"])
        return results

    def test_step(self, data):
        return {"loss": doubled(tf.reduce_sum(data[0]))}


class Descent(tf.keras.optimizers.SGD):
    """An optimizer whose override has an `if` on a tensor."""

    def apply_gradients(self, grads_and_vars, **kwargs):
        pairs = [(doubled(gradient), variable) for gradient, variable in grads_and_vars]
        return super().apply_gradients(pairs, **kwargs)


@pytest.mark.parametrize("rule", [Doubling, Update])
def test_what_users_wrote_is_converted_and_what_tflbt_wrote_is_not(rule):
    dense = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = Net(dense)
    model.compile(Descent(0.5), "mse")
    transform = chain(lambda x, seeds: doubled(x))
    data = (X, X[:, :1])
    rule = rule()
    model.fit(
        *data, batch_size=8, sub_batch_size=4, shuffle=False, verbose=0,
        transform=transform, rules=[rule], validation_data=data,
    )  # fmt: skip
    # Doubled: x by transform and rule, the output, the loss, the gradient by rule and optimizer.
    x, y = 4.0 * X, X[:, :1]
    with tf.GradientTape() as tape:
        w = tf.ones([2, 1])
        tape.watch(w)
        loss = 2.0 * tf.reduce_mean((2.0 * x @ w - y) ** 2)
    expected = w - 0.5 * 4.0 * tape.gradient(loss, w)
    np.testing.assert_allclose(dense.kernel.numpy(), expected, rtol=1e-5)
    assert [float(count) for count in rule.seen] == [2.0, 1.0, 1.0, 1.0]
    converted = {f.name for f in model.callers if "__autograph_generated_file" in f.filename}
    assert any("call" in name for name in converted)
    assert not any("accumulate" in name or "gradients" in name for name in converted)
    assert any(f.name == "accumulate" for f in model.callers)
