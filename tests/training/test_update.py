"""k sub-batches make the update that one large batch makes in plain Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LARS
from tflbt.training import LargeBatchModel

K = tf.keras
OPTIMIZERS = {
    "sgd": lambda: K.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: K.optimizers.Adam(0.01),
    "lars": lambda: LARS(0.5, momentum=0.9, weight_decay=1e-3, trust_coefficient=0.01),
    "schedule": lambda: K.optimizers.Adam(K.optimizers.schedules.ExponentialDecay(0.05, 1, 0.5)),
    "clip": lambda: K.optimizers.SGD(0.5, global_clipnorm=0.05),
    "ema": lambda: K.optimizers.SGD(
        0.1, weight_decay=0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3
    ),
    "legacy": lambda: K.optimizers.legacy.Adam(0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sub_batches_equal_one_batch_partial_tail_included(name, samples, network, against_keras):
    ours, plain = against_keras(
        network, lambda: {"optimizer": OPTIMIZERS[name](), "loss": "mse"}, *samples
    )
    assert int(ours.optimizer.iterations) == int(plain.optimizer.iterations) == 4
    assert ours.samples_seen == 60


# Keras itself fails on both at once.
@pytest.mark.parametrize("weights", ["sample_weight", "class_weight"])
def test_weights_and_metrics_are_exact(weights, samples, labels, network, against_keras):
    values = {"sample_weight": np.linspace(0, 1, 30), "class_weight": {0: 0.3, 1: 2.0}}
    against_keras(
        lambda: network(1, "sigmoid"),
        lambda: {
            "optimizer": K.optimizers.SGD(0.1),
            "loss": "binary_crossentropy",
            "metrics": ["accuracy", K.metrics.AUC(name="auc"), K.metrics.Recall(name="recall")],
            "weighted_metrics": [K.metrics.BinaryAccuracy(name="w"), K.metrics.AUC(name="area")],
        },
        samples[0],
        labels,
        **{weights: values[weights]},
        validation_split=0.3,
    )


@pytest.mark.parametrize("shape", [(30,), (30, 1)])
def test_label_shapes(shape, samples, labels, network, against_keras):
    def compiled():
        return {
            "optimizer": "sgd",
            "loss": "sparse_categorical_crossentropy",
            "metrics": ["accuracy"],
        }

    against_keras(
        lambda: network(3, "softmax"), compiled, samples[0], labels.reshape(shape), epochs=1
    )


def test_a_regulariser_counts_once(samples, network, against_keras):
    def build():
        return network(kernel_regularizer=K.regularizers.L2(0.5))

    against_keras(build, lambda: {"optimizer": K.optimizers.SGD(0.1), "loss": "mse"}, *samples)


def embedding():
    K.utils.set_random_seed(1)
    words = K.Input([3], dtype="int32")
    frozen = K.layers.Dense(4, trainable=False)
    unused = K.layers.Dense(4)
    features = frozen(K.layers.Flatten()(K.layers.Embedding(7, 4)(words)))
    unused.build([None, 4])
    model = K.Model(words, K.layers.Dense(1)(features))
    model.unused = unused  # its gradients are None
    return model


def test_sparse_none_and_frozen_gradients(same):
    x = np.random.default_rng(0).integers(0, 7, (16, 3))
    y = x.sum(1, keepdims=True).astype("float32")
    plain, ours = embedding(), embedding()

    class Holder(LargeBatchModel):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def call(self, inputs):
            return self.model(inputs)

    ours = Holder(ours)
    for model, more in ((plain, {}), (ours, {"sub_batch_size": 4})):
        # A weight without a gradient does not decay either: a zero would not do.
        eager = model is plain  # it need not be traced
        model.compile(K.optimizers.AdamW(0.01, weight_decay=0.5), "mse", run_eagerly=eager)
        model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0, **more)
    assert len(ours.trainable_variables) == 5
    same(ours.get_weights(), plain.get_weights())


@pytest.mark.parametrize("how", ["run_eagerly", "jit_compile"])
def test_eager_and_compiled(how, samples, network, against_keras):
    x, y = samples
    metrics = ["mae"]
    against_keras(
        network,
        lambda: {
            "optimizer": K.optimizers.Adam(0.01),
            "loss": "mse",
            "metrics": metrics,
            how: True,
        },
        x,
        y,
        validation_data=(x[:7], y[:7]),
    )


def test_xla_compiles_once_for_each_shape_of_a_sub_batch_as_the_batch_grows(tmp_path):
    program = Path(__file__).with_name("growing_under_xla.py")
    flags = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4", "8", "16", str(5 + 3 + 2)]
    # Sub-batches of 4 samples and of 2, in training and in evaluation.
    assert len(list(tmp_path.glob("module_*.before_optimizations.txt"))) == 4


def test_any_shape_of_inputs_outputs_and_losses(samples, against_keras):
    x, y = samples

    def build():
        K.utils.set_random_seed(1)
        a, b = K.Input([2], name="a"), K.Input([3], name="b")
        joint = K.layers.Concatenate()([K.layers.Dense(4)(a), K.layers.Dense(4)(b)])
        heads = {"p": K.layers.Dense(1, name="p")(joint), "q": K.layers.Dense(1, name="q")(joint)}
        return K.Model({"a": a, "b": b}, heads)

    def compiled():
        return {
            "optimizer": K.optimizers.SGD(0.05),
            "loss": {"p": "mse", "q": "mae"},
            "loss_weights": {"p": 0.3, "q": 2.0},
            "metrics": {"p": ["mae"], "q": [K.metrics.RootMeanSquaredError()]},
        }

    inputs, targets = {"a": x[:, :2], "b": x[:, 2:]}, {"p": y[:, :1], "q": y[:, 1:]}
    weights = {"p": np.linspace(0, 1, 30), "q": np.ones(30)}
    against_keras(build, compiled, inputs, targets, sample_weight=weights)


def test_list_inputs_and_outputs(samples, against_keras):
    x, y = samples

    def build():
        K.utils.set_random_seed(1)
        a, b = K.Input([2]), K.Input([3])
        joint = K.layers.Add()([K.layers.Dense(4)(a), K.layers.Dense(4)(b)])
        return K.Model([a, b], [K.layers.Dense(1, name=name)(joint) for name in "pq"])

    against_keras(
        build,
        lambda: {"optimizer": "sgd", "loss": ["mse", "mae"], "loss_weights": [1, 0.5]},
        [x[:, :2], x[:, 2:]],
        [y[:, :1], y[:, 1:]],
    )


@pytest.fixture
def policy():
    yield K.mixed_precision.set_global_policy
    K.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(name, policy, samples, network, against_keras):
    policy(name)
    ours, plain = against_keras(
        lambda: network(dtype="float32"),
        lambda: {"optimizer": K.optimizers.SGD(0.1, momentum=0.9), "loss": "mse"},
        *samples,
        atol=2e-3,  # the rounding of the activations' gradients, in sums of 4 rather than 16
    )
    scaled = isinstance(ours.optimizer, K.mixed_precision.LossScaleOptimizer)
    assert scaled == (name == "mixed_float16")
    assert int(ours.optimizer.iterations) == int(plain.optimizer.iterations) == 4


@pytest.mark.parametrize("dynamic", [False, True])
def test_float16_scales_data_sets_by_their_real_batch(dynamic, policy, network):
    """Counted as sub-batches of one sample, the scaled loss would be 96 times too large and overflow."""
    x = np.random.default_rng(0).standard_normal((192, 5)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :2])).batch(96)  # of no static size
    scale, updates = 2.0**15 if dynamic else 2.0**13, 4
    policy("mixed_float16")
    models = network(dtype="float32"), LargeBatchModel.from_model(network(dtype="float32"))
    for model in models:
        optimizer = K.mixed_precision.LossScaleOptimizer(K.optimizers.SGD(0.1), dynamic, scale)
        model.compile(optimizer, "mse", run_eagerly=model is models[0])
        model.fit(data, epochs=updates // 2, verbose=0)
        assert float(optimizer.loss_scale) == scale
        assert int(optimizer.iterations) == updates
    plain, ours = (model.get_weights() for model in models)
    assert models[1].batch_size == 96
    for found, wanted in zip(ours, plain):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3)
    assert not np.array_equal(ours[0], network(dtype="float32").get_weights()[0])


def test_an_overflow_in_one_sub_batch_skips_the_whole_update_once(policy, samples, network):
    policy("mixed_float16")
    x, y = samples[0][:16].copy(), samples[1][:16]
    x[5, 0] = np.inf  # in the second of four sub-batches
    model = LargeBatchModel.from_model(network(dtype="float32"))
    model.compile(K.optimizers.SGD(0.1, momentum=0.9), "mse")
    before, scale = model.get_weights(), float(model.optimizer.loss_scale)
    model.fit(x, y, batch_size=16, sub_batch_size=4, shuffle=False, verbose=0)
    for after, expected in zip(model.get_weights(), before):
        np.testing.assert_array_equal(after, expected)
    assert float(model.optimizer.loss_scale) == scale / 2
    # Keras counts what it skips; here once, not each sub-batch.
    assert int(model.optimizer.iterations) == 1
    model.fit(*samples, batch_size=16, sub_batch_size=4, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 3
    assert np.isfinite(model.get_weights()[0]).all()


def test_evaluate_and_batch_methods_are_keras_ones(samples, network, same):
    x, y = samples
    plain, ours = network(), LargeBatchModel.from_model(network())
    same([ours.predict(x, verbose=0)], [plain.predict(x, verbose=0)])  # not compiled
    for model in (plain, ours):
        metrics = ["mae", K.metrics.RootMeanSquaredError()]
        model.compile(K.optimizers.SGD(0.1), "mse", metrics, run_eagerly=model is plain)
    assert np.allclose(ours.evaluate(x, y, verbose=0), plain.evaluate(x, y, verbose=0), atol=1e-6)
    assert ours.predict(x, batch_size=7, verbose=0).shape == (30, 2)

    class Predict(K.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            # Keras's predict function, made before for single steps, would now leave nine tenths
            # out; made now, it would ask for ten batches.
            assert len(self.model.predict(x, batch_size=3, verbose=0)) == 30
            self.model.make_predict_function(force=True)
            by_parts = self.model.predict(x, batch_size=3, verbose=0)
            same([by_parts, self.model.predict_on_batch(x)], [self.model(x)] * 2)
            assert self.model.evaluate(x, y, batch_size=3, verbose=0)[0] > 0
            assert int(self.model.sub_batches_variable) == 10

    ours.fit(x, y, batch_size=30, sub_batch_size=3, epochs=2, verbose=0, callbacks=Predict())
    assert int(ours.optimizer.iterations) == 2
    plain.set_weights(ours.get_weights())
    weight = np.linspace(0, 1, 30)
    found = ours.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True)
    wanted = plain.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True)
    same(list(found.values()), list(wanted.values()))
    same([ours.predict(x, batch_size=7, verbose=0)], [plain.predict(x, verbose=0)])
    same([ours.predict_on_batch(x)], [plain.predict_on_batch(x)])
    same(ours.test_on_batch(x, y), plain.test_on_batch(x, y))
    ours.optimizer.iterations.assign(0)
    same(ours.train_on_batch(x, y), plain.train_on_batch(x, y))
    same(ours.get_weights(), plain.get_weights())
    assert ours.batch_size == 30 and ours.batch_plan.sub_batches == 10
