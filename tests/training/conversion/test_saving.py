"""A model saved as Keras saves it, loaded by Keras, predicts the same and takes the same next step."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LARS
from tflbt.training import LargeBatchModel

K = tf.keras
FUNCTIONAL = f"{K.Model.__module__.split('.')[0]}.src.engine.functional"  # of keras or tf_keras


class Sub(LargeBatchModel):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units, self.hidden, self.top = units, K.layers.Dense(8), K.layers.Dense(units)

    def call(self, inputs):
        return self.top(self.hidden(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Given(LargeBatchModel):
    def __init__(self, **kwargs):
        inputs = K.Input([5])
        super().__init__(inputs, K.layers.Dense(2)(inputs), **kwargs)


def step(model, samples):
    """Another epoch of two updates."""
    model.fit(*samples, batch_size=16, sub_batch_size=4, shuffle=False, verbose=0)
    return [*model.get_weights(), np.array(model.optimizer.iterations)]


def trained(network, samples, optimizer):
    model = LargeBatchModel.from_model(network())
    model.compile(optimizer, "mse", ["mae"])
    model.fit(*samples, batch_size=16, sub_batch_size=4, epochs=2, verbose=0)
    return model


OPTIMIZERS = {
    "sgd": lambda: K.optimizers.SGD(0.1),
    "adam": lambda: K.optimizers.Adam(0.01),
    "lars": lambda: LARS(0.5, trust_coefficient=0.01, weight_decay=1e-4),
}


@pytest.mark.parametrize(
    ("optimizer", "file"),
    # Keras starts any optimizer anew from a SavedModel, so there only one without state takes the same step.
    [("adam", "model.keras"), ("sgd", "model"), ("adam", "model.h5"), ("lars", "model.keras")],
)
def test_a_loaded_model_goes_on_from_where_it_was(
    optimizer, file, tmp_path, network, samples, same
):
    model = trained(network, samples, OPTIMIZERS[optimizer]())
    model.save(tmp_path / file)
    loaded = K.models.load_model(tmp_path / file)
    if file == "model.h5":  # such files have no room for a second name
        optimizer, loaded = loaded.optimizer, LargeBatchModel.from_model(loaded)
        loaded.compile(optimizer, "mse", ["mae"])
    assert isinstance(loaded, LargeBatchModel)
    same([loaded.predict(samples[0], verbose=0)], [model.predict(samples[0], verbose=0)], atol=0)
    losses = [each.evaluate(*samples, batch_size=8, verbose=0) for each in (loaded, model)]
    assert losses[0] == losses[1]
    if file == "model":
        loaded.optimizer.iterations.assign(4)
    same(step(loaded, samples), step(model, samples), atol=0)


@pytest.mark.parametrize("kind", [Sub, Given])
def test_subclasses(kind, tmp_path, samples, same):
    model = kind()
    model.compile(K.optimizers.Adam(0.01), "mse")
    model.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = K.models.load_model(tmp_path / "model.keras", custom_objects={kind.__name__: kind})
    assert type(loaded).__name__ == kind.__name__ and isinstance(loaded, kind)
    same(step(loaded, samples), step(model, samples), atol=0)
    model.save_weights(tmp_path / "weights.h5")
    other = kind()
    other(samples[0])
    other.load_weights(tmp_path / "weights.h5")
    same(other.get_weights(), model.get_weights(), atol=0)


def test_weights_fit_the_plain_model_and_checkpoints_hold_the_optimizer(
    tmp_path, network, samples, same
):
    model = trained(network, samples, K.optimizers.Adam(0.01))
    model.save_weights(tmp_path / "weights.h5")
    plain = network()
    plain.load_weights(tmp_path / "weights.h5")
    same(plain.get_weights(), model.get_weights(), atol=0)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(tmp_path / "checkpoint")
    other = LargeBatchModel.from_model(network())
    other.compile(K.optimizers.Adam(0.01), "mse")
    tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    same(step(other, samples), step(model, samples), atol=0)


def test_after_mixed_precision_the_loss_scale_is_kept(tmp_path, network, samples):
    optimizer = K.mixed_precision.LossScaleOptimizer(K.optimizers.SGD(0.1), initial_scale=64.0)
    model = trained(network, samples, optimizer)
    model.save(tmp_path / "model.keras")
    loaded = K.models.load_model(tmp_path / "model.keras")
    assert float(loaded.optimizer.loss_scale) == 64.0 and int(loaded.optimizer.iterations) == 4


def several_kinds(network):
    """Models with what may be lost on the way: statistics, two outputs, an added loss, an optimizer's slots."""

    def body():
        inputs = K.Input([5])
        return inputs, K.layers.BatchNormalization()(K.layers.Dense(4, "tanh")(inputs))

    inputs, hidden = body()
    yield "norm_adam", LargeBatchModel(inputs, K.layers.Dense(2)(hidden)), K.optimizers.Adam(0.01)
    inputs, hidden = body()
    two = [K.layers.Dense(2, name="a")(hidden), K.layers.Dense(2, name="b")(hidden)]
    yield "two_outputs", LargeBatchModel(inputs, two), K.optimizers.SGD(0.1, momentum=0.9)
    inputs, hidden = body()
    added = LargeBatchModel(inputs, K.layers.Dense(2)(hidden))
    added.add_loss(tf.reduce_mean(hidden**2))
    yield "added_loss", added, K.optimizers.SGD(0.1)
    inner = LargeBatchModel.from_model(network())
    inputs = K.Input([5])
    yield "nested", LargeBatchModel(inputs, K.layers.Dense(2)(inner(inputs))), "sgd"
    yield "lars", LargeBatchModel.from_model(network()), OPTIMIZERS["lars"]()


