"""Where models are cut, what is recorded, and what is left as it was."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import top_eigenvalue
from tflbt.curvature.block import block_of
from tflbt.curvature.halves import Head, float_type
from tflbt.curvature.samples import MeasuredSamples
from tflbt.curvature.selection import watched_calls

layers = tf.keras.layers


def small(*more, **options):
    return tf.keras.Sequential(
        [layers.Dense(5, "relu", input_shape=(6,)), layers.Dense(4, **options), *more]
    )


def data(count=12):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 6)).astype("float32"), rng.integers(0, 4, count)


def cross_entropy():
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_head_reproduces_the_model(case):
    model, x, y = case.build()
    samples = MeasuredSamples.of(x, y, sub_batch_size=5)
    output = block_of(model, samples)
    assert (output.reason is None) == case.cut
    if case.cut:
        head = output.head(float_type(output.layers))
        head.load()
        ours = head(output.run_features(samples))
        theirs = model(x, training=False)
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), ours, theirs
        )


def test_watching_is_undone_also_after_an_exception():
    model = small(layers.Lambda(lambda x: 2.0 * x))
    before = [layer.__dict__.get("call") for layer in model.layers]
    with pytest.raises(KeyError), watched_calls(model):
        raise KeyError
    assert [layer.__dict__.get("call") for layer in model.layers] == before


def test_the_last_kernel_is_the_output_layer_and_normalisation_is_not():
    model = small(layers.BatchNormalization(), layers.Softmax())
    output = block_of(model, MeasuredSamples.of(*data()))
    assert output.layers[-1] is model.layers[1]


def test_frozen_layers_do_not_count():
    model = small()
    model.layers[1].trainable = False
    assert block_of(model, MeasuredSamples.of(*data())).layers[-1] is model.layers[0]
    model.layers[1].trainable = True
    assert block_of(model, MeasuredSamples.of(*data())).layers[-1] is model.layers[1]
    model.trainable = False
    with pytest.raises(ValueError, match="trainable"):
        block_of(model, MeasuredSamples.of(*data()))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_measured_in_float32(policy):
    x, y = data(64)
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        model = small(layers.Activation("softmax"))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    plain = small(layers.Activation("softmax"))
    plain.set_weights(model.get_weights())
    loss = "sparse_categorical_crossentropy"
    output = block_of(model, MeasuredSamples.of(x, y))
    assert output.reason is None
    assert all(spec.dtype == tf.float32 for spec in output.halves.specs())
    mixed = top_eigenvalue(model, x, y, loss=loss, iterations=30)
    exact = top_eigenvalue(model, x, y, loss=loss, iterations=30, method="exact")
    assert mixed.eigenvalue == pytest.approx(exact.eigenvalue, rel=5e-3)
    full = top_eigenvalue(plain, x, y, loss=loss, iterations=30, method="exact")
    assert mixed.eigenvalue == pytest.approx(full.eigenvalue, rel=2e-2)


def test_saturated_and_wrong_samples_do_not_drown_the_difference():
    """Gradients as large as the features, next to no curvature: float32 has no good step here."""
    rng = np.random.default_rng(0)
    x, y = np.abs(rng.standard_normal((256, 6))) * 500, rng.integers(0, 4, 256)
    model = tf.keras.Sequential([layers.Dense(4, input_shape=(6,), kernel_initializer="ones")])
    kernel = rng.standard_normal((6, 4)) * 0.05
    model.set_weights([kernel, np.zeros(4)])
    logits = np.float64(np.float32(x)) @ np.float32(kernel)
    share = np.exp(logits - logits.max(1, keepdims=True))
    assert np.median((share / share.sum(1, keepdims=True)).max(1)) > 0.999
    exact = top_eigenvalue(model, x, y, loss=cross_entropy(), iterations=60, method="exact")
    difference = top_eigenvalue(model, x, y, loss=cross_entropy(), iterations=60)
    assert difference.eigenvalue == pytest.approx(exact.eigenvalue, rel=1e-3)


def test_a_loss_that_refuses_float64_is_differenced_in_float32():
    def stubborn(y_true, y_pred):
        return tf.reduce_sum(tf.square(y_pred - tf.constant([1.0, 2.0, 3.0, 4.0])), -1)

    model, (x, y) = small(), data(30)
    result = top_eigenvalue(model, x, y, loss=stubborn, iterations=30)
    exact = top_eigenvalue(model, x, y, loss=stubborn, iterations=30, method="exact")
    output = block_of(model, MeasuredSamples.of(x, y))
    assert output._operators["finite_difference"][1].head.dtype == tf.float32
    assert result.eigenvalue == pytest.approx(exact.eigenvalue, rel=1e-3)


def test_float64_stays_float64():
    tf.keras.mixed_precision.set_global_policy("float64")
    try:
        model = small()
        x, y = data()
        result = top_eigenvalue(model, x, y, loss=cross_entropy(), iterations=60, method="exact")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert result.eigenvector[0].dtype == np.float64
    assert result.residual < 1e-8 * result.eigenvalue


def test_compiled_once_and_never_again():
    model, (x, y) = small(), data(30)
    model.compile("sgd", cross_entropy())
    first = top_eigenvalue(model, x, y, sub_batch_size=8)
    output = block_of(model, MeasuredSamples.of(x, y))
    _, operator = output._operators["finite_difference"]
    counts = [f.experimental_get_tracing_count() for f in (output.features, operator.solve)]
    for size in (8, 7, 30, 100):
        top_eigenvalue(model, x[:size], y[:size], iterations=size, sub_batch_size=size, step=0.01)
    tf.keras.backend.clear_session()
    again = top_eigenvalue(model, x, y, sub_batch_size=8)
    assert block_of(model, MeasuredSamples.of(x, y)) is output
    assert output._operators["finite_difference"][1] is operator
    assert counts == [1, 1]
    after = [f.experimental_get_tracing_count() for f in (output.features, operator.solve)]
    assert after == counts
    assert again.eigenvalue == pytest.approx(first.eigenvalue, rel=1e-5)


def test_follows_the_weights_and_the_loss():
    model, (x, y) = small(), data(30)
    model.compile("sgd", cross_entropy())
    before = top_eigenvalue(model, x, y).eigenvalue
    model.layers[1].set_weights([w * 30 for w in model.layers[1].get_weights()])
    after = top_eigenvalue(model, x, y).eigenvalue
    model.compile("sgd", "mse")
    other = top_eigenvalue(model, x, np.eye(4)[y]).eigenvalue
    assert len({round(value, 3) for value in (before, after, other)}) == 3
    fresh = top_eigenvalue(model, x, y, loss=cross_entropy()).eigenvalue
    assert fresh == pytest.approx(after, rel=1e-5)


def test_the_model_can_be_saved_and_collected(tmp_path):
    model, (x, y) = small(), data()
    model.compile("sgd", cross_entropy())
    top_eigenvalue(model, x, y)
    for name in ("model.keras", "model.h5", "saved"):
        model.save(tmp_path / name)
        loaded = tf.keras.models.load_model(tmp_path / name)
        np.testing.assert_array_equal(loaded(x), model(x))
    watch = weakref.ref(model)
    del model, loaded
    tf.keras.backend.clear_session()
    gc.collect()
    assert watch() is None


def test_random_numbers_of_training_are_not_touched():
    def train(estimate):
        tf.keras.utils.set_random_seed(7)
        model, (x, y) = small(layers.Dropout(0.5), layers.Dense(4)), data(32)
        model.compile("sgd", cross_entropy())
        for _ in range(2):
            model.fit(x, y, batch_size=8, verbose=0)
            if estimate:
                top_eigenvalue(model, x, y)
        return model.get_weights()

    for plain, measured in zip(train(False), train(True)):
        np.testing.assert_array_equal(plain, measured)


class NoConfig(layers.Layer):
    """A layer that from_config cannot make again."""

    def __init__(self, units):
        """Make the kernel."""
        super().__init__(name="no_config")
        self.kernel = self.add_weight("kernel", [5, units])

    def call(self, inputs):
        """Multiply."""
        return inputs @ self.kernel

    def get_config(self):
        """Forget ``units``."""
        return {}


def test_a_layer_without_config_falls_back_with_a_notice(caplog):
    model = tf.keras.Sequential([layers.Dense(5, "tanh", input_shape=(6,)), NoConfig(4)])
    x, y = data()
    with caplog.at_level("WARNING", logger="absl"):
        first = top_eigenvalue(model, x, y, loss=cross_entropy(), iterations=30)
        top_eigenvalue(model, x, y, loss=cross_entropy())
    notices = [record for record in caplog.records if "cannot be cut" in record.getMessage()]
    assert len(notices) == 1 and "'no_config'" in notices[0].getMessage()
    exact = top_eigenvalue(model, x, y, loss=cross_entropy(), iterations=30, method="exact")
    assert first.eigenvalue == pytest.approx(exact.eigenvalue, rel=5e-3)


def test_features_that_are_not_one_row_a_sample_fall_back():
    tokens = tf.keras.Input((3, 6))
    flat = tf.reshape(layers.Dense(5, "relu")(tokens), [-1, 5])
    model = tf.keras.Model(tokens, tf.reduce_mean(tf.reshape(layers.Dense(4)(flat), [-1, 3, 4]), 1))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 3, 6)), rng.integers(0, 4, 10)
    result = top_eigenvalue(model, x, y, loss=cross_entropy(), iterations=30)
    assert "one row per sample" in block_of(model, MeasuredSamples.of(x, y)).reason
    exact = top_eigenvalue(
        model,
        x,
        y,
        loss=cross_entropy(),
        iterations=30,
        method="exact",
        layers=model.layers[3].name,
    )
    assert result.eigenvalue == pytest.approx(exact.eigenvalue, rel=5e-3)


def test_weights_of_the_head_are_its_own():
    model = small()
    head = block_of(model, MeasuredSamples.of(*data())).head(tf.float64)
    assert isinstance(head, Head)
    assert not {id(v) for v in head.variables} & {id(v) for v in model.weights}
