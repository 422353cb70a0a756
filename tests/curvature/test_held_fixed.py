"""What an estimate must leave alone or hold fixed: modes, statistics, precision, loss terms, failures."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import (
    hessian_vector_product,
    spectral_density,
    top_eigenvalue,
    top_eigenvalues,
    trace,
)
from tflbt.curvature.block import block_of
from tflbt.curvature.samples import MeasuredSamples

layers = tf.keras.layers
CROSS_ENTROPY = "sparse_categorical_crossentropy"
EVERY = {
    "power": lambda *data, **o: top_eigenvalue(*data, method="exact", iterations=3, **o),
    "lanczos": lambda *data, **o: top_eigenvalues(*data, 2, iterations=3, **o),
    "trace": lambda *data, **o: trace(*data, products=4, **o),
    "density": lambda *data, **o: spectral_density(*data, iterations=3, probes=1, **o),
}


def state(model):
    return [variable.numpy().tobytes() for variable in model.variables]


def images(count=16):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 6, 6, 2)).astype("float32"), rng.integers(0, 4, count)


def conv_net(*noise, **options):
    """Build a network with BatchNorm; ``noise`` layers are put in front and before the end."""
    return tf.keras.Sequential(
        [
            tf.keras.Input((6, 6, 2)),
            *noise[:1],
            layers.Conv2D(3, 3, use_bias=False, name="conv", **options),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            *noise[1:],
            layers.Dense(4, "softmax", name="top", **options),
        ]
    )


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        *(("output", name) for name in EVERY),
        ("all", "power"),
        ("all", "density"),
        pytest.param("all", "lanczos", marks=pytest.mark.slow),
        pytest.param("all", "trace", marks=pytest.mark.slow),
    ],
)
def test_every_estimate_leaves_weights_and_statistics_bit_for_bit(name, chosen):
    model, (x, y) = conv_net(), images()
    model.compile("sgd", CROSS_ENTROPY, run_eagerly=True)
    model.fit(x, y, verbose=0)
    before = state(model)
    EVERY[name](model, x, y, layers=chosen)
    assert state(model) == before
    seen = []

    def explode(y_true, y_pred):
        seen.append(1)
        wrong = tf.reduce_any(tf.math.is_finite(y_pred))
        with tf.control_dependencies([tf.debugging.Assert(~wrong, ["exploded"])]):
            return tf.reduce_sum(tf.square(y_pred), -1)

    with pytest.raises(tf.errors.InvalidArgumentError, match="exploded"):
        EVERY[name](model, x, y, layers=chosen, loss=explode)
    assert seen and state(model) == before


@pytest.mark.parametrize("chosen", ["all", "last_2"])
def test_dropout_noise_and_augmentation_do_nothing(chosen):
    noisy, (x, y) = conv_net(layers.RandomTranslation(0.3, 0.3), layers.Dropout(0.5)), images()
    plain = conv_net()
    weights = plain.get_weights()
    noisy.layers[1].set_weights(weights[:1])
    noisy.layers[2].set_weights(weights[1:5])
    noisy.layers[-1].set_weights(weights[5:])
    values = [
        top_eigenvalue(
            model, x, y, loss=CROSS_ENTROPY, layers=chosen, method="exact", iterations=5
        ).eigenvalue
        for model in (plain, noisy)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-5)


def test_batch_norm_normalises_by_its_statistics_not_the_batch():
    """In training mode the loss of a sub-batch would depend on the other samples in it."""
    model, (x, y) = conv_net(), images()
    model.get_layer("norm").moving_variance.assign([4.0, 9.0, 0.25])
    options = dict(loss=CROSS_ENTROPY, layers="all", method="exact", iterations=40)
    whole = top_eigenvalue(model, x, y, **options).eigenvalue
    each = top_eigenvalue(model, x, y, sub_batch_size=1, **options).eigenvalue
    assert each == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_measured_in_float32(policy):
    x, y = images()
    plain = conv_net()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        model = conv_net()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    model.set_weights(plain.get_weights())
    policies = [layer.dtype_policy.name for layer in model.layers]
    rough = model(x).numpy()
    for chosen, solver in (("all", "lanczos"), ("last_2", "power"), ("output", "power")):
        options = dict(loss=CROSS_ENTROPY, layers=chosen, method="exact", solver=solver)
        exact, mixed = (
            top_eigenvalue(net, x, y, iterations=8, **options) for net in (plain, model)
        )
        assert mixed.eigenvalue == pytest.approx(exact.eigenvalue, rel=1e-5)
        assert {part.dtype.name for part in mixed.eigenvector} == {"float32"}
    assert [layer.dtype_policy.name for layer in model.layers] == policies
    assert model(x).dtype.name == policy[6:]
    np.testing.assert_array_equal(model(x).numpy(), rough)


class HandMade(tf.keras.Model):
    """A subclassed model that casts by hand; with ``hard`` to a type that float32 refuses."""

    def __init__(self, hard, policy):
        """Make the layers."""
        super().__init__(dtype=policy)
        self.hidden = layers.Dense(5, "tanh", dtype=policy)
        self.top = layers.Dense(4, dtype=policy)
        self.hard = hard

    def call(self, inputs):
        """Return logits times a number."""
        hidden = self.hidden(inputs)
        if self.hard:
            hidden = hidden * tf.constant(0.5, tf.bfloat16)
        return self.top(hidden) * 0.5


def test_a_mixed_model_that_cannot_be_cut_too(caplog):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 6)).astype("float32"), rng.integers(0, 4, 16)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    mixed, plain, hard = (
        HandMade(hard, policy)
        for hard, policy in ((0, "mixed_bfloat16"), (0, "float32"), (1, "mixed_bfloat16"))
    )
    for model in (plain, mixed, hard):
        model(x)
        model.set_weights(plain.get_weights())
    options = dict(loss=loss, layers="all", method="exact", iterations=30)
    truth = top_eigenvalue(plain, x, y, **options).eigenvalue
    assert top_eigenvalue(mixed, x, y, **options).eigenvalue == pytest.approx(truth, rel=1e-5)
    difference = top_eigenvalue(mixed, x, y, loss=loss, iterations=30).eigenvalue
    exact = top_eigenvalue(plain, x, y, loss=loss, method="exact", iterations=30).eigenvalue
    assert difference == pytest.approx(exact, rel=5e-3)
    with caplog.at_level("WARNING", logger="absl"):
        assert np.isfinite(top_eigenvalue(hard, x, y, **options).eigenvalue)
    assert "own precision" in caplog.text
    assert hard(x).dtype.name == "bfloat16"


DECAY = 0.05
REGULARISERS = {
    "kernels": dict(kernel_regularizer=tf.keras.regularizers.L2(DECAY)),
    "activity": dict(activity_regularizer=lambda x: 0.1 * tf.reduce_sum(tf.square(x))),
}


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ("all", "kernels"),
        ("last_2", "activity"),
        ("output", "kernels"),
        ("output", "activity"),
        pytest.param("all", "activity", marks=pytest.mark.slow),
        pytest.param("last_2", "kernels", marks=pytest.mark.slow),
    ],
)
def test_regularisers_count_once_or_not_at_all(name, chosen, dense):
    model, plain, (x, y) = conv_net(**REGULARISERS[name]), conv_net(), images(12)
    plain.set_weights(model.get_weights())
    block = {"all": None, "last_2": ["conv", "top"], "output": ["top"]}[chosen]
    for net in (model, plain):
        net.compile(loss=CROSS_ENTROPY)

    def weights(net):
        parts = [net] if block is None else [net.get_layer(layer) for layer in block]
        return [variable for part in parts for variable in part.trainable_variables]

    def added(net):
        """The loss terms' own Hessian: for squares of kernels a known diagonal, else by full Jacobian."""
        if name == "kernels":
            sizes = [(tf.size(v).numpy(), 2 * DECAY * ("kernel" in v.name)) for v in weights(net)]
            return np.diag(np.concatenate([np.full(size, value) for size, value in sizes]))
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                net(x, training=False)
                value = tf.add_n(net.losses)
            slopes = inner.gradient(value, weights(net), unconnected_gradients="zero")
            flat = tf.concat([tf.reshape(slope, [-1]) for slope in slopes], 0)
        rows = outer.jacobian(
            flat, weights(net), unconnected_gradients="zero", experimental_use_pfor=False
        )
        return np.concatenate([np.reshape(row, [len(flat), -1]) for row in rows], 1)

    without = dense(plain, weights(plain), x, y)
    vector = [np.random.default_rng(1).standard_normal(v.shape) for v in weights(model)]
    flat = np.concatenate([part.ravel() for part in vector])
    for regularization, matrix in ((False, without), (True, without + added(model))):
        for size in (None, 5):
            image = hessian_vector_product(
                model, x, y, vector, layers=chosen, regularization=regularization,
                sub_batch_size=size,
            )  # fmt: skip
            image = np.concatenate([part.ravel() for part in image])
            assert image == pytest.approx(matrix @ flat, abs=1e-3 * abs(matrix @ flat).max())


