"""A model trained with `hvd.DistributedOptimizer` and saved takes the same next step where a new process loads it."""

from __future__ import annotations

from pathlib import Path

import pytest

# Both processes: the table's last two rows of each optimizer, and a model of each. The even ones have a rate that was
# assigned, the odd ones a schedule, which counts updates.
SHARED = """
    import importlib.util, pathlib, sys, warnings
    import numpy as np, tensorflow as tf
    import horovod.tensorflow.keras as hvd
    from tflbt import optimizers
    from tflbt.training import LargeBatchModel

    warnings.simplefilter("ignore")
    spec = importlib.util.spec_from_file_location("table", sys.argv[1])
    table = sys.modules["table"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    rows = [[case for case in table.CASES if case.optimizer == name] for name in optimizers.__all__]
    cases = [case for of_one in rows for case in of_one[-2:]]
    pathlib.Path("saved").mkdir(exist_ok=True)
    hvd.init()
    random = np.random.default_rng(0)
    x, y = (random.normal(size=(8, n)).astype("float32") for n in (3, 1))
    layers = tf.keras.layers

    def model(number, rate=0.03, kind=tf.keras.Model):
        inputs = tf.keras.Input([3])
        hidden = layers.BatchNormalization(name="bn")(layers.Dense(4, name="hidden")(inputs))
        made = kind(inputs, layers.Dense(1, name="top")(hidden))
        schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], [0.02, 0.04, 0.06])
        optimizer = hvd.DistributedOptimizer(cases[number].make(schedule if number % 2 else 0.5))
        if not number % 2:
            optimizer.learning_rate = rate  # as a callback would
        made.compile(optimizer, "mse", run_eagerly=True)
        return made

    def next_step(model):
        if isinstance(model, LargeBatchModel):
            model.fit(x, y, batch_size=8, sub_batch_size=4, shuffle=False, verbose=0)
        else:
            model.train_on_batch(x, y)
        return [np.array(v) for v in [*model.weights, *model.optimizer.variables]]
"""

SAVES = """
    def train_and_save(model, path):
        for _ in range(2):
            next_step(model)
        model.save(f"{path}.keras")
        model.save(f"{path}.h5")
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(path)
        np.savez(f"{path}.npz", *next_step(model))

    for number in range(len(cases)):
        plain = model(number)
        assert hasattr(plain.optimizer, "_allreduce_grads")
        train_and_save(plain, f"saved/{number}")
        if number % 4 == 1:
            train_and_save(model(number, kind=LargeBatchModel), f"saved/large{number}")
    print("saved", len(cases), "models of", len(rows), "optimizers")
"""

LOADS = """
    def load(path, cls):
        return tf.keras.models.load_model(path, custom_objects={cls.__name__: cls})

    def checkpoint(number):
        other = model(number, rate=7.0)
        other.optimizer.build(other.trainable_variables)
        reader = tf.train.Checkpoint(model=other, optimizer=other.optimizer)
        reader.read(f"saved/{number}").assert_consumed()
        return other

    def ways(number, cls):  # of loading: (name, model, whether its optimizer reduces over ranks)
        yield f"{number}", load(f"saved/{number}.keras", cls), False
        # The class that Horovod makes takes the state up; wrapping the loaded optimizer would lose it.
        wrapped = type(hvd.DistributedOptimizer(cases[number].make()))
        if number % 2:
            yield f"{number}", load(f"saved/{number}.h5", wrapped), True
        if number % 4 == 1:
            # LargeBatchModel takes the wrapper off: it reduces itself, and saves what loads by itself.
            yield f"large{number}", tf.keras.models.load_model(f"saved/large{number}.keras"), False
        if number % 2 == 0:
            yield f"{number}", load(f"saved/{number}.keras", wrapped), True
            # Horovod's loader cannot rebuild a schedule, of Keras's own optimizers neither.
            yield f"{number}", hvd.load_model(f"saved/{number}.h5", custom_optimizers=[cls]), True
            yield f"{number}", checkpoint(number), True

    count = 0
    for number, case in enumerate(cases):
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
"""


@pytest.mark.ranks(1)
def test_a_new_process_takes_the_same_next_step(run_ranks):
    table = [str(Path(__file__).with_name("conftest.py"))]
    told = run_ranks(SHARED + SAVES, n=1, args=table).stdout
    assert "saved 12 models of 6 optimizers" in told
    told = run_ranks(SHARED + LOADS, n=1, args=table).stdout
    assert "same next step 39" in told
