"""KerasTuner searches whose trials are trained by all ranks.

`python -m tflbt.tune` searches a recipe. A KerasTuner hypermodel is searched from Python, by one process or by a script
under `horovodrun`; there it must build a `tflbt.LargeBatchModel`.

Example:
    >>> import tempfile
    >>> import numpy as np, tensorflow as tf
    >>> import tflbt
    >>> images = np.random.default_rng(0).random([64, 28, 28], "float32")
    >>> labels = np.arange(64) % 10
    >>> def build(hp):
    ...     inputs = tf.keras.Input([28, 28])
    ...     x = tf.keras.layers.Flatten()(inputs)
    ...     x = tf.keras.layers.Dense(hp.Choice("units", [8, 16]), "relu")(x)
    ...     model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(10)(x))
    ...     rate = hp.Float("learning_rate", 0.01, 0.1, sampling="log")
    ...     loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ...     model.compile(tflbt.optimizers.LARS(rate), loss, ["accuracy"])
    ...     return model
    >>> trainer = tflbt.tuning.HyperModelTrainer(
    ...     build, images[:48], labels[:48], batch_size=16, epochs=2, validation_data=(images[48:], labels[48:]))
    >>> search = tflbt.tuning.Search(
    ...     tempfile.mkdtemp(), tflbt.tuning.space_of(build), "val_loss", max_trials=3, epochs=2, verbose=0)
    >>> best = search.run(trainer)
    >>> best.trials, sorted(best.values)
    (3, ['learning_rate', 'units'])

The best trial's weights of its best epoch are in a checkpoint:

    >>> model = trainer.build(best.values)
    >>> model.set_weights(tflbt.tuning.read_weights(best.checkpoint))

A killed search continues where it was with `Search(resume=True)`.
"""

from tflbt.training.checkpoint import read_weights
from tflbt.tuning.hypermodel import HyperModelTrainer
from tflbt.tuning.hypermodel_space import space_of
from tflbt.tuning.ledger import Result
from tflbt.tuning.search import Search
from tflbt.tuning.trial import Trial

__all__ = ["HyperModelTrainer", "Result", "Search", "Trial", "read_weights", "space_of"]