def test_loss_terms_of_the_model_itself_are_not_lost(caplog):
    model, (x, y) = conv_net(), images(12)
    model.add_loss(lambda: 0.5 * tf.reduce_sum(tf.square(model.get_layer("top").kernel)))
    vector = [np.ones((3, 4)), np.zeros(4)]
    plain, added = (
        hessian_vector_product(model, x, y, vector, loss=CROSS_ENTROPY, regularization=count)
        for count in (False, True)
    )
    assert added[0] - plain[0] == pytest.approx(1.0, abs=1e-4)
    assert "loss terms of its own" in str(block_of(model, MeasuredSamples.of(x, y)).reason)


def no_second_derivative(after):
    """Build a network with an operation that TensorFlow differentiates once only."""
    up = layers.UpSampling2D(2, name="up")
    parts = [layers.Conv2D(3, 3), up] if after else [up, layers.Conv2D(3, 3)]
    ends = [layers.GlobalAveragePooling2D(), layers.Dense(4, "softmax")]
    return tf.keras.Sequential([tf.keras.Input((6, 6, 2)), *parts, *ends])


@pytest.mark.parametrize("size", [None, 5])
def test_an_operation_without_second_derivative_is_named(size):
    model, (x, y) = no_second_derivative(after=True), images(12)
    before = state(model)
    options = dict(loss=CROSS_ENTROPY, method="exact", sub_batch_size=size)
    for chosen in ("all", "last_2"):
        with pytest.raises(ValueError, match=f"layers='{chosen}'.*ResizeNearestNeighborGrad") as e:
            top_eigenvalue(model, x, y, layers=chosen, **options)
        assert "second derivative" in str(e.value) and 'layers="output"' in str(e.value)
    assert top_eigenvalue(model, x, y, **options).eigenvalue > 0
    assert top_eigenvalue(model, x, y, loss=CROSS_ENTROPY).eigenvalue > 0
    assert state(model) == before


def test_only_what_the_block_depends_on_needs_a_second_derivative():
    model, (x, y) = no_second_derivative(after=False), images(12)
    result = top_eigenvalue(model, x, y, loss=CROSS_ENTROPY, layers="last_2", method="exact")
    assert np.isfinite(result.eigenvalue)
    truth = top_eigenvalue(model, x, y, loss=CROSS_ENTROPY, layers="all", method="exact")
    assert truth.eigenvalue == pytest.approx(result.eigenvalue, rel=1e-4)
