"""What ranks hold is the chief's from the start and stays equal; only the chief prints and writes."""

from __future__ import annotations

import re
import time

import horovod.tensorflow.keras as hvd
import numpy as np
import pytest
import tensorflow as tf

from tests.ranks.twins import USUAL, K, X, Y, close, identical_on_ranks, large, network, plain
from tflbt import LargeBatchModel
from tflbt.callbacks import Checkpoint
from tflbt.distributed import comm


def test_weights_rates_and_slots_that_differ_become_the_chiefs(rank):
    optimizer = K.optimizers.Adam(0.01 * (1 + rank))
    trained, _ = large(optimizer, network(seed=1 + rank))
    wanted, _ = plain(K.optimizers.Adam(0.01))
    close(trained.get_weights(), wanted.get_weights())
    close([float(optimizer.learning_rate)], [0.01], 1e-9)
    identical_on_ranks([v.numpy() for v in optimizer.variables], "slots")
    optimizer.variables[1].assign_add(tf.ones_like(optimizer.variables[1]) * rank)
    trained.fit(X, Y, **USUAL)
    identical_on_ranks(
        [*trained.get_weights(), *(v.numpy() for v in optimizer.variables)], "slots again"
    )


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_overflow_on_one_rank_skips_the_update_on_all(wrapped, rank):
    """All halve the scale once, and stay equal to the last bit."""
    K.mixed_precision.set_global_policy("mixed_float16")
    inner = K.optimizers.SGD(0.1, momentum=0.9)
    inner = hvd.DistributedOptimizer(inner) if wrapped else inner
    scaled = K.mixed_precision.LossScaleOptimizer(inner, initial_scale=1024.0 * (1 + rank))
    bad = X[:16].copy()
    bad[2, 0] = np.inf  # update 1, sub-batch 1: rank 1
    model, _ = large(scaled, data=(bad, Y[:16]), epochs=1)
    close(model.get_weights(), network().get_weights(), 0)
    assert float(scaled.loss_scale) == 512.0 and int(scaled.iterations) == 1
    model.fit(X, Y, **USUAL)
    assert float(scaled.loss_scale) == 512.0 and int(scaled.iterations) == 7
    assert not np.allclose(model.get_weights()[0], network().get_weights()[0], atol=1e-4)
    identical_on_ranks(model.get_weights(), "after an overflow")


class Grow(K.callbacks.Callback):
    """Changes the batch size, on every rank."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.batch_size = 8 if epoch else 12


def test_only_the_chief_prints_and_writes_and_all_take_its_decisions(rank, shared_folder, capfd):
    callbacks = [
        Grow(),
        K.callbacks.ModelCheckpoint(
            "best.h5", save_best_only=True, save_weights_only=True, monitor="loss"
        ),
        K.callbacks.CSVLogger("log.csv"),
        K.callbacks.TensorBoard("tensorboard"),
        K.callbacks.EarlyStopping("loss", min_delta=10.0, patience=2),
    ]
    optimizer = hvd.DistributedOptimizer(K.optimizers.Adam(0.01))
    model, history = large(optimizer, epochs=9, verbose=2, callbacks=callbacks)
    model.evaluate(X, Y, verbose=2)
    lines = capfd.readouterr().out.splitlines()
    printed = [line for line in lines if re.search(r"Epoch \d|loss: ", line)]
    assert len(printed) == (0 if rank else 3 + 3 + 1), printed
    assert len(history["loss"]) == 3 and int(optimizer.iterations) == 2 + 3 + 4
    identical_on_ranks(model.get_weights(), "grown")
    comm.gather_objects(None, "the chief has written")
    assert len((shared_folder / "log.csv").read_text().splitlines()) == 4
    assert len(list((shared_folder / "tensorboard/train").glob("*.v2"))) == 1

    # A wrapped optimizer leaves an ordinary model behind: saved, loaded by Keras, the same next step.
    path = f"model_{rank}.keras"
    model.save(path)
    loaded = K.models.load_model(path)
    for each in (model, loaded):
        each.fit(X, Y, **USUAL)
    close(loaded.get_weights(), model.get_weights(), 0)
    identical_on_ranks(loaded.get_weights(), "loaded")


class Last(K.callbacks.ModelCheckpoint):
    """Takes its time to write a last file."""

    def on_train_end(self, logs=None):
        time.sleep(0.3)
        self.model.save("last.keras")


def test_the_chiefs_last_file_is_there_when_fit_returns(rank, shared_folder):
    listed = K.callbacks.CallbackList([Last("each.h5"), K.callbacks.History()], model=network())
    model, _ = large(K.optimizers.SGD(0.1))
    listed.set_model(model)
    for callbacks in ([Last("each.h5")], listed):
        model.fit(X, Y, **{**USUAL, "callbacks": callbacks})
        last = K.models.load_model("last.keras")
        close(last.get_weights(), model.get_weights(), 0)
        comm.gather_objects(None, "both have read it")
        if rank == 0:
            (shared_folder / "last.keras").unlink()
        comm.gather_objects(None, "it is gone")
    assert any(isinstance(each, Last) for each in listed.callbacks) == (rank == 0)
    with pytest.raises(ValueError, match="^BackupAndRestore would write the same files"):
        model.fit(X, Y, **{**USUAL, "callbacks": [K.callbacks.BackupAndRestore("backup")]})


def test_early_stopping_and_plateaus_resume(rank, shared_folder):
    """Interrupted and resumed equals uninterrupted, bit for bit, also beside a callback of the chief's alone."""

    def run(folder, ends, seed):
        rates = []
        for end in ends:
            optimizer = K.optimizers.SGD(0.05, momentum=0.9)
            model = LargeBatchModel.from_model(network(seed=seed))
            model.compile(optimizer, "mse")
            stop = K.callbacks.EarlyStopping(
                "loss", patience=5, min_delta=10.0, restore_best_weights=True
            )
            plateau = K.callbacks.ReduceLROnPlateau("loss", patience=2, min_delta=10.0, factor=0.5)
            best = K.callbacks.ModelCheckpoint(f"{folder}.h5", "loss", save_best_only=True)
            chiefs = [best] if rank == 0 else []
            checkpoint = Checkpoint(folder)
            begin = checkpoint.resume(model)
            options = {**USUAL, "epochs": end, "initial_epoch": begin}
            callbacks = [*chiefs, stop, plateau, checkpoint]
            rates += model.fit(X, Y, **options, callbacks=callbacks).history.get("lr", [])
        return rates, model.get_weights(), stop, plateau

    rates, weights, stop, plateau = run("whole", [9], 1)
    assert len(rates) == 6 and len(set(rates)) > 1
    again, resumed, stop_again, plateau_again = run("cut", [4, 9, 9], 1)
    assert again == rates
    close(resumed, weights, 0)
    identical_on_ranks(resumed, "resumed")
    for a, b in zip((stop, plateau), (stop_again, plateau_again)):
        assert (a.wait, a.best) == (b.wait, b.best)


