"""A program: `save` trains models of every optimizer and saves them here, `load` takes the next step with them.

Of each optimizer it takes the table's last two rows, and a model of each. The even ones have a rate that was assigned,
the odd ones a schedule, which counts updates.
"""

from __future__ import annotations

import pathlib
import sys
import warnings

import horovod.tensorflow.keras as hvd
import numpy as np
import tensorflow as tf

from tests.optimizers.conftest import CASES
from tflbt import optimizers
from tflbt.training import LargeBatchModel

RANDOM = np.random.default_rng(0)
X, Y = (RANDOM.normal(size=(8, n)).astype("float32") for n in (3, 1))
ROWS = [[case for case in CASES if case.optimizer == name] for name in optimizers.__all__]
TAKEN = [case for of_optimizer in ROWS for case in of_optimizer[-2:]]
layers = tf.keras.layers


def build(number, rate=0.03, kind=tf.keras.Model):
    """A model whose optimizer Horovod has wrapped."""
    inputs = tf.keras.Input([3])
    hidden = layers.BatchNormalization(name="bn")(layers.Dense(4, name="hidden")(inputs))
    model = kind(inputs, layers.Dense(1, name="top")(hidden))
    schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], [0.02, 0.04, 0.06])
    optimizer = hvd.DistributedOptimizer(TAKEN[number].make(schedule if number % 2 else 0.5))
    if not number % 2:
        optimizer.learning_rate = rate  # as a callback would
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def next_step(model):
    """Takes a step and returns all variables."""
    if isinstance(model, LargeBatchModel):
        model.fit(X, Y, batch_size=8, sub_batch_size=4, shuffle=False, verbose=0)
    else:
        model.train_on_batch(X, Y)
    return [np.array(v) for v in [*model.weights, *model.optimizer.variables]]


def train_and_save(model, path):
    """In three formats after two steps, and what the third step gives."""
    for _ in range(2):
        next_step(model)
    model.save(f"{path}.keras")
    model.save(f"{path}.h5")
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(path)
    np.savez(f"{path}.npz", *next_step(model))


def save():
    """Saves all."""
    pathlib.Path("saved").mkdir()
    for number in range(len(TAKEN)):
        plain = build(number)
        assert hasattr(plain.optimizer, "_allreduce_grads")
        train_and_save(plain, f"saved/{number}")
        if number % 4 == 1:
            train_and_save(build(number, kind=LargeBatchModel), f"saved/large{number}")
    print("saved", len(TAKEN), "models of", len(ROWS), "optimizers")


def loaded_by_keras(path, cls):
    """A model with an optimizer of this class."""
    return tf.keras.models.load_model(path, custom_objects={cls.__name__: cls})


def restored(number):
    """A model from a checkpoint."""
    other = build(number, rate=7.0)
    other.optimizer.build(other.trainable_variables)
    reader = tf.train.Checkpoint(model=other, optimizer=other.optimizer)
    reader.read(f"saved/{number}").assert_consumed()
    return other


def ways(number, cls):
    """Ways of loading: name, model, and whether its optimizer reduces over ranks."""
    yield f"{number}", loaded_by_keras(f"saved/{number}.keras", cls), False
    # The class that Horovod makes takes the state up; wrapping the loaded optimizer would lose it.
    wrapped = type(hvd.DistributedOptimizer(TAKEN[number].make()))
    if number % 2:
        yield f"{number}", loaded_by_keras(f"saved/{number}.h5", wrapped), True
    if number % 4 == 1:
        # LargeBatchModel takes the wrapper off: it reduces itself, and saves what loads by itself.
        yield f"large{number}", tf.keras.models.load_model(f"saved/large{number}.keras"), False
    if number % 2 == 0:
        yield f"{number}", loaded_by_keras(f"saved/{number}.keras", wrapped), True
        # Horovod's loader cannot rebuild a schedule, of Keras's own optimizers neither.
        yield f"{number}", hvd.load_model(f"saved/{number}.h5", custom_optimizers=[cls]), True
        yield f"{number}", restored(number), True


def load():
    """Loads all, and compares the next step."""
    count = 0
    for number, case in enumerate(TAKEN):
        cls = getattr(optimizers, case.optimizer)
        for name, loaded, reduces in ways(number, cls):
            assert isinstance(loaded.optimizer, cls) and int(loaded.optimizer.iterations) == 2, case
            assert hasattr(loaded.optimizer, "_allreduce_grads") == reduces, case
            loaded.run_eagerly = True
            actual, expected = next_step(loaded), np.load(f"saved/{name}.npz")
            assert len(actual) == len(expected.files), case
            for mine, key in zip(actual, expected.files):
                np.testing.assert_array_equal(mine, expected[key], err_msg=str(case))
            count += 1
    print("same next step", count)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    hvd.init()
    {"save": save, "load": load}[sys.argv[1]]()
