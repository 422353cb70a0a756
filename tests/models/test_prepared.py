"""Weight decay and ghosts on any model: what decays, what stays as it was, and what is refused."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tflbt import models
from tflbt.models import GhostBatchNormalization, prepared
from tflbt.models.prepared import prepares

K = tf.keras
L = K.layers


def images(samples=6, side=8):
    return tf.random.stateless_normal([samples, side, side, 3], [0, 1])


def network():
    """A layer of each kind that has kernels, biases beside them, a nested model and dropout."""
    inputs = K.Input((8, 8, 3))
    x = L.Conv2D(4, 3, name="convolution")(inputs)
    x = L.BatchNormalization(name="bn")(x)
    x = L.DepthwiseConv2D(3, name="depthwise")(x)
    x = L.SeparableConv2D(4, 3, name="separable")(x)
    x = L.Reshape((2, 8))(x)
    x = L.Bidirectional(L.GRU(3), name="recurrent")(x)
    x = K.Sequential([L.Dense(5), L.BatchNormalization()], name="nested")(x)
    x = L.Dropout(0.5, name="dropout")(x)
    return K.Model(inputs, L.Dense(2, name="logits")(x))


def small_network():
    """The layers that weight decay and ghosts change."""
    inputs = K.Input((8, 8, 3))
    x = L.BatchNormalization(name="bn")(L.Conv2D(4, 3, 4, name="convolution")(inputs))
    x = K.Sequential([L.Dense(5), L.BatchNormalization()], name="nested")(L.Flatten()(x))
    return K.Model(inputs, L.Dense(2, name="logits")(x))


def kernels(model):
    """The weights that decay, told by their names."""
    parts = ("depthwise_kernel", "bias", "gamma", "beta")
    weights = [v for v in model.trainable_variables if not any(part in v.name for part in parts)]
    return weights + [v for v in model.trainable_variables if "separable/depthwise" in v.name]


def test_every_kernel_decays_and_nothing_else():
    model = prepared(network(), weight_decay=0.3)
    assert len(kernels(model)) == 1 + 2 + 4 + 1 + 1 == len(model.losses)
    with tf.GradientTape() as tape:
        penalty = tf.add_n(model.losses)
    decaying = {variable.ref() for variable in kernels(model)}
    gradients = tape.gradient(penalty, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients):
        assert (gradient is not None) == (variable.ref() in decaying), variable.name
        if gradient is not None:
            np.testing.assert_allclose(gradient, 0.3 * variable, rtol=1e-6)


@pytest.mark.parametrize("built", [True, False])
def test_the_last_bias_decays_if_asked(built):
    """Two-phase, A.2: b/2 * |w|^2 of the last dense layer's bias too, and of no other bias."""
    model = K.Sequential([L.Dense(3), L.Dense(2)])
    if built:
        model(tf.ones([1, 4]))
    model = prepared(model, weight_decay=0.2, decay_last_bias=True)
    model(tf.ones([1, 4]))
    for layer in model.layers:
        layer.bias.assign_add(tf.ones_like(layer.bias))
    weights = [*kernels(model), model.layers[-1].bias]
    expected = 0.1 * sum(float(tf.reduce_sum(v**2)) for v in weights)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)
    without = K.Sequential([L.Dense(2, use_bias=False, name="last")], name="network")
    with pytest.raises(ValueError, match="decay_last_bias=True needs .* 'network' ends without"):
        prepared(without, weight_decay=0.2, decay_last_bias=True)


@pytest.mark.parametrize("built", [True, False])
def test_kernels_decay_that_are_yet_to_be_built(built):
    model = K.Sequential([L.Dense(3), L.LSTM(2), L.Dense(2)])
    inputs = tf.ones([1, 4, 2])
    if built:
        model(inputs)
    assert model.built == built
    model = prepared(model, weight_decay=0.2)
    model(inputs)
    expected = 0.1 * sum(float(tf.reduce_sum(v**2)) for v in kernels(model))
    assert len(model.losses) == 4
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_embeddings_decay():
    model = prepared(K.Sequential([L.Embedding(5, 3), L.Dense(2)]), weight_decay=0.2)
    model(tf.constant([[1, 2]]))
    assert len(model.losses) == 2


def test_a_regulariser_that_a_kernel_has_already_stays():
    model = K.Sequential([L.Dense(2, kernel_regularizer="l1", input_shape=(3,))])
    (loss,) = prepared(model, weight_decay=1.0).losses
    expected = 0.01 * tf.reduce_sum(tf.abs(model.layers[0].kernel))
    assert float(loss) == pytest.approx(float(expected))


def test_it_is_the_same_model_with_the_same_weights_and_later_random_numbers():
    def drawn(**options):
        K.utils.set_random_seed(3)
        model = prepared(network(), **options)
        return (
            model.get_weights(),
            model(images(), training=True),
            K.initializers.GlorotNormal()([2]),
        )

    plain = drawn()
    for ours, theirs in zip(drawn(weight_decay=0.1, bn_momentum=0.5), plain):
        for left, right in zip(ours, theirs):
            np.testing.assert_array_equal(left, right)
    for left, right in zip(drawn(ghost_batch_size=2)[0], plain[0]):
        np.testing.assert_array_equal(left, right)
    model = small_network()
    assert prepared(model, ghost_batch_size=2) is model


