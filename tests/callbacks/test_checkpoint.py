"""Tests of the checkpoint callback: when it writes, and what `resume` brings back."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import Checkpoint, StepDecay, Warmup


def written(folder):
    return sorted(path.name for path in folder.iterdir())


def fit(model, data, *chosen, **options):
    return model.fit(*data, batch_size=8, verbose=0, callbacks=list(chosen), **options)


def test_every_few_epochs_and_after_the_last(tmp_path, data, make_model):
    fit(make_model(), data, Checkpoint(tmp_path, every=2, keep=10), epochs=5)
    assert written(tmp_path) == ["epoch_00002", "epoch_00004", "epoch_00005"]


def test_the_newest_are_kept(tmp_path, data, make_model):
    fit(make_model(), data, Checkpoint(tmp_path, keep=3), epochs=5)
    assert written(tmp_path) == ["epoch_00003", "epoch_00004", "epoch_00005"]


def test_the_initial_weights_and_chosen_epochs_stay(tmp_path, data, make_model):
    """Also where the run is resumed from its beginning: killed in the first epoch."""
    model = make_model()
    before = model.get_weights()
    options = {"every": 4, "keep": 1, "initial": True, "keep_epochs": (1, 3)}
    fit(model, data, Checkpoint(tmp_path, **options), epochs=9)
    assert written(tmp_path) == ["epoch_00000", "epoch_00001", "epoch_00003", "epoch_00009"]
    for epoch in (1, 3, 9):
        shutil.rmtree(tmp_path / f"epoch_{epoch:05d}")
    other, checkpoint = make_model(seed=1), Checkpoint(tmp_path, **options)
    assert checkpoint.resume(other) == 0
    for a, b in zip(before, other.get_weights()):
        np.testing.assert_array_equal(a, b)
    fit(other, data, checkpoint, epochs=9)
    assert written(tmp_path) == ["epoch_00000", "epoch_00001", "epoch_00003", "epoch_00009"]
    with pytest.raises(ValueError, match=r"^keep_epochs=\(0, 3\) must be .*initial=True"):
        Checkpoint(tmp_path, keep_epochs=(0, 3))


def test_a_run_that_is_stopped_early_is_written(tmp_path, data, make_model):
    stop = tf.keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e9)
    fit(make_model(), data, stop, Checkpoint(tmp_path, every=10), epochs=8)
    assert written(tmp_path) == ["epoch_00002"]


def test_nothing_to_resume_is_epoch_zero(tmp_path, make_model):
    model = make_model()
    before = model.get_weights()
    assert Checkpoint(tmp_path / "none").resume(model) == 0
    assert not (tmp_path / "none").exists()
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("named", [True, False])
def test_callbacks_get_their_own_state_back(named, tmp_path, data, make_model):
    """Also two of one class, told apart by their order; a callback without state is passed over."""
    made = [Warmup(8), StepDecay([1], 0.5), tf.keras.callbacks.History()]
    fit(make_model(), data, *made, Checkpoint(tmp_path, made if named else ()), epochs=2)
    again = [Warmup(8), StepDecay([1], 0.5), tf.keras.callbacks.History()]
    model = make_model(tf.keras.optimizers.SGD(9.0, momentum=0.9), seed=1)
    checkpoint = Checkpoint(tmp_path, again if named else ())
    assert checkpoint.resume(model) == 2
    fit(model, data, *again, checkpoint, epochs=3, initial_epoch=2)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01 * 3 / 8 * 0.5)


def test_batch_size_and_samples_of_a_large_batch_model_come_back(tmp_path, data, make_model):
    model = make_model(cls=LargeBatchModel)

    def grow(epoch, logs):
        model.batch_size = 16

    growth = tf.keras.callbacks.LambdaCallback(on_epoch_end=grow)
    model.fit(
        *data, batch_size=8, sub_batch_size=4, verbose=0, callbacks=[growth, Checkpoint(tmp_path)]
    )
    other, checkpoint = make_model(cls=LargeBatchModel, seed=1), Checkpoint(tmp_path)
    assert checkpoint.batch_size is None
    assert checkpoint.resume(other) == 1
    assert (checkpoint.batch_size, other.samples_seen) == (16, 32)


def test_another_runs_checkpoints_are_not_mixed_with_ours(tmp_path, data, make_model):
    """A program started again without `resume`: its epoch 1 would be older than what lies there."""
    fit(make_model(), data, Checkpoint(tmp_path), epochs=3)
    before = written(tmp_path)
    with pytest.raises(FileExistsError, match="another run, up to epoch_00003: call resume"):
        fit(make_model(), data, Checkpoint(tmp_path), epochs=1)
    assert written(tmp_path) == before


def test_a_second_fit_replaces_the_first_ones(tmp_path, data, make_model):
    model, checkpoint = make_model(), Checkpoint(tmp_path)
    fit(model, data, checkpoint, epochs=3)
    fit(model, data, checkpoint, epochs=1)
    assert written(tmp_path) == ["epoch_00001"]
    other = make_model(seed=1)
    checkpoint.resume(other)
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path, data, make_model):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        fit(make_model(), data, Checkpoint(tmp_path / "checkpoints"))


def test_a_file_in_the_folders_place_is_one_error(tmp_path, data, make_model):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(
        OSError, match="cannot write the checkpoint of epoch 1.*checkpoints/epoch_00001"
    ):
        fit(make_model(), data, Checkpoint(tmp_path / "checkpoints"))


@pytest.mark.parametrize(("name", "value"), [("every", 0), ("keep", 0)])
def test_a_wrong_argument_is_named(name, value, tmp_path):
    with pytest.raises(ValueError, match=f"^{name}="):
        Checkpoint(tmp_path, **{name: value})
