"""A Horovod script for Keras, in the usual shape, whose only change is its model's class (see docs/your_script.md).

All that Horovod asks of a script is still in it: pinning, the scaled rate, the wrapped optimizer, the three callbacks,
checkpoints on rank 0. The data are synthetic: ten classes, a blurred bar for each.
"""

from __future__ import annotations

from typing import Any

import horovod.tensorflow.keras as hvd
import numpy as np
import tensorflow as tf

import tflbt


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws images of a bright bar in noise; the bar's row is the label."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    images = random.uniform(0, 0.4, [count, 10, 10, 1]).astype("float32")
    images[np.arange(count), labels] += 0.5
    return images, labels


def main() -> dict[str, Any]:
    """Trains on the ranks that horovodrun started; returns what they should agree on."""
    hvd.init()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        tf.config.set_visible_devices(gpus[hvd.local_rank()], "GPU")
    tf.keras.utils.set_random_seed(
        hvd.rank()
    )  # ranks begin with different weights: the broadcast mends that

    images, labels = samples(2000, seed=0)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset = dataset.repeat().shuffle(2000, seed=hvd.rank()).batch(32)

    inputs = tf.keras.Input([10, 10, 1])
    hidden = tf.keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    hidden = tf.keras.layers.MaxPooling2D()(hidden)
    hidden = tf.keras.layers.Dropout(0.25)(tf.keras.layers.Flatten()(hidden))
    outputs = tf.keras.layers.Dense(10, activation="softmax")(hidden)
    model = tflbt.LargeBatchModel(inputs, outputs)  # was: tf.keras.Model(inputs, outputs)

    scaled_rate = 0.005 * hvd.size()
    optimizer = hvd.DistributedOptimizer(
        tf.keras.optimizers.Adam(scaled_rate),
        backward_passes_per_step=1,
        average_aggregated_gradients=True,
    )
    model.compile(
        loss=tf.keras.losses.SparseCategoricalCrossentropy(),
        optimizer=optimizer,
        metrics=["accuracy"],
        experimental_run_tf_function=False,
    )
    callbacks = [
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        hvd.callbacks.MetricAverageCallback(),
        hvd.callbacks.LearningRateWarmupCallback(initial_lr=scaled_rate, warmup_epochs=2),
    ]
    if hvd.rank() == 0:
        callbacks.append(tf.keras.callbacks.ModelCheckpoint("checkpoint-{epoch}.h5"))
    history = model.fit(
        dataset,
        steps_per_epoch=60 // hvd.size(),
        epochs=4,
        callbacks=callbacks,
        verbose=2 if hvd.rank() == 0 else 0,
    )

    _, accuracy = model.evaluate(*samples(400, seed=1), verbose=0)
    if hvd.rank() == 0:
        print(f"held-out accuracy {accuracy:.3f}")
    return {
        "updates": int(optimizer.iterations),
        "rate": float(optimizer.learning_rate),
        "accuracies": history.history["accuracy"],
        "held_out": accuracy,
        "weights": np.concatenate([weight.ravel() for weight in model.get_weights()]).tolist(),
    }


if __name__ == "__main__":
    main()
