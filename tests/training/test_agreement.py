"""What a model and an optimizer consist of, so that all of it is built, shared and compared."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt.optimizers import LARS
from tflbt.training import LargeBatchModel, agreement

K = tf.keras
SCHEDULE = K.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)


@pytest.mark.parametrize(
    ("make", "slots", "others"),
    [
        (lambda: K.optimizers.SGD(0.1), 4, {"iteration", "learning_rate"}),
        (lambda: K.optimizers.SGD(SCHEDULE, momentum=0.9), 4, {"iteration"}),
        (lambda: K.optimizers.Adam(0.1), 8, {"iteration", "learning_rate"}),
        (lambda: LARS(0.1), 4, {"iteration", "learning_rate"}),
        (lambda: K.optimizers.legacy.Adam(0.1), 8, {"iter", "learning_rate"}),
        (
            lambda: K.mixed_precision.LossScaleOptimizer(K.optimizers.Adam(0.1)),
            8,
            {"iteration", "learning_rate", "current_loss_scale", "good_steps"},
        ),
    ],
    ids=["sgd", "momentum and schedule", "adam", "lars", "legacy adam", "loss scale"],
)
def test_every_variable_of_an_optimizer_once(make, slots, others, network):
    model, optimizer = network(), make()
    agreement.build_optimizer(optimizer, model.trainable_variables)
    agreement.build_optimizer(optimizer, model.trainable_variables)
    found = agreement.optimizer_variables(optimizer)
    assert len({v.ref() for v in found}) == len(found)
    names = {v.name.split(":")[0].split("/")[-1] for v in found if not v.shape.rank}
    assert others <= names | {name.lower() for name in names}, names
    assert len([v for v in found if v.shape.rank]) == slots


def test_a_counter_that_was_assigned_is_the_optimizers():
    variable = tf.Variable([1.0])
    plain, inner = K.optimizers.SGD(0.1), K.optimizers.SGD(0.1)
    for optimizer in (plain, K.mixed_precision.LossScaleOptimizer(inner)):
        optimizer.iterations = counter = tf.Variable(7, dtype=tf.int64)
        agreement.build_optimizer(optimizer, [variable])
        found = agreement.optimizer_variables(optimizer)
        assert [v is counter for v in found].count(True) == 1


class Counts(K.metrics.Metric):
    """Counts samples, from 1 as it is made, and from 0 when Keras has reset it."""

    def __init__(self) -> None:
        super().__init__(name="counts")
        self.count = self.add_weight("count", initializer="ones")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(tf.cast(tf.shape(y_true)[0], tf.float32))

    def result(self):
        return self.count


@pytest.mark.parametrize("eager", [False, True])
def test_a_metric_begins_as_it_was_made(eager, samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse", [Counts()], run_eagerly=eager)
    history = model.fit(*samples, batch_size=30, epochs=2, verbose=0).history
    assert history["counts"] == [31, 30]  # as in Keras


@pytest.mark.parametrize("eager", [False, True])
def test_building_makes_everything_and_moves_nothing(eager):
    inputs = K.Input([3])
    model = LargeBatchModel(inputs, K.layers.BatchNormalization()(inputs))
    model.compile("adam", "mse", ["mae"], run_eagerly=eager)
    before = model.get_weights()
    spec = (tf.TensorSpec([4, 3]), tf.TensorSpec([None, 3]))
    agreement.build(model, spec)
    assert [metric.name for metric in model.metrics] == ["loss", "mae"]
    assert all((a == b).all() for a, b in zip(model.get_weights(), before))
    assert all(float(tf.reduce_sum(v)) == 0 for metric in model.metrics for v in metric.weights)


@pytest.mark.parametrize(
    ("decay", "regulariser", "warns"), [(0.1, "l2", True), (0.1, None, False), (None, "l2", False)]
)
def test_decaying_twice_is_warned_of(decay, regulariser, warns, samples, network, caplog):
    model = LargeBatchModel.from_model(network(kernel_regularizer=regulariser))
    model.compile(K.optimizers.SGD(0.1, weight_decay=decay), "mse")
    with caplog.at_level("WARNING", logger="absl"):
        agreement.warn_of_double_decay(model)
    assert ("Weights decay twice" in caplog.text) == warns
