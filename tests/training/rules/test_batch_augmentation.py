"""Evaluating M * B instances at once is accumulating M times B, and equals plain Keras on repeated samples."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import tensorflow as tf

from tflbt import callbacks, models
from tflbt.data import BatchAugmentation
from tflbt.data.sample_seeds import uniform_integers
from tflbt.data.sharding import sub_batches
from tflbt.training import LargeBatchModel

M, B = 4, 8
SPLITS = [("sub_batch", M * B), ("sub_batch", M), ("rank", B), ("rank", 2), ("ranks", 4)]


def noisy(x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Adds to every feature a whole number, the same for a sample's instance wherever it is."""
    return x + tf.cast(uniform_integers(seeds, 0, 3)[:, None] - 1, x.dtype) / 4


def trained(network, samples, augmentation, sub_batch_size, **arguments):
    model = LargeBatchModel.from_model(network())
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    usual = {"batch_size": M * B, "epochs": 2, "verbose": 0, "seed": 3, "transform": noisy}
    history = model.fit(
        *samples, sub_batch_size=sub_batch_size, batch_augmentation=augmentation,
        **{**usual, **arguments},
    ).history  # fmt: skip
    return model, history


_PLAIN: list[tuple[dict[str, list[float]], list[np.ndarray]]] = []


def by_plain_keras(network, samples):
    """Plain Keras's history and weights, trained once for all splits."""
    if not _PLAIN:
        plain, history = network(), collections.defaultdict(list)
        plain.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
        for epoch in range(2):  # 30 samples: updates of 8, 8, 8 and 6
            (instances,) = sub_batches(
                samples, sub_batch_size=M * 30, epochs=epoch + 1, initial_epoch=epoch, seed=3,
                transform=noisy, augmentation=BatchAugmentation(M),
            ).as_numpy_iterator()  # fmt: skip
            logs = plain.fit(*instances, batch_size=M * B, shuffle=False, verbose=0).history
            for name, (value,) in logs.items():
                history[name].append(value)
        _PLAIN.append((history, plain.get_weights()))
    return _PLAIN[0]


@pytest.mark.parametrize(("placement", "sub_batch_size"), SPLITS)
def test_at_once_or_accumulated_is_plain_keras_on_all_instances(
    network, samples, same, placement, sub_batch_size
):
    model, history = trained(network, samples, BatchAugmentation(M, placement), sub_batch_size)
    expected, weights = by_plain_keras(network, samples)
    assert history.keys() >= expected.keys()
    for name, values in expected.items():
        assert history[name] == pytest.approx(values, rel=1e-5)
    same(model.get_weights(), weights, 1e-6)
    assert int(model.optimizer.iterations) == 2 * 4  # as many as without, with batch B
    assert model.samples_seen == 2 * 30 * M


@pytest.mark.parametrize(("placement", "told"), [("sub_batch", 1), ("rank", 0)])
def test_ghosts_of_instances_side_by_side_are_noticed_once(samples, caplog, placement, told):
    inputs = tf.keras.Input([3])
    normalised = models.GhostBatchNormalization(4)(inputs)
    model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(normalised))
    model.compile("sgd", "mse")
    x, y = np.ones([8, 3], np.float32), np.ones([8, 1], np.float32)
    for _ in range(2):
        model.fit(
            x,
            y,
            batch_size=8,
            sub_batch_size=4,
            verbose=0,
            batch_augmentation=BatchAugmentation(2, placement),
        )
    said = [text for text in caplog.messages if "Ghosts of 4 hold instances of 2 samples" in text]
    assert len(said) == told


def test_dropout_has_a_mask_for_every_instance(samples):
    """Section 3.3: without a transform the instances are equal, and dropout makes them differ."""
    seen = []

    class Recording(LargeBatchModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            tf.py_function(
                lambda *parts: seen.append([part.numpy() for part in parts]), [x, y_pred], []
            )
            return super().compute_loss(x, y, y_pred, sample_weight)

    inputs = tf.keras.Input([5])
    model = Recording(inputs, tf.keras.layers.Dropout(0.5)(inputs))
    model.compile(tf.keras.optimizers.SGD(0.0), "mse")
    x = np.ones([8, 5], np.float32)
    model.fit(x, x, batch_size=32, verbose=0, batch_augmentation=BatchAugmentation(4))
    *_, (instances, masked) = seen  # a look at the model's own loss comes before
    assert instances.shape == (32, 5) and (instances == 1).all()
    assert len(np.unique(masked, axis=0)) > 8  # of 32 masks of 5 units


def test_callbacks_that_change_the_batch_keep_samples_whole(network, samples):
    model = LargeBatchModel.from_model(network())
    model.compile(tf.keras.optimizers.SGD(0.01), "mse")
    sizes = []
    note = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: sizes.append(model.batch_size)
    )
    grow = callbacks.GrowBatchSize((1, 2), 1.6, max_batch_size=40)
    model.fit(
        *samples, batch_size=16, sub_batch_size=2, epochs=3, verbose=0, callbacks=[grow, note],
        batch_augmentation=BatchAugmentation(4, "rank"),
    )  # fmt: skip
    assert sizes == [16, 24, 40]  # multiples of 4 instances x 2, where 25 and 40 were due


def test_the_largest_batch_is_the_whole_data_set_in_all_instances(network, samples):
    model = LargeBatchModel.from_model(network())
    model.compile(tf.keras.optimizers.SGD(0.01), "mse")
    grow = callbacks.GrowBatchSize((1,), 100, max_batch_size=10_000)
    model.fit(
        *samples, batch_size=16, sub_batch_size=2, epochs=2, verbose=0, callbacks=[grow],
        batch_augmentation=BatchAugmentation(4, "rank"),
    )  # fmt: skip
    assert model.batch_size == 30 * 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sub_batch_size": 2}, "multiple of 4, got 2: use 4"),
        ({"batch_size": 24, "sub_batch_size": 12, "augmentation": (4, "rank")}, "multiple of 48"),
    ],
)
def test_a_batch_that_tears_a_sample_is_refused(network, samples, arguments, says):
    augmentation = BatchAugmentation(*arguments.pop("augmentation", (4,)))
    with pytest.raises(ValueError, match=says):
        trained(network, samples, augmentation, **arguments)


def test_a_data_set_of_ones_own_is_refused_with_what_to_use(network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensors((tf.ones([4, 5]), tf.ones([4, 2])))
    with pytest.raises(ValueError, match="batch_augmentation go with arrays.*augmented_batches"):
        model.fit(data, batch_augmentation=BatchAugmentation(2))
