"""The private names of Keras are where tflbt expects them, and their loss is not silent."""

from __future__ import annotations

import functools
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import keras_internals

K = tf.keras


@pytest.fixture
def unchecked():
    """The check of Keras's generators as in a new process."""
    keras_internals._require_generators_where_they_were.cache_clear()
    yield
    keras_internals._require_generators_where_they_were.cache_clear()


def test_generators_are_found_and_the_check_leaves_no_trace(unchecked):
    K.utils.set_random_seed(1)
    expected = tf.random.uniform([3]).numpy()
    K.utils.set_random_seed(1)
    K.backend.clear_session()
    layer = K.layers.GaussianNoise(0.1, force_generator=True)
    model = K.Sequential([K.Input([2]), K.layers.Dropout(0.5, force_generator=True), layer])
    assert len(keras_internals.random_generators(model)) == 2
    assert [part.name for part in model.layers] == ["dropout", "gaussian_noise"]
    np.testing.assert_array_equal(tf.random.uniform([3]), expected)


def test_generators_that_dropout_no_longer_draws_from_are_refused(unchecked, monkeypatch):
    monkeypatch.setattr(K.layers.Dropout, "call", lambda self, inputs, training=None: inputs)
    with pytest.raises(RuntimeError, match="does not draw from Dropout._random_generator"):
        keras_internals.random_generators(K.Sequential([K.Input([2]), K.layers.Dense(1)]))


def test_generators_that_moved_are_refused(unchecked, monkeypatch):
    monkeypatch.setattr(K.layers.Dropout, "build", lambda self, shape: None)
    monkeypatch.setattr(keras_internals, "_generator_of", lambda layer: None)
    with pytest.raises(RuntimeError, match="would not go on exactly: use TensorFlow 2.15"):
        keras_internals.random_generators(K.Sequential([K.Input([2]), K.layers.Dense(1)]))


def test_logs_stay_tensors_unless_a_callback_needs_numbers(samples, network):
    seen = []

    class Plain(K.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(type(logs["loss"]))

    class Ours(keras_internals.TensorLogs, Plain):
        pass

    model = network()
    model.compile("sgd", "mse")
    for callbacks in ([Ours()], [Ours(), Plain()]):
        model.fit(*samples, batch_size=30, verbose=0, callbacks=callbacks)
    assert issubclass(seen[0], tf.Tensor)
    assert seen[1:] == [float, float]


@pytest.mark.parametrize(
    "optimizer", [K.optimizers.SGD(0.5), K.optimizers.legacy.SGD(0.5), K.optimizers.Adam(0.5)]
)
def test_the_learning_rate_is_among_the_variables_of_settings(optimizer):
    keras_internals.create_slots(optimizer, []) if hasattr(optimizer, "_hyper") else None
    values = [float(v) for v in keras_internals.hyperparameter_variables(optimizer)]
    assert 0.5 in values
    assert float(keras_internals.learning_rate_argument(optimizer)) == 0.5


@pytest.mark.parametrize("package", [K.optimizers, K.optimizers.legacy])
def test_a_schedule_is_the_learning_rate_argument(package):
    schedule = K.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    assert keras_internals.learning_rate_argument(package.SGD(schedule)) is schedule


def test_the_scale_of_losses():
    wrap = K.mixed_precision.LossScaleOptimizer
    assert len(keras_internals.loss_scale_variables(wrap(K.optimizers.SGD()))) == 2
    fixed = wrap(K.optimizers.SGD(), dynamic=False, initial_scale=8)
    assert keras_internals.loss_scale_variables(fixed) == []


LAST_LAYERS = {
    "a number": K.layers.Dense(1),
    "classes": K.layers.Dense(3, "softmax"),
    "random": K.layers.Dropout(0.5),
    "not Keras's": type("Own", (K.layers.Dense,), {})(1),
}


@pytest.mark.parametrize(
    ("last", "loss", "metrics", "untraced"),
    [
        ("a number", "mse", ["mae", K.metrics.RootMeanSquaredError(name="rmse")], True),
        ("classes", "sparse_categorical_crossentropy", ["accuracy"], True),
        ("random", "mse", None, True),
        ("not Keras's", "mse", ["mae"], False),
        ("a number", "mse", [K.metrics.AUC(multi_label=True, num_thresholds=3)], False),
        ("a number", "mse", [type("Own", (K.metrics.Mean,), {})()], False),
    ],
    ids=["numbers", "classes", "random", "own layer", "late states", "own metric"],
)
def test_what_is_built_without_a_trace_is_what_a_batch_builds(last, loss, metrics, untraced):
    """Names and shapes of all metrics, in their order."""
    inputs = K.Input([4])
    outputs = LAST_LAYERS[last](inputs)
    y = tf.zeros([2] if last == "classes" else [2, outputs.shape[-1]])
    models = [K.Model(inputs, outputs), K.Model(inputs, outputs)]
    for model in models:
        metrics = metrics and [
            m if isinstance(m, str) else type(m).from_config(m.get_config()) for m in metrics
        ]
        model.compile("sgd", loss, metrics, weighted_metrics=["mse"])
    built, trained = models
    spec = tf.TensorSpec([None, *y.shape[1:]])
    assert keras_internals.built_untraced(built, spec) == untraced
    assert not keras_internals.built_untraced(built, None)
    if untraced:
        trained.train_on_batch(tf.zeros([2, 4]), y)
        assert states(built) == states(trained)


def states(model):
    return [(m.name, [(v.name, tuple(v.shape)) for v in m.weights]) for m in model.metrics]


class Blocks(K.Model):
    """Layers in a list, in a dictionary, in a layer, and perhaps in a module of TensorFlow."""

    def __init__(self, with_module=False):
        super().__init__()
        self.listed = [K.layers.Dense(1)]
        self.named = {"first": K.layers.Dropout(0.1)}
        self.inner = K.Sequential([K.layers.Dense(2)])
        if with_module:
            self.module = tf.Module()
            self.module.layer = K.layers.Dense(3)


def add_to_the_list(model):
    model.listed.append(K.layers.Dense(4))


def replace_in_the_dictionary(model):
    model.named["first"] = K.layers.Dropout(0.2)


def add_to_the_inner_model(model):
    model.inner.add(K.layers.Dense(5))


def replace_in_the_module(model):
    model.module.layer = K.layers.Dense(6)


def take_the_module_away(model):
    del model.module


CHANGES = [add_to_the_list, replace_in_the_dictionary, add_to_the_inner_model]
CHANGES_OF_THE_MODULE = [replace_in_the_module, take_the_module_away]


@pytest.mark.parametrize(
    ("change", "with_module"),
    [
        *((change, False) for change in CHANGES),
        *((change, True) for change in (*CHANGES, *CHANGES_OF_THE_MODULE)),
    ],
)
def test_the_parts_of_a_model_are_those_that_it_has_now(change, with_module):
    model = Blocks(with_module)
    for turn in range(2):
        for _ in range(2):
            assert list(map(id, keras_internals.parts(model))) == list(map(id, model.submodules))
        if not turn:
            change(model)


def test_a_model_is_not_kept_by_what_is_known_of_its_parts():
    model = Blocks()
    model.inner.owner = functools.partial(type, model)  # a part knows its model
    keras_internals.parts(model)
    known = weakref.ref(model)
    del model
    gc.collect()
    assert known() is None