def test_plain_keras_opens_the_files_where_there_is_no_tflbt(tmp_path, network, samples, same):
    """Also under the names by which other functions of Keras save; training goes on as it does here."""
    x, y = samples
    np.savez(tmp_path / "samples.npz", x=x, y=y)
    models = {}
    for name, model, optimizer in several_kinds(network):
        K.utils.set_random_seed(2)
        model.compile(optimizer, "mse")
        targets = [y] * len(model.outputs) if len(model.outputs) > 1 else y
        model.fit(x, targets, batch_size=16, sub_batch_size=8, verbose=0)
        model.save(tmp_path / f"{name}.keras")
        if name != "nested":  # HDF5 has the registered names of inner models alone
            K.models.save_model(model, tmp_path / f"{name}.h5")
        models[name] = model, targets
    model.save(tmp_path / "lars_saved_model")
    program = Path(__file__).with_name("opened_by_keras.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, (model, targets) in models.items():
        before = model.predict(x, verbose=0)
        loss = model.evaluate(x, targets, batch_size=len(x), verbose=0)
        model.fit(x, targets, batch_size=len(x), shuffle=False, verbose=0)
        for path in tmp_path.glob(f"{name}*.npz"):
            with np.load(path) as found:
                assert f"'{FUNCTIONAL}.Functional'" in str(found["class"]), path
                same([found["outputs"]], [np.asarray(before)], atol=0)
                if "loss" in found:
                    same([found["loss"]], [np.asarray(loss)])
                    weights = [found[f"weight{i}"] for i in range(len(model.weights))]
                    same(weights, model.get_weights())
    assert len([*tmp_path.glob("*.npz")]) == 2 * 5 + 1


def test_an_older_file_loads_as_it_did(tmp_path, network, samples, same):
    """It names the class `FunctionalLargeBatchModel` of tflbt's module."""
    model = trained(network, samples, K.optimizers.Adam(0.01))
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                assert (config["class_name"], config["module"]) == ("Functional", FUNCTIONAL)
                config["class_name"] = "FunctionalLargeBatchModel"
                config["module"] = "tflbt.training.large_batch_model"
                content = json.dumps(config)
            old.writestr(name, content)
    loaded = K.models.load_model(tmp_path / "old.keras")
    assert isinstance(loaded, LargeBatchModel)
    same(step(loaded, samples), step(model, samples), atol=0)
    config = json.loads(model.to_json())
    assert config["class_name"] == "Functional"
    config["class_name"] = "FunctionalLargeBatchModel"  # as an older HDF5 file has it
    assert isinstance(K.models.model_from_json(json.dumps(config)), LargeBatchModel)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_go_on_from_where_it_was(copied, network, samples, same):
    model = trained(network, samples, K.optimizers.Adam(0.01))
    other = copied(model)
    assert isinstance(other, LargeBatchModel)
    same(step(other, samples), step(model, samples), atol=0)


def test_a_plain_model_shares_weights_and_compilation(network, samples, same):
    x, y = samples
    model = trained(network, samples, K.optimizers.Adam(0.01))
    plain = model.to_keras()
    assert not isinstance(plain, LargeBatchModel) and plain.optimizer is model.optimizer
    assert all(a is b for a, b in zip(plain.weights, model.weights))
    twin = copy.deepcopy(model)
    plain.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)
    twin.fit(x, y, batch_size=len(x), sub_batch_size=15, shuffle=False, verbose=0)
    same(plain.get_weights(), twin.get_weights())
    assert plain.metrics_names == twin.metrics_names
    assert isinstance(LargeBatchModel.from_model(plain), LargeBatchModel)
    added = dict((name, each) for name, each, _ in several_kinds(network))["added_loss"]
    assert len(added.to_keras().losses) == 1


def test_a_plain_model_of_a_subclass():
    class Own(Given):
        def compute_loss(self, *args, **kwargs):
            return 0.0

    assert Given().to_keras().count_params() == 12
    with pytest.raises(ValueError, match="^Own overrides compute_loss"):
        Own().to_keras()
    with pytest.raises(ValueError, match="^Sub has a call of its own"):
        Sub().to_keras()


def test_a_clone_is_one_too(network, samples):
    clone = K.models.clone_model(LargeBatchModel.from_model(network()))
    assert isinstance(clone, LargeBatchModel)
    assert clone.count_params() == network().count_params()
    clone = LargeBatchModel.from_model(clone)
    clone.compile("sgd", "mse")
    clone.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0)
