"""Ghost batch normalisation against plain batch normalisation, one ghost at a time, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.training import LargeBatchModel

K = tf.keras
SHAPES = {"dense": (3,), "sequence": (5, 3), "image": (4, 5, 3), "volume": (2, 3, 2, 3)}


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


def samples(n, shape, scale=2.0):
    return (np.random.default_rng(n).standard_normal((n, *shape)) * scale + 3).astype("float32")


def ghosts_and_plain(ghost, shape, **options):
    """A ghost layer and a plain one with the same weights, none of them at its initial value."""
    layers = (
        GhostBatchNormalization(ghost, momentum=0.9, **options),
        K.layers.BatchNormalization(momentum=0.9, **options),
    )
    for layer in layers:
        layer.build((None, *shape))
        rng = np.random.default_rng(1)
        layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    return layers


@pytest.mark.parametrize("n", [1, 3, 4, 7, 8, 9])
def test_k_ghosts_are_k_steps_of_plain_batch_normalisation(n, shape):
    """Outputs, gradients and moving statistics, with and without a smaller last ghost."""
    ours, plain = ghosts_and_plain(4, shape)
    x = tf.constant(samples(n, shape))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = ours(x, training=True)
        wanted = tf.concat([plain(x[i : i + 4], training=True) for i in range(0, n, 4)], 0)
        losses = [tf.reduce_sum(tf.sin(y) * x[..., ::-1]) for y in (found, wanted)]
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    gradients = [
        tape.gradient(loss, [x, *layer.trainable_weights])
        for loss, layer in zip(losses, (ours, plain))
    ]
    for one, other in zip(*gradients):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3 if n % 4 == 1 else 2e-4)
    for one, other in zip(ours.weights, plain.weights):
        assert one.name == other.name
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_moving_statistics_by_hand():
    """Two full ghosts and one of a single sample, whose variance is 0: three steps in order."""
    layer = GhostBatchNormalization(2, momentum=0.5)
    layer(tf.constant([[1.0], [3.0], [10.0], [30.0], [7.0]]), training=True)
    assert float(layer.moving_mean) == ((0 * 0.5 + 0.5 * 2) * 0.5 + 0.5 * 20) * 0.5 + 0.5 * 7
    assert float(layer.moving_variance) == (((1 + 1) * 0.5) * 0.5 + 0.5 * 100) * 0.5


def test_inference_is_plain_batch_normalisation(shape):
    ours, plain = ghosts_and_plain(4, shape)
    x = samples(7, shape)
    np.testing.assert_array_equal(ours(x, training=False), plain(x, training=False))
    np.testing.assert_array_equal(ours(x), plain(x))
    ours.trainable = plain.trainable = False
    before = ours.get_weights()
    np.testing.assert_array_equal(ours(x, training=True), plain(x, training=True))
    for one, other in zip(ours.get_weights(), before):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("jit_compile", [None, True])
def test_an_unknown_batch_size_in_a_graph(jit_compile, shape):
    traced, eager = ghosts_and_plain(3, shape)[0], ghosts_and_plain(3, shape)[0]
    signature = tf.TensorSpec([None, *shape])

    @tf.function(input_signature=[signature], jit_compile=jit_compile)
    def forward(x):
        with tf.GradientTape() as tape:
            y = traced(x, training=True)
            loss = tf.reduce_sum(y**3)
        return y, tape.gradient(loss, traced.gamma)

    for n in (1, 2, 6, 7):
        x = tf.constant(samples(n, shape))
        y, gradient = forward(x)
        np.testing.assert_allclose(y, eager(x, training=True), atol=1e-5)
        assert np.isfinite(gradient).all()
        for one, other in zip(traced.get_weights(), eager.get_weights()):
            np.testing.assert_allclose(one, other, rtol=1e-5)


def test_no_samples_move_nothing(shape):
    layer = ghosts_and_plain(3, shape)[0]
    before = layer.get_weights()
    assert layer(tf.zeros([0, *shape]), training=True).shape == (0, *shape)
    for one, other in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(one, other)


def test_training_may_be_a_tensor():
    layer = GhostBatchNormalization(2, epsilon=0.0)
    call = tf.function(lambda x, training: layer(x, training=training))
    x = tf.constant([[1.0], [3.0], [50.0], [70.0]])
    np.testing.assert_array_equal(call(x, tf.constant(False)), x)
    np.testing.assert_allclose(call(x, tf.constant(True)), [[-1], [1], [-1], [1]])
    assert float(layer.moving_mean) != 0


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_statistics_are_float32_under_mixed_precision(name):
    """Values whose squares float16 cannot hold, and whose mean bfloat16 would round by units."""
    policy = K.mixed_precision.Policy(name)
    layer = GhostBatchNormalization(64, momentum=0.0, dtype=policy)
    x = tf.cast(1000 + 300 * samples(64, (4, 4, 2)), policy.compute_dtype)
    y = layer(x, training=True)
    exact = x.numpy().astype("float64")
    assert y.dtype == policy.compute_dtype and layer.moving_mean.dtype == tf.float32
    assert np.abs(tf.cast(tf.reduce_mean(tf.cast(y, "float32"), [0, 1, 2]), "float32")).max() < 0.01
    np.testing.assert_allclose(layer.moving_mean, exact.mean((0, 1, 2)), rtol=1e-6)
    unbiased = exact.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(layer.moving_variance, unbiased, rtol=1e-5)


def network(norm):
    K.utils.set_random_seed(1)
    inputs = K.Input([4, 4, 2])
    x = K.layers.Conv2D(3, 3, use_bias=False)(inputs)
    x = K.layers.Flatten()(K.layers.ReLU()(norm()(x)))
    return K.Model(inputs, K.layers.Dense(2)(norm()(x)))


def test_sub_batches_of_several_ghosts_equal_sub_batches_of_one_plain():
    """Weights and moving statistics, with a last update of an epoch that ends in a smaller ghost."""
    x = samples(30, (4, 4, 2))
    y = x[:, 0, :2, 0]
    trained = []
    for norm, sub_batch, eagerly in (
        (lambda: GhostBatchNormalization(4, momentum=0.9), 8, False),
        (lambda: K.layers.BatchNormalization(momentum=0.9), 4, True),
    ):
        model = LargeBatchModel.from_model(network(norm))
        model.compile(K.optimizers.SGD(0.05, momentum=0.9), "mse", run_eagerly=eagerly)
        model.fit(x, y, 16, 3, verbose=0, sub_batch_size=sub_batch, shuffle=False)
        trained.append(model)
    ours, plain = trained
    assert any("moving" in weight.name for weight in ours.weights)
    for one, other in zip(ours.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours(x), plain(x), atol=1e-4)


def test_it_saves_loads_and_shares_weights_with_plain_batch_normalisation(tmp_path):
    model = network(lambda: GhostBatchNormalization(4, momentum=0.9))
    model.compile("sgd", "mse", run_eagerly=True)
    x = samples(16, (4, 4, 2))
    model.fit(x, x[:, 0, :2, 0], verbose=0)
    model.save(tmp_path / "model.keras")
    again = K.models.load_model(tmp_path / "model.keras")
    sizes = [
        layer.ghost_size for layer in again.layers if isinstance(layer, GhostBatchNormalization)
    ]
    assert sizes == [4, 4]
    np.testing.assert_array_equal(again(x), model(x))
    for name in ("weights.h5", "checkpoint"):
        model.save_weights(tmp_path / name)
        plain = network(K.layers.BatchNormalization)
        plain.load_weights(tmp_path / name)
        np.testing.assert_array_equal(plain(x), model(x))


def test_without_scale_and_centre(shape):
    ours, plain = ghosts_and_plain(3, shape, scale=False, center=False)
    x = samples(3, shape)
    np.testing.assert_allclose(ours(x, training=True), plain(x, training=True), atol=2e-5)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "4"])
def test_a_ghost_that_cannot_be_is_told(size):
    least = "" if size in (2.0, "4") or size is True else ", at least 1"
    with pytest.raises(ValueError, match=rf"ghost_size={size!r} must be a whole number{least}"):
        GhostBatchNormalization(size)


def test_arguments_that_group_otherwise_are_told():
    with pytest.raises(ValueError, match="synchronized=True groups samples in another way"):
        GhostBatchNormalization(4, synchronized=True)
    with pytest.raises(ValueError, match="axis=1 must be the last one"):
        GhostBatchNormalization(4, axis=1)(tf.zeros([4, 2, 3, 3]))
    with pytest.raises(ValueError, match="got a mask"):
        GhostBatchNormalization(4)(tf.zeros([4, 2, 3]), training=True, mask=tf.ones([4, 2]))
