"""The lengths of the instances' gradients against that of their mean, in NumPy, and the update scaled by it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import BatchAugmentation
from tflbt.data.sample_seeds import uniform_integers
from tflbt.data.sharding import sub_batches
from tflbt.training import AugmentationScale, LargeBatchModel

K = tf.keras
M, B, RATE, PENALTY = 3, 8, 0.1, 0.2


def noisy(x, seeds):
    return x + tf.cast(uniform_integers(seeds, 0, 3)[:, None] - 1, x.dtype)


def linear(eager=True) -> LargeBatchModel:
    inputs = K.Input([5])
    unit = K.layers.Dense(
        1, use_bias=False, kernel_initializer="ones", kernel_regularizer=K.regularizers.L2(PENALTY)
    )
    model = LargeBatchModel(inputs, unit(inputs))
    model.compile(K.optimizers.SGD(RATE), "mse", run_eagerly=eager)
    return model


def by_hand(x, y, apply):
    """NumPy: an update of 8 and one of 6 samples, each in 3 instances."""
    w, scales = np.ones(5), []
    (rows,) = sub_batches(
        (x, y), sub_batch_size=M * len(x), epochs=1, seed=3, transform=noisy, shuffle=False,
        augmentation=BatchAugmentation(M),
    ).as_numpy_iterator()  # fmt: skip
    x, y = (part.reshape(-1, M, part.shape[1]) for part in rows)
    for part in (slice(B), slice(B, None)):
        errors = np.einsum("ijk,k->ij", x[part], w) - y[part][..., 0]
        instances = 2 * np.einsum("ij,ijk->jk", errors, x[part]) / len(x[part])
        mean = instances.mean(0)
        scales.append(np.linalg.norm(instances, axis=1).mean() / np.linalg.norm(mean))
        w = w - RATE * ((scales[-1] if apply else 1) * mean + 2 * PENALTY * w)
    return w, np.mean(scales)


@pytest.mark.parametrize("apply", [False, True])
def test_it_is_what_numpy_computes(samples, apply):
    x, y = samples[0][:14], samples[1][:14, :1]
    model, rule = linear(eager=not apply), AugmentationScale(apply)
    options = {"batch_size": M * B, "sub_batch_size": B, "shuffle": False, "seed": 3, "verbose": 0}
    augmentation = {"transform": noisy, "batch_augmentation": BatchAugmentation(M, "rank")}
    model.fit(x, y, **options, **augmentation, rules=[rule])
    w, scale = by_hand(x, y, apply)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], w, atol=1e-5)
    assert rule.columns(0) == {"augmentation_scale": pytest.approx(scale, rel=1e-5)}
    assert 1 < scale <= np.sqrt(M)


@pytest.mark.parametrize(
    ("augmentation", "size"),
    [
        (BatchAugmentation(), 4),
        (BatchAugmentation(M), 6),
        (BatchAugmentation(M, "rank"), 4),
    ],
)
def test_sub_batches_that_are_no_instances_are_refused(samples, augmentation, size):
    with pytest.raises(ValueError, match="augmentation_scale compares instances, each in a sub-b"):
        linear().fit(
            samples[0], samples[1][:, :1], batch_size=24, sub_batch_size=size, verbose=0,
            batch_augmentation=augmentation, rules=[AugmentationScale()],
        )  # fmt: skip
    with pytest.raises(ValueError, match="apply=2"):
        AugmentationScale(2)
