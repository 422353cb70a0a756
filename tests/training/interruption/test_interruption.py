"""A `fit` that is interrupted inside an epoch goes on with the next sample, bit for bit."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import (
    AdaptiveBatchSize,
    Checkpoint,
    DistanceMonitor,
    RunLog,
    TrustRatioMonitor,
    Warmup,
)
from tflbt.control.progress import Progress
from tflbt.distributed.restart import RestartNeeded
from tflbt.optimizers import LARS
from tflbt.training import Strides
from tflbt.training.agreement import optimizer_variables

X = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


class Signal(tf.keras.callbacks.Callback):
    """Sends this process a signal in an update, as a batch system would, and lets it arrive."""

    def __init__(self, update: int) -> None:
        super().__init__()
        self.update, self.updates = update, 0

    def on_train_batch_end(self, batch, logs=None):
        self.updates += 1
        if self.updates == self.update:
            os.kill(os.getpid(), signal.SIGTERM)
            interruption = self.model.update_state.interruption
            while not interruption.notice.received:
                time.sleep(0.001)


class Trainer:
    """Trains one compiled network again and again, each time as a new process would."""

    def __init__(self, folder, tail) -> None:
        tf.keras.utils.set_random_seed(1)
        inputs = tf.keras.Input([4])
        hidden = tf.keras.layers.BatchNormalization()(tf.keras.layers.Dense(8)(inputs))
        hidden = tf.keras.layers.Dropout(0.3)(hidden)
        self.model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(hidden))
        self.model.compile(LARS(0.05, ratio_bounds=(0.01, 1)), "mse", metrics=["mae"])
        self.model.optimizer.build(self.model.trainable_variables)
        self.variables = [*self.model.weights, *optimizer_variables(self.model.optimizer)]
        self.first = [v.numpy() for v in self.variables]
        self.tail, self.folder, self.rule = tail, folder, Strides()

    def fit(self, name, *more, resume=False, x=X, y=Y, epochs=3, **options):
        """Trains into a folder; returns what became of it: variables, rows of the run, rows of distances."""
        folder, model = self.folder / name, self.model
        for variable, value in zip(self.variables, self.first):
            variable.assign(value)
        vars(model.optimizer).pop("_tflbt_rate", None)
        model.samples_seen, model.update_state.progress = 0, Progress()
        checkpoint = Checkpoint(folder / "checkpoints", **options)
        self.begin = checkpoint.resume(model) if resume else 0
        log = RunLog(folder / "run", verbose=0)
        model.fit(
            x, y, batch_size=checkpoint.batch_size or 8, sub_batch_size=4, epochs=epochs,
            initial_epoch=self.begin, tail=self.tail, verbose=0, rules=[self.rule],
            callbacks=[
                Warmup(2), *([AdaptiveBatchSize(16, kappa=3, curvature_data=(X[:8], Y[:8]), measure_every=16)]
                             if self.tail == "carry" else []),
                DistanceMonitor(folder / "distance.csv", 20), TrustRatioMonitor(), log, *more, checkpoint,
            ],
        )  # fmt: skip
        rows = [
            {name: repr(value) for name, value in row.items() if not name.startswith("seconds")}
            for row in log.run_directory.metrics.read()
        ]
        values = [v.numpy().tobytes() for v in self.variables]
        return values, rows, (folder / "distance.csv").read_text()

    def names(self, name):
        """The checkpoints in a folder."""
        return sorted(p.name for p in (self.folder / name / "checkpoints").glob("epoch_*"))


@pytest.fixture(autouse=True)
def seeded_layers():
    """Random layers draw from generators, as in tflbt.train."""
    before = tf.keras.backend.experimental.is_tf_random_generator_enabled()
    tf.keras.backend.experimental.enable_tf_random_generator()
    yield
    if not before:
        tf.keras.backend.experimental.disable_tf_random_generator()


@pytest.mark.parametrize("tail", ["update", "carry", "drop"])
def test_a_signal_saves_and_what_follows_is_as_if_nothing_had_been(tail, tmp_path):
    """In the first epoch, in another, and at the end of one; the signal is a real one."""
    trainer = Trainer(tmp_path, tail)
    whole = trainer.fit("whole", preemption=True)
    cuts = ((2, "epoch_00000_update_000002"), (9, "epoch_00001_update_000002"), (14, "epoch_00002"))
    for update, newest in cuts if tail == "update" else ((9, None),):
        name = f"cut_{update}"
        with pytest.raises(RestartNeeded) as ended:
            trainer.fit(name, Signal(update), preemption=True)
        assert ended.value.code == 76
        assert newest in (None, trainer.names(name)[-1])
        folder = tmp_path / name / "checkpoints"
        assert (folder / "next_ranks").read_text() == "1 preempted\n"
        assert trainer.fit(name, resume=True, preemption=True) == whole
        assert trainer.names(name) == trainer.names("whole")
        assert not (folder / "next_ranks").exists()
    if tail == "update":
        _every_few_updates_are_saved(trainer, whole)
        _what_cannot_go_on_is_refused(trainer)


def _every_few_updates_are_saved(trainer, whole):
    """Only the newest checkpoint inside an epoch stays, and it is that from which a killed run goes on."""

    class Cut(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 12:
                raise KeyboardInterrupt

    for how in ({"every_updates": 2}, {"every_minutes": 1e-9}):
        with pytest.raises(KeyboardInterrupt):
            trainer.fit("killed", Cut(), **how)
        assert trainer.names("killed") == ["epoch_00001", "epoch_00001_update_000004"]
        assert trainer.fit("killed", resume=True) == whole
        assert trainer.begin == 1
        trainer.folder = trainer.folder / "again"


def _what_cannot_go_on_is_refused(trainer):
    """Other data, which have no place inside an epoch; a generator ends by a signal, without a checkpoint of it."""
    with pytest.raises(RestartNeeded):
        trainer.fit("refused", Signal(2), preemption=True)
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    with pytest.raises(ValueError, match="after 16 samples of epoch 1, where fit cannot go on"):
        trainer.fit("refused", resume=True, x=batches, y=None)
    trainer.model.update_state.position = None
    with pytest.raises(ValueError, match="^every_updates=3: x is a tf.data.Dataset, whose place"):
        trainer.fit("dataset", x=batches, y=None, every_updates=3)
    with pytest.raises(RestartNeeded):
        trainer.fit("dataset", Signal(15), x=batches, y=None, preemption=True)
    assert trainer.names("dataset") == ["epoch_00001", "epoch_00002"]
