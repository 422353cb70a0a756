"""Tests of checkpoints on disk: damaged, replaced, of another model; what is in them comes back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LARS
from tflbt.training.checkpoint import (
    ARRAYS,
    MANIFEST,
    STATE,
    Checkpoints,
    _fingerprint,
    damage,
    read_weights,
)


def make_model(optimizer=None, units=4, layers=1, value=0.0):
    model = tf.keras.Sequential(
        [tf.keras.Input([3]), *(tf.keras.layers.Dense(units) for _ in range(layers))]
    )
    model.compile(optimizer or LARS(0.1), "mse", run_eagerly=True)
    if value:
        model.set_weights([np.full(w.shape, value, w.dtype) for w in model.get_weights()])
    return model


def variables(model):
    return [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]


@pytest.fixture
def two(tmp_path):
    """Checkpoints of two epochs, whose weights are 1 and 2."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for epoch in (1, 2):
        checkpoints.write(make_model(value=float(epoch)), epoch, {"note": epoch})
    return checkpoints


def restored(checkpoints):
    """(epoch, value of the weights) of what a new model gets."""
    model = make_model()
    state = checkpoints.restore_newest(model)
    return (
        None
        if state is None
        else (state["epochs"], float(model.get_weights()[0][0, 0]), state["note"])
    )


def test_the_newest_is_restored_with_its_state(two):
    assert restored(two) == (2, 2.0, 2)


def test_weights_are_read_without_a_model(two):
    first = two.found()[0]
    for found, wanted in zip(read_weights(first), make_model(value=1.0).get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    with pytest.raises(FileNotFoundError, match="no checkpoint of this epoch.*epoch_00009"):
        read_weights(two.directory / "epoch_00009")
    (first / STATE).write_text("{}")
    with pytest.raises(ValueError, match="epoch_00001 is damaged: state.json was changed"):
        read_weights(first)


FILES = ["variables.index", "variables.data-00000-of-00001", STATE, MANIFEST]


def test_these_are_all_the_files(two):
    assert sorted(path.name for path in two.found()[-1].iterdir()) == sorted(FILES)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [flip, truncate, empty, Path.unlink], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FILES)
def test_damage_to_any_file_falls_back_to_the_one_before(two, name, harm):
    harm(two.found()[-1] / name)
    assert damage(two.found()[-1]) is not None
    assert restored(two) == (1, 1.0, 1)


def test_every_single_flipped_byte_of_the_manifest_is_noticed_or_harmless(two):
    manifest = two.found()[-1] / MANIFEST
    content = manifest.read_bytes()
    for place in range(len(content)):
        manifest.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        path = two.newest_good()
        assert path is not None


def test_an_empty_folder_is_damaged(two):
    shutil.rmtree(two.found()[-1])
    (two.directory / "epoch_00002").mkdir()
    assert restored(two) == (1, 1.0, 1)


def test_no_checkpoint_is_none(tmp_path):
    assert restored(Checkpoints(tmp_path / "nowhere")) is None


def test_all_damaged_is_an_error_and_not_a_fresh_start(two):
    for path in two.found():
        (path / STATE).unlink()
    with pytest.raises(ValueError, match="every checkpoint in .* is damaged"):
        restored(two)


def test_another_optimizer_with_the_same_slots_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    checkpoints.write(model, 1, {})
    model.compile(LARS(0.1), "mse")
    with pytest.raises(ValueError, match="written with SGD, not LARS"):
        checkpoints.restore_newest(model)


def test_other_things_in_the_folder_are_left_alone(two):
    (two.directory / "epoch_notes.txt").write_text("mine")
    (two.directory / "best_epoch_00001").mkdir()
    two.write(make_model(value=3.0), 3, {"note": 3})
    names = sorted(path.name for path in two.directory.iterdir())
    assert names == ["best_epoch_00001", "epoch_00002", "epoch_00003", "epoch_notes.txt"]


