"""A model saved as Keras saves it, loaded by Keras, predicts the same and takes the same next step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LARS
from tflbt.training import LargeBatchModel

K = tf.keras


class Sub(LargeBatchModel):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units, self.hidden, self.top = units, K.layers.Dense(8), K.layers.Dense(units)

    def call(self, inputs):
        return self.top(self.hidden(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Given(LargeBatchModel):
    def __init__(self, **kwargs):
        inputs = K.Input([5])
        super().__init__(inputs, K.layers.Dense(2)(inputs), **kwargs)


def step(model, samples):
    """Another epoch of two updates."""
    model.fit(*samples, batch_size=16, sub_batch_size=4, shuffle=False, verbose=0)
    return [*model.get_weights(), np.array(model.optimizer.iterations)]


def trained(network, samples, optimizer):
    model = LargeBatchModel.from_model(network())
    model.compile(optimizer, "mse", ["mae"])
    model.fit(*samples, batch_size=16, sub_batch_size=4, epochs=2, verbose=0)
    return model


OPTIMIZERS = {
    "sgd": lambda: K.optimizers.SGD(0.1),
    "adam": lambda: K.optimizers.Adam(0.01),
    "lars": lambda: LARS(0.5, trust_coefficient=0.01, weight_decay=1e-4),
}


@pytest.mark.parametrize(
    ("optimizer", "file"),
    # Keras starts any optimizer anew from a SavedModel, so there only one without state takes the same step.
    [("adam", "model.keras"), ("sgd", "model"), ("adam", "model.h5"), ("lars", "model.keras")],
)
def test_a_loaded_model_goes_on_from_where_it_was(
    optimizer, file, tmp_path, network, samples, same
):
    model = trained(network, samples, OPTIMIZERS[optimizer]())
    model.save(tmp_path / file)
    loaded = K.models.load_model(tmp_path / file)
    assert isinstance(loaded, LargeBatchModel)
    same([loaded.predict(samples[0], verbose=0)], [model.predict(samples[0], verbose=0)], atol=0)
    losses = [each.evaluate(*samples, batch_size=8, verbose=0) for each in (loaded, model)]
    assert losses[0] == losses[1]
    if file == "model":
        loaded.optimizer.iterations.assign(4)
    same(step(loaded, samples), step(model, samples), atol=0)


@pytest.mark.parametrize("kind", [Sub, Given])
def test_subclasses(kind, tmp_path, samples, same):
    model = kind()
    model.compile(K.optimizers.Adam(0.01), "mse")
    model.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = K.models.load_model(tmp_path / "model.keras", custom_objects={kind.__name__: kind})
    assert type(loaded).__name__ == kind.__name__ and isinstance(loaded, kind)
    same(step(loaded, samples), step(model, samples), atol=0)
    model.save_weights(tmp_path / "weights.h5")
    other = kind()
    other(samples[0])
    other.load_weights(tmp_path / "weights.h5")
    same(other.get_weights(), model.get_weights(), atol=0)


def test_weights_fit_the_plain_model_and_checkpoints_hold_the_optimizer(
    tmp_path, network, samples, same
):
    model = trained(network, samples, K.optimizers.Adam(0.01))
    model.save_weights(tmp_path / "weights.h5")
    plain = network()
    plain.load_weights(tmp_path / "weights.h5")
    same(plain.get_weights(), model.get_weights(), atol=0)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(tmp_path / "checkpoint")
    other = LargeBatchModel.from_model(network())
    other.compile(K.optimizers.Adam(0.01), "mse")
    tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    same(step(other, samples), step(model, samples), atol=0)


def test_after_mixed_precision_the_loss_scale_is_kept(tmp_path, network, samples):
    optimizer = K.mixed_precision.LossScaleOptimizer(K.optimizers.SGD(0.1), initial_scale=64.0)
    model = trained(network, samples, optimizer)
    model.save(tmp_path / "model.keras")
    loaded = K.models.load_model(tmp_path / "model.keras")
    assert float(loaded.optimizer.loss_scale) == 64.0 and int(loaded.optimizer.iterations) == 4


def test_a_clone_is_one_too(network, samples):
    clone = K.models.clone_model(LargeBatchModel.from_model(network()))
    assert clone.count_params() == network().count_params()
    clone = LargeBatchModel.from_model(clone)
    clone.compile("sgd", "mse")
    clone.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0)