def test_batch_normalisation_everywhere_gets_its_settings():
    model = prepared(network(), ghost_batch_size=2, bn_momentum=0.8, bn_epsilon=1e-4)
    layers = [model.get_layer("bn"), model.get_layer("nested").layers[1]]
    for layer in layers:
        assert type(layer) is GhostBatchNormalization
        assert (layer.ghost_size, layer.momentum, layer.epsilon) == (2, 0.8, 1e-4)
    model = prepared(small_network())
    layer = model.get_layer("bn")
    assert (type(layer), layer.momentum, layer.epsilon) == (L.BatchNormalization, 0.99, 1e-3)


def test_ghosts_in_a_built_model_equal_new_ones():
    inputs = K.Input((8, 8, 3))
    old = prepared(K.Model(inputs, L.BatchNormalization()(inputs)), ghost_batch_size=2)
    new = K.Model(inputs, GhostBatchNormalization(2)(inputs))
    for _ in range(2):
        np.testing.assert_array_equal(old(images(), training=True), new(images(), training=True))
    np.testing.assert_array_equal(old(images()), new(images()))
    assert prepared(old, ghost_batch_size=3).layers[1].ghost_size == 3


@pytest.mark.parametrize("form", ["clone", "model.keras", "saved_model"])
def test_clones_and_saved_models_keep_it(form, tmp_path):
    # In TensorFlow's own format every layer is traced, which takes a GRU longest.
    model = small_network() if form == "saved_model" else network()
    model = prepared(model, weight_decay=0.3, ghost_batch_size=2, bn_momentum=0.8)
    if form == "clone":
        again = K.models.clone_model(model)
        again.set_weights(model.get_weights())
    else:
        model.save(tmp_path / form)
        again = K.models.load_model(tmp_path / form, compile=False)
    np.testing.assert_allclose(tf.add_n(again.losses), tf.add_n(model.losses), rtol=1e-6)
    np.testing.assert_allclose(again(images()), model(images()), atol=1e-6)
    if form != "saved_model":
        layer = again.get_layer("bn")
        assert (layer.ghost_size, layer.momentum) == (2, 0.8)


def test_subclassed_models_are_prepared_too():
    class Subclassed(K.Model):
        def __init__(self):
            super().__init__()
            self.parts = [L.Dense(3), L.BatchNormalization()]

        def call(self, inputs):
            return self.parts[1](self.parts[0](inputs))

    model = Subclassed()
    model(tf.ones([2, 4]))
    assert len(prepared(model, weight_decay=0.1, ghost_batch_size=2).losses) == 1
    assert model.parts[1].ghost_size == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decay": -0.1}, "^weight_decay=-0.1 must be at least 0"),
        ({"ghost_batch_size": 2.5}, "^ghost_batch_size=2.5 must be a whole number, at least 1"),
        ({"bn_momentum": 1.1}, "^bn_momentum=1.1 must be between 0 and 1"),
        ({"bn_epsilon": -1.0}, "^bn_epsilon=-1.0 must be at least 0"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        prepared(K.Sequential([L.Dense(1)]), **options)
    with pytest.raises(ValueError, match=message):
        models.digits_resnet(depth=-1, **options)


def test_ghosts_need_layers_that_they_can_replace():
    inputs = K.Input((8, 8, 3))
    with pytest.raises(ValueError, match="ghost_batch_size=2 needs BatchNormalization layers"):
        prepared(K.Model(inputs, L.Dense(2)(inputs)), ghost_batch_size=2)
    layer = L.BatchNormalization(synchronized=True)
    with pytest.raises(ValueError, match="synchronized=True groups samples in another way"):
        prepared(K.Model(inputs, layer(inputs)), ghost_batch_size=2)
    layer = L.BatchNormalization(axis=1, name="bn")
    with pytest.raises(ValueError, match=r"layer 'bn' has axis=.*1.*: ghosts need the last"):
        prepared(K.Model(inputs, layer(inputs)), ghost_batch_size=2)

    class Own(L.BatchNormalization):
        pass

    with pytest.raises(ValueError, match="layer 'bn' is a Own, which ghosts cannot replace"):
        prepared(K.Model(inputs, Own(name="bn")(inputs)), ghost_batch_size=2)


def test_the_decorator_adds_options_to_signature_and_documentation():
    @prepares("weight_decay", bn_momentum=0.7)
    def line(units=1):
        """Builds a line.

        Args:
            units: Number of outputs.

        Returns:
            A model.
        """
        return K.Sequential([L.Dense(units, input_shape=(2,)), L.BatchNormalization()])

    assert str(inspect.signature(line)) == "(units=1, *, weight_decay=0.0, bn_momentum=0.7)"
    assert "    units: Number of outputs.\n    weight_decay: b >= 0" in line.__doc__
    assert line().layers[1].momentum == 0.7
    assert len(line(3, weight_decay=0.1).losses) == 1