def test_order_is_by_number_not_by_name(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for epoch in (99998, 99999, 100000):
        checkpoints.write(make_model(value=float(epoch)), epoch, {"note": 0})
    assert [path.name for path in checkpoints.found()] == ["epoch_99999", "epoch_100000"]
    assert restored(checkpoints)[0] == 100000


def test_an_epoch_written_again_replaces_itself_and_those_after_it(two):
    two.write(make_model(value=7.0), 1, {"note": 7})
    assert restored(two) == (1, 7.0, 7)
    assert [path.name for path in two.directory.iterdir()] == ["epoch_00001"]


# What is in it.


OPTIMIZERS = {
    "LARS": lambda: LARS(0.3),
    "Adam": lambda: tf.keras.optimizers.Adam(0.3, use_ema=True),
    "legacy.Adam": lambda: tf.keras.optimizers.legacy.Adam(0.3),
    "LossScale": lambda: tf.keras.mixed_precision.LossScaleOptimizer(LARS(0.3), initial_scale=64.0),
    "LossScale(legacy)": lambda: tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.legacy.SGD(0.3, momentum=0.9), initial_scale=64.0
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_rate_iterations_and_loss_scale_come_back(name, tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y = np.ones([8, 4], "float32")
    model, other = make_model(OPTIMIZERS[name]()), make_model(OPTIMIZERS[name](), value=5.0)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    inner.learning_rate = 0.07
    if inner is not model.optimizer:
        model.optimizer._loss_scale._current_loss_scale.assign(32.0)
        model.optimizer._loss_scale._counter.assign(5)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(model, 2, {})
    other.optimizer.learning_rate = 9.0
    assert checkpoints.restore_newest(other)["epochs"] == 2
    assert float(other.optimizer.learning_rate) == float(np.float32(0.07))
    assert int(other.optimizer.iterations) == 4
    if inner is not model.optimizer:
        assert float(other.optimizer.loss_scale) == 32.0
        assert int(other.optimizer._loss_scale._counter) == 5
    for each in (model, other):
        each.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "other",
    [
        lambda: make_model(units=5),
        lambda: make_model(layers=2),
        lambda: make_model(LARS(0.1, momentum=0.0)),
        lambda: make_model(tf.keras.optimizers.Adam(0.1)),
        lambda: make_model(tf.keras.mixed_precision.LossScaleOptimizer(LARS(0.1))),
    ],
    ids=["other shapes", "more layers", "fewer slots", "other slots", "loss scale"],
)
def test_a_checkpoint_of_another_model_is_one_clear_error(two, other):
    with pytest.raises(
        ValueError, match=r"epoch_00002 is not of this model and optimizer \(.*\): resume with"
    ):
        two.restore_newest(other())


def test_a_checkpoint_of_a_larger_model_is_refused_too(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(make_model(layers=2), 1, {})
    with pytest.raises(ValueError, match="is not of this model"):
        checkpoints.restore_newest(make_model(layers=1))


def test_wrong_keep_is_named(tmp_path):
    with pytest.raises(ValueError, match="^keep="):
        Checkpoints(tmp_path, keep=0)


def rewritten(path, **changes):
    """Lists files in a manifest as they are now, and as the changes say."""
    there = {p.name: _fingerprint(p) for p in path.iterdir() if p.name != MANIFEST}
    (path / MANIFEST).write_text(json.dumps({**there, **changes}))


def outside(path):
    rewritten(path, **{"../../mine": [4, hashlib.sha256(b"mine").hexdigest()]})
    (path.parents[1] / "mine").write_text("mine")


def only_the_state(path):
    (path / MANIFEST).write_text(json.dumps({STATE: _fingerprint(path / STATE)}))


def a_linked_file(path):
    (path / STATE).rename(path.parents[1] / "state")
    (path / STATE).symlink_to(path.parents[1] / "state")
    rewritten(path)


def nested(path):
    (path / MANIFEST).write_text('{"a":' * 100_000)


def another_file(path):
    (path / "more").touch()


FORGED = [outside, only_the_state, a_linked_file, nested, another_file]


@pytest.mark.parametrize("forge", FORGED, ids=lambda f: f.__name__)
def test_a_forged_manifest_is_damage(two, forge):
    forge(two.found()[-1])
    assert restored(two) == (1, 1.0, 1)


def text(path):
    (path / STATE).write_text("text")


def epochs(path):
    (path / STATE).write_text('{"epochs": "two"}')


def nested_state(path):
    (path / STATE).write_text('{"epochs":' * 5000)


def arrays(path):
    (path / STATE).write_text('{"epochs": 2, "a": {"array_in_npz": "0"}}')
    np.savez_compressed(path / ARRAYS, np.zeros(10**6))


def no_arrays(path):
    (path / ARRAYS).write_text("text")


@pytest.mark.parametrize("forge", [text, epochs, nested_state, arrays, no_arrays])
def test_a_forged_state_is_refused_by_its_name(two, forge):
    """Whoever sends a checkpoint can write a manifest to it."""
    forge(two.found()[-1])
    rewritten(two.found()[-1])
    with pytest.raises(
        ValueError, match=r"epoch_00002/(state.json|arrays.npz) is damaged"
    ) as error:
        restored(two)
    assert "\n" not in str(error.value)


def cut(path):
    os.truncate(path / "variables.data-00000-of-00001", 3)


def garbage(path):
    (path / "variables.index").write_bytes(bytes(range(256)))


@pytest.mark.parametrize("forge", [cut, garbage])
def test_forged_variables_are_refused_by_their_folder(two, forge):
    newest = two.found()[-1]
    forge(newest)
    rewritten(newest)
    for read in (lambda: restored(two), lambda: read_weights(newest)):
        with pytest.raises(ValueError, match="epoch_00002 is ") as error:
            read()
        assert "\n" not in str(error.value)


def test_a_folder_whose_name_is_a_pattern_is_restored(two, tmp_path):
    odd = tmp_path / "run[1] ?*"
    two.directory.rename(odd)
    assert restored(Checkpoints(odd)) == (2, 2.0, 2)
    assert read_weights(odd / "epoch_00001")[0][0, 0] == 1.0
    with pytest.raises(ValueError, match="path='' is empty"):
        Checkpoints("")


def test_the_best_epochs_stay_beside_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for epoch, best in ((1, {1}), (2, {1}), (3, {1}), (4, {1}), (5, {5}), (6, {5}), (7, {5})):
        checkpoints.write(make_model(), epoch, {}, best)
        if epoch == 4:
            assert [path.name[-1] for path in checkpoints.found()] == ["1", "3", "4"]
    assert [path.name[-1] for path in checkpoints.found()] == ["5", "6", "7"]