def test_dropout_resumes_on_ranks_and_differs_between_them(generators):
    def noisy():
        K.utils.set_random_seed(1)
        inputs = K.Input([5])
        return K.Model(inputs, K.layers.Dense(2)(K.layers.Dropout(0.5)(inputs)))

    through, _ = large(K.optimizers.SGD(0.1), noisy(), epochs=4)
    first, _ = large(K.optimizers.SGD(0.1), noisy(), epochs=2)
    resumed, _ = large(
        K.optimizers.SGD(0.1), K.models.clone_model(first), epochs=2
    )  # other weights
    resumed.set_weights(first.get_weights())
    resumed.fit(X, Y, **{**USUAL, "initial_epoch": 2, "epochs": 4})
    close(resumed.get_weights(), through.get_weights(), 0)
    states = [
        layer._random_generator._generator.state.numpy()[0]
        for layer in resumed.layers
        if "dropout" in layer.name
    ]
    here, there = (int(states[0]) for states in comm.gather_objects(states, "test.states"))
    assert abs(here - there) > 1e6, "ranks drop alike"  # what they drew since moves it a little


class Keeps(K.layers.Layer):
    """Keeps a moving average, a count of its calls and a constant."""

    def build(self, shape):
        self.centre = self.add_weight("centre", shape[-1:], initializer="zeros", trainable=False)
        self.calls = self.add_weight("calls", dtype="int64", initializer="zeros", trainable=False)
        self.table = self.add_weight("table", [97], trainable=False)

    def call(self, inputs, training=None):
        if training:
            self.centre.assign(0.9 * self.centre + 0.1 * tf.reduce_mean(inputs, 0))
            self.calls.assign_add(1)
        return inputs - self.centre


def test_what_layers_keep_is_averaged_and_what_has_no_mean_is_named(rank, caplog):
    inputs = K.Input([5])
    layer = Keeps()
    model = K.Model(inputs, K.layers.Dense(2)(layer(inputs)))
    table = layer.table.numpy()
    last = tf.Variable(tf.zeros([5]))

    class Watch(K.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            last.assign(layer.centre)

    # 15 sub-batches of 2: rank 0 has the last.
    with caplog.at_level("WARNING", logger="absl"):
        trained, history = large(
            K.optimizers.SGD(0.1), model, callbacks=[Watch()], epochs=2, validation_data=(X, Y)
        )
    before = np.stack(comm.gather_objects(last.numpy(), "test.centres"))
    assert not np.allclose(before[0], before[1])
    close([layer.centre.numpy()], [before.mean(0)], 1e-7)
    identical_on_ranks(trained.get_weights(), "layer states")
    assert np.array_equal(layer.table.numpy(), table) and layer.calls.numpy() == 2 * 8
    assert caplog.text.count("calls:0, which a layer counts") == rank
    twin = K.models.clone_model(model)
    twin.set_weights(model.get_weights())
    twin.compile("sgd", "mse", ["mae"])
    close([history["val_loss"][-1], history["val_mae"][-1]], twin.evaluate(X, Y, verbose=0))
