"""The shared list of (model, loss, data) cases that every way to a product is tested over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

layers = tf.keras.layers
losses = tf.keras.losses


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, the loss it is compiled with, and samples; ``cut`` says whether it can be cut."""

    name: str
    model: Callable[[], tf.keras.Model]
    loss: Any
    data: Callable[[np.random.Generator], tuple[Any, Any]]
    cut: bool = True

    def build(self, samples: int = 23) -> tuple[tf.keras.Model, Any, Any]:
        """Return the compiled model, its BatchNorm statistics moved off their start, x and y."""
        tf.keras.utils.set_random_seed(1)
        model = self.model()
        model.compile(tf.keras.optimizers.SGD(0.05), self.loss, run_eagerly=True)
        x, y = self.data(np.random.default_rng(2))
        for _ in range(2):
            model.train_on_batch(x, y)
        first = tf.nest.map_structure(lambda array: array[:samples], (x, y))
        return model, *first


def vectors(targets):
    """Make data of 40 vectors of 6, with targets made from a generator."""
    return lambda rng: (rng.standard_normal((40, 6)).astype("float32"), targets(rng))


def images(targets):
    """Make data of 40 images of 6 x 6 x 2."""
    return lambda rng: (rng.standard_normal((40, 6, 6, 2)).astype("float32"), targets(rng))


def labels(rng):
    """Draw 40 labels of 4 classes."""
    return rng.integers(0, 4, 40)


def one_hot(rng):
    """Draw 40 one-hot labels of 4 classes."""
    return np.eye(4, dtype="float32")[labels(rng)]


def dense_net(units=4, activation=None, **options):
    """Build a small network with BatchNorm and dropout before its dense output layer."""
    return tf.keras.Sequential(
        [
            layers.Dense(5, activation="relu", input_shape=(6,)),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(units, activation=activation, **options),
        ]
    )


def conv_net():
    """Build a network that ends like SqueezeNet: 1x1 convolution, global pooling, softmax."""
    image = layers.Input((6, 6, 2))
    hidden = layers.Conv2D(3, 3, activation="relu")(image)
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1, name="classes")(hidden))
    return tf.keras.Model(image, layers.Softmax()(pooled))


def nested_net():
    """Build a model whose last layer is a Sequential model inside a functional one."""
    vector = layers.Input((6,))
    tail = tf.keras.Sequential([layers.Dense(5, "tanh"), layers.Dense(4), layers.Softmax()])
    return tf.keras.Model(vector, tail(layers.Dense(5, "relu")(vector)))


def skip_net():
    """Build a model with a path around its last weighted layer."""
    vector = layers.Input((6,))
    hidden = layers.Dense(4, "tanh")(vector)
    return tf.keras.Model(vector, layers.Add()([hidden, layers.Dense(4)(hidden)]))


def norm_net():
    """Build a model that normalises, drops out and applies an operation after its last kernel."""
    vector = layers.Input((6,))
    logits = layers.BatchNormalization()(layers.Dense(4)(layers.Dense(5, "relu")(vector)))
    return tf.keras.Model(vector, tf.nn.softmax(layers.Dropout(0.5)(logits) * 2.0))


class Subclassed(tf.keras.Model):
    """A subclassed model; with ``after`` it works on its last layer's output outside any layer."""

    def __init__(self, after: bool):
        """Make the layers."""
        super().__init__()
        self.hidden = [layers.Dense(5, "relu"), layers.BatchNormalization()]
        self.top = layers.Dense(4)
        self.after = after

    def call(self, inputs, training=False):
        """Return logits."""
        for layer in self.hidden:
            inputs = layer(inputs, training=training)
        return self.top(inputs) * 0.5 if self.after else self.top(inputs)


def recurrent_net():
    """Build a network whose output layer is a whole recurrent layer, a loop in the graph, under a mask."""
    tokens = layers.Input((4,), dtype="int32")
    embedded = layers.Embedding(9, 3, mask_zero=True)(tokens)
    return tf.keras.Model(tokens, layers.GRU(4)(embedded))


