"""LargeBatchModel on a device: the processor's result, mixed precision, XLA, and the memory of many sub-batches."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LARS
from tflbt.training import LargeBatchModel

K = tf.keras
X = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 4, 64)


def network(width: int = 4) -> K.Model:
    """A small network with a convolution; its last layer computes in float32 under any policy."""
    K.utils.set_random_seed(3)
    inputs = K.Input([8, 8, 3])
    hidden = K.layers.Conv2D(width, 3, activation="relu")(inputs)
    logits = K.layers.Dense(4)(K.layers.GlobalAveragePooling2D()(hidden))
    return LargeBatchModel(inputs, K.layers.Activation("linear", dtype="float32")(logits))


def trained(device: str, **options) -> tuple[list[float], list[np.ndarray]]:
    """The losses and weights after three updates of four sub-batches."""
    with tf.device(device):
        model = network()
        loss = K.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(LARS(0.1), loss, **options)
        fit = model.fit(X, Y, batch_size=64, sub_batch_size=16, epochs=3, shuffle=False, verbose=0)
        return fit.history["loss"], model.get_weights()


@pytest.fixture(scope="module")
def on_the_processor() -> tuple[list[float], list[np.ndarray]]:
    return trained("/CPU:0")


def test_a_device_trains_as_the_processor_does(device, on_the_processor):
    losses, weights = trained(device)
    # TF32 keeps 10 bits of the fraction; three small steps add little to it.
    np.testing.assert_allclose(losses, on_the_processor[0], rtol=2e-3)
    for ours, theirs in zip(weights, on_the_processor[1]):
        np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(device, policy, on_the_processor):
    K.mixed_precision.set_global_policy(policy)
    losses, weights = trained(device)
    np.testing.assert_allclose(losses, on_the_processor[0], rtol=3e-2)
    assert {weight.dtype.name for weight in weights} == {"float32"}


def test_xla_trains_the_same(device, on_the_processor):
    losses, _ = trained(device, jit_compile=True)
    np.testing.assert_allclose(losses, on_the_processor[0], rtol=2e-3)


def test_many_sub_batches_take_the_memory_of_one(device):
    if device == "/CPU:0":
        pytest.skip(
            "TensorFlow counts the memory of GPUs alone; benchmarks sub_batches counts here"
        )
    peaks = {}
    for sub_batches in (1, 64):
        x = np.zeros((sub_batches * 256, 32, 32, 3), "float32")
        plain = K.applications.ResNet50(weights=None, classes=10, input_shape=(32, 32, 3))
        model = LargeBatchModel.from_model(plain)
        model.compile("sgd", "sparse_categorical_crossentropy")
        tf.config.experimental.reset_memory_stats("GPU:0")
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        model.fit(x, np.zeros(len(x)), batch_size=len(x), sub_batch_size=256, verbose=0)
        peaks[sub_batches] = tf.config.experimental.get_memory_info("GPU:0")["peak"] - before
    # One more set of gradients, about 0.1 GB of the 2 to 3.
    assert peaks[64] < 1.15 * peaks[1]
