"""Noise in the outputs of hidden layers: its size and place, in the update's pass alone, the same in any split."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import FGSM, ActivationNoise, LargeBatchModel, SmallLossDiscarding
from tflbt.training.rules.activation_noise import hidden_layers

K = tf.keras


def network(activation="relu", eager=True, **compiled):
    """A hidden layer whose outputs are the inputs, and a last one that adds up the square: the loss shows the noise."""
    inputs = K.Input([400])
    hidden = K.layers.Dense(400, activation, kernel_initializer="identity", use_bias=False)
    last = K.layers.Dense(400, kernel_initializer="identity", use_bias=False)
    model = LargeBatchModel(inputs, last(hidden(inputs)))
    model.compile(K.optimizers.SGD(0.0), "mse", run_eagerly=eager, **compiled)
    return model


@pytest.mark.parametrize(
    ("rule", "level", "wanted"),
    [
        (ActivationNoise(0.1), -1.0, 1.01),  # after: relu gives 0, then noise; the target is -1
        (ActivationNoise(0.1, "before"), -1.0, 1.0),  # relu of -1 with noise is 0
        (ActivationNoise(0.1, "before"), 2.0, 0.01),
        (ActivationNoise(0.1, relative=True), 2.0, 0.04),
    ],
)
def test_noise_has_its_size_and_place_in_the_updates_pass_alone(rule, level, wanted):
    x = np.full([32, 400], level, "float32")
    model = network()
    options = {"batch_size": 32, "sub_batch_size": 8, "verbose": 0, "rules": [rule]}
    history = model.fit(x, x, validation_data=(x, x), epochs=2, **options).history
    assert history["loss"] == pytest.approx([wanted] * 2, rel=0.03)
    assert wanted == 1.0 or history["loss"][0] != history["loss"][1]
    assert history["val_loss"] == pytest.approx([float(level < 0)] * 2)
    assert "call" not in vars(model.layers[1])
    assert rule.columns(0) == {"activation_noise": 0.1}


def test_traced_it_draws_as_eagerly_and_leaves_the_adversary_and_later_fits_alone():
    x = np.full([16, 400], 2.0, "float32")
    options = {"batch_size": 16, "sub_batch_size": 4, "verbose": 0}
    rules = [ActivationNoise(0.1, seed=4), FGSM(0.5, 0.1, None)]
    eager = network().fit(x, x, rules=rules, **options).history["loss"]
    model = network(eager=False)
    assert model.fit(x, x, rules=rules, **options).history["loss"] == pytest.approx(eager, rel=1e-5)
    assert model.fit(x, x, **options).history["loss"] == [0.0]


def test_where_it_has_no_place_it_is_refused():
    x = np.ones([4, 400], "float32")
    rule = ActivationNoise(0.1)
    with pytest.raises(ValueError, match="std=0.1 does not go with jit_compile=True"):
        network(eager=False, jit_compile=True).fit(x, x, rules=[rule])
    whole = SmallLossDiscarding(0.5, None, "update")
    with pytest.raises(ValueError, match="not go with scope='update' of small_loss"):
        network().fit(x, x, rules=[rule, whole])
    flat = LargeBatchModel.from_model(K.Sequential([K.layers.Dense(1, input_shape=(400,))]))
    flat.compile("sgd", "mse")
    with pytest.raises(ValueError, match="needs a hidden dense or convolutional layer"):
        flat.fit(x, x[:, :1], rules=[rule])
    for options, says in (({"std": -1.0}, "std=-1.0"), ({"place": "in"}, "place='in' must be one")):
        with pytest.raises(ValueError, match=says):
            ActivationNoise(**options)


def test_hidden_layers_are_those_with_a_kernel_but_the_last():
    inputs = K.Input([8, 8, 1])
    shared = K.layers.SeparableConv2D(1, 3, padding="same", name="shared")
    hidden = K.layers.BatchNormalization()(shared(shared(inputs)))
    hidden = K.layers.DepthwiseConv2D(3, name="depthwise")(hidden)
    inside = K.Sequential([K.layers.Flatten(), K.layers.Dense(3, name="dense")])
    model = K.Model(inputs, K.layers.Dense(2)(inside(hidden)))
    assert [layer.name for layer in hidden_layers(model)] == ["shared", "depthwise", "dense"]