def two_outputs():
    """Build a model with two outputs from different layers."""
    vector = layers.Input((6,))
    hidden = layers.Dense(5, "relu")(vector)
    outputs = {"a": layers.Dense(3, name="a")(hidden), "b": layers.Dense(1, name="b")(hidden)}
    return tf.keras.Model(vector, outputs)


def huber(y_true, y_pred):
    """Return a custom loss, smooth everywhere."""
    return tf.reduce_sum(tf.sqrt(1.0 + tf.square(y_true - y_pred)) - 1.0, axis=-1)


from_logits = losses.SparseCategoricalCrossentropy(from_logits=True)

CASES = [
    Case("sparse_from_logits", dense_net, from_logits, vectors(labels)),
    Case(
        "softmax_activation",
        lambda: dense_net(activation="softmax"),
        "categorical_crossentropy",
        vectors(one_hot),
    ),
    Case("no_bias", lambda: dense_net(use_bias=False), from_logits, vectors(labels)),
    Case(
        "sigmoid",
        lambda: dense_net(1, "sigmoid"),
        "binary_crossentropy",
        vectors(lambda rng: rng.integers(0, 2, 40)),
    ),
    Case("mse", lambda: dense_net(1), "mse", vectors(lambda rng: rng.standard_normal(40))),
    Case("custom", dense_net, huber, vectors(lambda rng: rng.standard_normal((40, 4)))),
    Case("convolution", conv_net, "sparse_categorical_crossentropy", images(labels)),
    Case("nested", nested_net, "sparse_categorical_crossentropy", vectors(labels)),
    Case("skip", skip_net, from_logits, vectors(labels)),
    Case("layers_after", norm_net, "sparse_categorical_crossentropy", vectors(labels)),
    Case("subclassed", lambda: Subclassed(False), from_logits, vectors(labels), cut=False),
    Case("subclassed_uncut", lambda: Subclassed(True), from_logits, vectors(labels), cut=False),
    Case(
        "recurrent",
        recurrent_net,
        from_logits,
        lambda rng: (rng.integers(0, 9, (40, 4)), labels(rng)),
        cut=False,  # A mask enters its last layer.
    ),
    Case(
        "two_outputs",
        two_outputs,
        {"a": from_logits, "b": "mse"},
        lambda rng: (
            rng.standard_normal((40, 6)),
            {"a": rng.integers(0, 3, 40), "b": rng.standard_normal((40, 1))},
        ),
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request) -> Case:
    """Each case in turn."""
    return request.param


@pytest.fixture
def named_case():
    """Find a case by its name."""
    return {case.name: case for case in CASES}.__getitem__


ZERO = tf.UnconnectedGradients.ZERO


def keras_loss(model, x, y):
    """Return the loss as Keras's own training computes it."""
    targets = tf.nest.map_structure(tf.convert_to_tensor, y)
    return model.compiled_loss(targets, model(x, training=False))


def dense_hessian(model, variables, x, y):
    """Form the whole Hessian by differentiating each entry of Keras's own loss; the naive twin."""
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            value = keras_loss(model, x, y)
        slopes = inner.gradient(value, variables)
        flat = tf.concat([tf.reshape(slope, [-1]) for slope in slopes], 0)
    rows = outer.jacobian(flat, variables, unconnected_gradients=ZERO)
    return np.concatenate([np.reshape(row, [len(flat), -1]) for row in rows], 1)


def largest(matrix):
    """Return the eigenvalue of largest size."""
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    return values[np.argmax(np.abs(values))]


@pytest.fixture
def dense_top():
    """The eigenvalue of largest size of a model's dense Hessian."""
    return lambda *args: largest(dense_hessian(*args))


@pytest.fixture
def dense():
    """A model's dense Hessian."""
    return dense_hessian
