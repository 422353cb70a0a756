"""Whatever `fit` takes as data is seen whole, in the order and the updates that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import forms
from tflbt.data.sharding import epoch_order
from tflbt.distributed.comm import EVERYONE
from tflbt.training import LargeBatchModel
from tflbt.training.sources.whole_arrays import from_arrays

K = tf.keras


class Batches(K.utils.Sequence):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        """Counts the batches."""
        return 8

    def __getitem__(self, i):
        """Gives batch i."""
        return self.x[4 * i : 4 * i + 4], self.y[4 * i : 4 * i + 4]


def unknown(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda *_: True).batch(4)


def generated(x, y):
    sequence = Batches(x, y)
    return (sequence[i % 8] for i in range(100))


SOURCES = {
    "dataset": (lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(4), {}),
    "unknown length": (unknown, {}),
    "infinite": (lambda x, y: unknown(x, y).repeat(), {"steps_per_epoch": 8, "sub_batch_size": 4}),
    "sequence": (Batches, {}),
    "generator": (generated, {"steps_per_epoch": 8}),
}


@pytest.fixture(scope="module")
def by_keras():
    """What plain Keras makes of the samples: its weights and history, computed once for all sources."""
    return {}


@pytest.mark.parametrize("unbuilt", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_makes_the_same_updates(source, unbuilt, samples, network, same, by_keras):
    x, y = samples
    make, arguments = SOURCES[source]
    if not by_keras:
        plain = network()
        plain.compile(K.optimizers.Adam(0.01), "mse", ["mae"], run_eagerly=True)
        by_keras["history"] = plain.fit(
            x,
            y,
            batch_size=16,
            epochs=3,
            shuffle=False,
            verbose=0,
            validation_data=(x[:10], y[:10]),
        ).history
        by_keras["weights"] = plain.get_weights()
    model = LargeBatchModel.from_model(network())
    if unbuilt:

        class Deferred(LargeBatchModel):
            def call(self, inputs):
                return self.inner(inputs)

        inner, model = model, Deferred()
        model.inner = K.Sequential([K.layers.Dense(8, "tanh"), K.layers.Dense(2)])
        model.inner.build([None, 5])
        model.inner.set_weights(inner.get_weights())
    model.compile(K.optimizers.Adam(0.01), "mse", ["mae"])
    validation = {"validation_data": (x[:10], y[:10])}
    if source != "generator":
        validation = {"validation_data": make(x[:10], y[:10])}
        if "steps_per_epoch" in arguments:
            validation["validation_data"] = unknown(x[:10], y[:10])
        if source == "sequence":
            validation = {"validation_data": Batches(x[:10], y[:10]), "validation_steps": 3}
    found = model.fit(
        make(x, y), batch_size=16, epochs=3, shuffle=False, verbose=0, **arguments, **validation
    )
    assert int(model.optimizer.iterations) == 6
    same(model.get_weights(), by_keras["weights"])
    for name, values in by_keras["history"].items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-5, err_msg=name)


def test_data_of_unknown_length_with_a_changing_batch(samples, network, caplog):
    sizes = [16, 20, 4, 8, 32]

    class Change(K.callbacks.Callback):
        iterations: list[int] = []

        def on_epoch_end(self, epoch, logs=None):
            self.iterations.append(int(self.model.optimizer.iterations))
            self.model.batch_size = sizes[min(epoch + 1, 4)]

    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    data = unknown(*samples).take(6)  # Keras takes the 8 of 2 updates for the length of an epoch
    model.fit(data, batch_size=16, epochs=5, verbose=0, validation_data=data, callbacks=Change())
    assert np.diff([0, *Change.iterations]).tolist() == [2, 2, 6, 3, 1]
    assert model.samples_seen == 5 * 24
    assert "ran out of data" not in caplog.text
    assert model.evaluate(data, verbose=0) > 0


def test_too_little_data_ends_training_with_kerass_warning(samples, network, caplog):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    sequence = Batches(*samples)
    history = model.fit((sequence[i] for i in range(8)), batch_size=16, epochs=4, verbose=0)
    assert len(history.epoch) == 2 and int(model.optimizer.iterations) == 2
    assert "ran out of data" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sub_batch_size": 8}, "sub_batch_size=8 but x yields batches of 4"),
        ({"batch_size": 10}, "batch_size=10 .* use 8 or 12"),
        ({"y": np.zeros(3)}, "y, sample_weight, transform and batch_augmentation go with arrays"),
        (
            {"transform": lambda x, seeds: x},
            "y, sample_weight, transform and batch_augmentation go with arrays",
        ),
    ],
)
def test_arguments_that_contradict_a_dataset(arguments, message, samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    dataset = tf.data.Dataset.from_tensor_slices(samples).batch(4, drop_remainder=True)
    with pytest.raises(ValueError, match=message):
        model.fit(dataset, verbose=0, **arguments)


def test_an_infinite_dataset_needs_steps(samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="steps_per_epoch"):
        model.fit(
            tf.data.Dataset.from_tensor_slices(samples).batch(4).repeat(), batch_size=8, verbose=0
        )


class Seen(LargeBatchModel):
    """Keeps the samples that each sub-batch brought."""

    def call(self, inputs, training=False):
        if training:
            self.seen.append(tf.cast(inputs[:, 0], tf.int64).numpy().tolist())
        return inputs * self.weight

    def build(self, shape):
        self.seen: list = []
        self.weight = self.add_weight("weight", [])
        super().build(shape)


def orders(**arguments) -> list[int]:
    model = Seen()
    model.compile("sgd", "mse", run_eagerly=True)
    x = np.arange(10.0)[:, None]
    model.build([None, 1])
    model.fit(x, x, batch_size=4, sub_batch_size=2, verbose=0, **arguments)
    assert [len(part) for part in model.seen if part] == [2] * len(model.seen)
    return np.reshape(model.seen, [-1, 10]).tolist()


def test_order_of_samples():
    assert orders(shuffle=False, epochs=2) == [list(range(10))] * 2
    drawn = orders(seed=3, epochs=3)
    assert drawn == [epoch_order(10, 3, epoch).tolist() for epoch in range(3)]
    assert orders(seed=3, epochs=3, initial_epoch=2) == drawn[2:]
    assert orders(seed=4) != drawn[:1]


def test_a_seed_repeats_a_run_bit_for_bit(samples, network):
    def run():
        model = LargeBatchModel.from_model(network())
        model.compile(K.optimizers.Adam(0.01), "mse")
        model.fit(*samples, batch_size=8, sub_batch_size=4, epochs=2, seed=5, verbose=0)
        return model.get_weights()

    for first, second in zip(run(), run()):
        np.testing.assert_array_equal(first, second)


def test_a_transform_is_applied_to_training_samples_only(samples, network, same):
    x, y = samples
    models = [LargeBatchModel.from_model(network()) for _ in range(2)]
    for model, features, transform in zip(models, (x, 2 * x), (lambda x, seeds: 2 * x, None)):
        model.compile("sgd", "mse")
        model.fit(features, y, batch_size=10, sub_batch_size=5, transform=transform, verbose=0)
    same(models[0].get_weights(), models[1].get_weights())


def test_arrays_of_many_kinds():
    x = np.arange(6.0).reshape(3, 2)
    assert forms.is_arrays(x) and forms.is_arrays([x, x]) and forms.is_arrays({"a": x})
    assert forms.is_arrays(tf.constant(x)) and forms.is_arrays([[1.0, 2.0], [3.0, 4.0]])
    assert not forms.is_arrays(Batches(x, x)) and not forms.is_arrays(iter([x]))
    packed = forms.pack([x, tf.constant(x)], [1, 2, 3], [0.5, 1, 2])
    assert [part.dtype.name for part in packed[0]] == ["float32", "float32"]
    assert packed[1].tolist() == [1, 2, 3] and packed[2].tolist() == [0.5, 1, 2]
    assert forms.pack({"a": x}, None, None)[0]["a"].shape == (3, 2)


def test_the_facts_that_ranks_compare():
    def facts(x):
        arrays = forms.pack(x, None, None)
        return from_arrays(
            arrays, 2, 1, EVERYONE, epochs=1, initial_epoch=0, shuffle=True, seed=0
        ).facts

    x = np.arange(20.0)
    assert facts(x) == facts(x.copy()) != facts(x[:10])
    assert facts(x[:10]) != facts(x[10:])
    words = [f"word {i}" for i in range(20)]
    assert facts(np.array(words, object)) == facts(np.array([w + "" for w in words], object))
